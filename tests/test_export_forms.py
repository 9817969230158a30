"""Exports as Parquet, Arrow and SQL: others read in them what the CSV files have, which `test_export` proves."""

import csv
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from directory.recover import create
from engine.records import COMMAND, CommandKind, EventKind, concatenate
from exports.postgres import copy_rows
from exports.tables import EVENTS, TABLES
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.question_day import SMALL
from tests.streams import random_stream

Fact = dict[str, Any]
DAY_NS = 86_400 * 10**9


def days(directory: Path) -> None:
    """Two days: the clock of the second begins in the middle, and the commands after it stand as they are."""
    rows = random_stream(14, 2_400, hostile=0.0, garbage=0.0, control=0.01)
    clock = np.zeros(1, COMMAND)
    clock["kind"] = CommandKind.CLOCK
    times = rows["time_ns"][rows["kind"] == CommandKind.CLOCK]
    clock["time_ns"] = int(times.max()) + DAY_NS
    second = rows[1_200:].copy()
    second["time_ns"][second["kind"] == CommandKind.CLOCK] += DAY_NS
    journal, engine = create(directory, SMALL, durability="none")
    with journal:
        every = concatenate([rows[:1_200], second])
        blocks = (every[at : at + 100] for at in range(0, len(every), 100))
        pump(blocks, FileStamp(), journal, engine, durability="none")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a node of two days and its CSV files."""
    from cli.main import run_line

    folder = tmp_path_factory.mktemp("forms")
    days(folder / "node")
    assert run_line(["export", str(folder / "node"), "--out", str(folder / "csv")]) == 0
    return folder


def exported(place: Path, form: str, name: str) -> Path:
    """The export in a form; skips where its package is not installed."""
    from cli.main import run_line

    if form != "sql":
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    out = place / name
    if not out.exists():
        assert run_line(["export", str(place / "node"), "--format", form, "--out", str(out)]) == 0
    return out


def plain(place: Path, name: str) -> list[Fact]:
    """Rows of a table of the CSV files."""
    text = next(each.text for each in TABLES if each.name == name)
    with (place / "csv" / f"{name}.csv").open() as file:
        return [
            {key: value if key in text else int(value) for key, value in row.items()} for row in csv.DictReader(file)
        ]


def test_the_control_has_two_days_and_rows_in_every_table(place: Path) -> None:
    assert len({row["time_ns"] // DAY_NS for row in plain(place, "events")}) == 2
    assert all(plain(place, table.name) for table in TABLES)


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_pandas_reads_parquet(table: str, place: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    out = exported(place, "parquet", "parquet")
    frames = [pandas.read_parquet(path, partitioning=None) for path in sorted((out / table).rglob("*.parquet"))]
    assert pandas.concat(frames).to_dict("records") == plain(place, table)


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_duckdb_reads_parquet_with_its_days(table: str, place: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    out = exported(place, "parquet", "parquet")
    relation = duckdb.sql(f"FROM read_parquet('{out}/{table}/**/*.parquet', hive_partitioning = true)")
    rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    expected = plain(place, table)
    if table != "positions":
        times = {"orders": "entry_time_ns"}.get(table, "time_ns")
        assert [str(row.pop("day")) for row in rows] == [
            str(np.datetime64(row[times], "ns").astype("M8[D]")) for row in expected
        ]
    assert rows == expected


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_pandas_reads_arrow(table: str, place: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    out = exported(place, "arrow", "arrow")
    assert pandas.read_feather(out / f"{table}.arrow").to_dict("records") == plain(place, table)


@pytest.fixture(scope="module")
def database() -> Iterator[list[str]]:
    """Command line of psql on a PostgreSQL of its own, reached by a socket in its folder; its user is not root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found or not shutil.which("psql"):
        pytest.skip("PostgreSQL is not installed")
    is_root = os.geteuid() == 0
    if is_root and "postgres" not in {each.pw_name for each in pwd.getpwall()}:
        pytest.skip("PostgreSQL has no user of its own here, and does not run as root")
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if is_root else []
    programs = found[-1].parent
    folder = Path("/tmp") / f"lockstep-pg-{os.getpid()}"  # a path of a socket is short
    folder.mkdir(mode=0o755)
    if is_root:
        shutil.chown(folder, "postgres", "postgres")

    def run(*words: str) -> None:
        subprocess.run([*as_user, *words], check=True, capture_output=True, cwd=folder, timeout=300)

    data = str(folder / "data")
    try:
        run(str(programs / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses='' -c fsync=off -k {folder}"
        run(str(programs / "pg_ctl"), "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "-t", "120", "start")
        yield ["psql", "-h", str(folder), "-U", "postgres", "-q", "-t", "-A"]
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            run(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def asked(database: list[str], question: str) -> list[Fact]:
    """Rows of a question, by psql."""
    line = [*database, "-c", f"SELECT coalesce(json_agg(q), '[]') FROM ({question}) AS q"]
    done = subprocess.run(line, check=True, capture_output=True, text=True, timeout=300)
    found: list[Fact] = json.loads(done.stdout)
    return found


def test_postgresql_loads_the_sql_with_its_days(database: list[str], place: Path) -> None:
    out = exported(place, "sql", "sql")
    done = subprocess.run(
        [*database, "-f", "load.sql"], check=False, capture_output=True, text=True, cwd=out, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    for table in TABLES:
        fields = ", ".join(f'"{name}"' for name in table.columns)
        rows = asked(database, f"SELECT {fields} FROM {table.name}")
        key = lambda row: tuple(row.values())  # noqa: E731
        assert sorted(rows, key=key) == sorted(plain(place, table.name), key=key)
    partitions = asked(database, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass")
    assert partitions == [{"count": 2}]
    reports = plain(place, "reports")
    audit = asked(database, "SELECT * FROM order_audit ORDER BY time_ns, sequence_number, event_index")
    assert [row["action"] for row in audit] == [row["kind"] for row in reports]
    told = next(row for row in reports if row["kind"] == "new")
    shown = next(row for row in audit if row["action"] == "new")
    assert (float(shown["price"]), shown["quantity"]) == (told["price_e4"] / 10_000, told["qty"])
    assert shown["time"].startswith("2024-01-15T")
    refused = [*database, "-c", "DELETE FROM reports"]
    done = subprocess.run(refused, check=False, capture_output=True, text=True, timeout=300)
    assert "the audit trail is not changed" in done.stderr


@pytest.mark.parametrize("form", ["parquet", "arrow", "sql"])
def test_any_changed_byte_of_a_table_is_found(form: str, place: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    out = exported(place, form, form)
    suffix = {"sql": ".copy"}.get(form, f".{form}")
    (control,) = checked(["export"], lockstep("export", place / "node", "--out", out, "--check", "--json")[1])
    assert (control["ok"], control["format"]) == (True, form), "the control: an honest export"
    random = np.random.default_rng(3)
    for path in sorted(out.rglob(f"*{suffix}")):
        copy = Path(shutil.copytree(out, tmp_path / "copy"))
        spoilt = copy / path.relative_to(out)
        raw = bytearray(spoilt.read_bytes())
        at = int(random.integers(len(raw)))
        raw[at] ^= 1 << random.integers(8)
        spoilt.write_bytes(raw)
        status, said, _ = lockstep("export", place / "node", "--out", copy, "--check", "--json")
        (found,) = checked(["export"], said)
        assert (status, found["ok"]) == (1, False), (path, at)
        assert found["faults"]
        spoilt.write_bytes(path.read_bytes())
        spoilt.unlink()
        assert lockstep("export", place / "node", "--out", copy, "--check")[0] == 1, "a file that is missing"
        shutil.rmtree(copy)


def test_a_row_in_another_days_folder_is_found(place: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    copy = Path(shutil.copytree(exported(place, "parquet", "parquet"), tmp_path / "copy"))
    first, second = sorted((copy / "events").iterdir())
    (file,) = second.iterdir()
    shutil.copy(file, first / "part-000009.parquet")
    assert lockstep("export", place / "node", "--out", copy, "--check")[0] == 1


def test_rows_of_copy_are_as_postgresql_documents_them() -> None:
    columns = {name: np.array([0]) for name in EVENTS.columns}
    columns |= {"seq": np.array([258]), "kind": np.array([int(EventKind.TRADE)])}
    raw = copy_rows(EVENTS, columns)
    assert raw[:14] == bytes([0, 14, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2])
    assert raw[26:35] == b"\0\0\0\5trade"
    assert len(raw) == 2 + 14 * 4 + 8 * 5 + len("trade")


def test_a_package_that_is_missing_is_named(
    place: Path, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    status, said, sentence = lockstep("export", place / "node", "--format", "parquet", "--out", tmp_path / "out")
    assert (status, said, "pip install 'lockstep[parquet]'" in sentence) == (2, "", True), sentence
    assert list(tmp_path.iterdir()) == []
