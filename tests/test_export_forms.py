"""Exports as Parquet, Arrow and SQL: others read in them what the CSV files have, which `test_export` proves."""

import csv
import json
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.main import run_line
from directory.recover import create
from engine.records import COMMAND, CommandKind, EventKind, concatenate
from exports import export
from exports.manifest import read_manifest
from exports.postgres import SqlForm, copy_rows
from exports.reported import ReportColumns
from exports.tables import AUDIT, EVENTS, REPORTS, TABLES
from gateway.login_log import read_logins
from journal import Journal
from reports import ReportKind, Reports
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.nodes import write_slices
from tests.ouch_messages import cancel, enter
from tests.question_day import SMALL
from tests.running import Client, started, until
from tests.streams import random_stream
from tests.test_fix_marks import DAY as MARKED_DAY
from tests.test_fix_marks import MARKS

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


@pytest.mark.slow
def test_the_control_has_two_days_and_rows_in_every_table(place: Path) -> None:
    assert len({row["time_ns"] // DAY_NS for row in plain(place, "events")}) == 2
    assert all(plain(place, table.name) for table in TABLES)


def frames(out: Path) -> dict[str, Any]:
    """The tables of an export in Parquet as pandas reads them, with NA where a row has no value."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    found = {}
    for table in TABLES:
        files = sorted((out / table.name).rglob("*.parquet"))
        each = [pandas.read_parquet(path, partitioning=None, dtype_backend="numpy_nullable") for path in files]
        found[table.name] = pandas.concat(each, ignore_index=True)
    return found


def filled(frame: Any, name: str, rule: Any) -> None:
    """Give a column the values of a rule where it has none."""
    frame[name] = frame[name].astype(object).where(frame[name].notna(), rule)


def with_said(rows: Any, number: str, *said: Any) -> Any:
    """Rows of a table together with those that other tables say, in their order."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    whole = pandas.concat([rows, *(each[[name for name in rows if name in each]] for each in said)], ignore_index=True)
    return whole.sort_values(["seq", number], ignore_index=True)


def events_said(orders: Any, trades: Any) -> tuple[Any, Any, Any]:
    """Events that rows of orders and trades say, as docs/OPERATIONS.md says it for pandas."""
    said = {"contra_participant": "", "contra_client_order_id": "", "reason": "", "phase": ""}
    of_order = {"number": orders["order_number"], "client_order_id": orders["entry_client_order_id"]}
    of_order |= {"price_e4": orders["entry_price_e4"], **said}
    accepted = orders.assign(
        **of_order, kind="accepted", seq=orders["entry_seq"], event_number=orders["entry_number"],
        time_ns=orders["entry_time_ns"], qty=orders["entry_qty"],
    )  # fmt: skip
    canceled = orders.assign(
        **of_order | {"reason": orders["end_reason"]}, kind="canceled", seq=orders["end_seq"],
        event_number=orders["end_number"], time_ns=orders["end_time_ns"], qty=orders["canceled_qty"],
    )  # fmt: skip
    side = {"number": trades["trade_number"], "side": trades["aggressor_side"], "reason": "", "phase": ""}
    for name in ("participant", "client_order_id"):
        buy, sell = trades[f"buy_{name}"], trades[f"sell_{name}"]
        side |= {name: sell.where(side["side"] == "buy", buy), f"contra_{name}": buy.where(side["side"] == "buy", sell)}
    return (
        accepted[orders["entry_number"].notna()],
        canceled[orders["end_number"].notna()],
        trades.assign(**side, kind="trade")[trades["event_number"].notna()],
    )


def reports_said(orders: Any) -> tuple[Any, Any]:
    """Reports that rows of orders say, as docs/OPERATIONS.md says it for pandas."""
    words = ("previous_client_order_id", "peg", "contra_participant", "liquidity", "reason")
    numbers = ("stop_price_e4", "offset_e4", "last_price_e4", "last_qty", "trade_number")
    said = dict.fromkeys(words, "") | dict.fromkeys(numbers, 0)
    at_once = orders["end_seq"] == orders["entry_seq"]
    new = orders.assign(
        **said, kind="new", command="enter", seq=orders["entry_seq"], number=1, time_ns=orders["entry_time_ns"],
        client_order_id=orders["entry_client_order_id"], price_e4=orders["entry_price_e4"], qty=orders["entry_qty"],
        leaves_qty=orders["entry_qty"], rests=(~at_once).astype(int),
        displayed_qty=orders["entry_qty"].where(~at_once, 0), cum_qty=0, canceled_qty=0, notional_e4=0,
    )  # fmt: skip
    canceled = orders.assign(
        **said | {"reason": orders["end_reason"]}, kind="canceled", seq=orders["end_seq"],
        command=at_once.map({True: "enter", False: "cancel"}), time_ns=orders["end_time_ns"],
        number=(2 * orders["end_number"] - 2).where(orders["end_number"] > 1, 1), rests=0, displayed_qty=0,
    )  # fmt: skip
    return new[orders["entry_number"].notna()], canceled[orders["end_number"].notna()]


def whole_by_pandas(tables: dict[str, Any]) -> None:
    """Give each row all its facts, as docs/OPERATIONS.md says it for pandas."""
    orders, trades, reports, events = (tables[name] for name in ("orders", "trades", "reports", "events"))
    for name in ("client_order_id", "price_e4", "qty"):
        filled(orders, name, orders[f"entry_{name}"])
    filled(orders, "end_time_ns", orders["entry_time_ns"])
    filled(orders, "canceled_qty", orders["qty"] - orders["leaves_qty"] - orders["cum_qty"])
    filled(orders, "notional_e4", orders["cum_qty"] * orders["price_e4"])
    tables["events"] = events = with_said(events, "event_number", *events_said(orders, trades))
    tables["reports"] = reports = with_said(reports, "number", *reports_said(orders))
    entries = orders.drop_duplicates("entry_seq", keep=False).set_index("entry_seq")
    by_number = trades.set_index("trade_number")
    for rows in (reports, events):
        rows["entry_seq"] = rows["seq"] - rows["entered_ago"]
        key = rows["entry_seq"].where(rows["entered_ago"].notna(), 0)
        for name in ("participant", "symbol", "side", "user", "book", "time_in_force"):
            if name in rows:
                filled(rows, name, key.map(entries[name]))
        for name in ("client_order_id", "price_e4", "qty"):
            filled(rows, name, key.map(entries[f"entry_{name}"]))
        filled(rows, "order_number" if rows is reports else "number", key.map(entries["order_number"]))
    seller = reports["trade_number"].map(by_number["sell_participant"])
    buyer = reports["trade_number"].map(by_number["buy_participant"])
    filled(reports, "contra_participant", seller.where(reports["side"] == "buy", buyer))
    filled(reports, "last_price_e4", reports["trade_number"].map(by_number["price_e4"]))
    filled(reports, "last_qty", reports["trade_number"].map(by_number["qty"]))
    filled(reports, "trade_number", 0)
    ends = reports["kind"].isin(["canceled", "expired", "done_for_day"])
    filled(reports, "canceled_qty", (reports["qty"] - reports["cum_qty"]).where(ends, 0))
    filled(reports, "leaves_qty", reports["qty"] - reports["cum_qty"] - reports["canceled_qty"])
    filled(reports, "displayed_qty", reports["rests"] * reports["leaves_qty"])
    price_e4 = reports["last_price_e4"].where(reports["kind"] == "trade", reports["price_e4"])
    filled(reports, "notional_e4", reports["cum_qty"] * price_e4)


@pytest.mark.slow
@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_pandas_reads_all_facts_in_parquet(table: str, place: Path) -> None:
    found = frames(exported(place, "parquet", "parquet"))
    missing = int(found[table].isna().sum().sum())
    assert (missing > 0) == (table in ("events", "reports", "orders")), "the control: facts that another table says"
    files = len(found[table])
    whole_by_pandas(found)
    assert (len(found[table]) > files) == (table in ("events", "reports")), "the control: rows that another table says"
    expected = plain(place, table)
    text = next(each.text for each in TABLES if each.name == table)
    rows = found[table][list(expected[0])].astype(object).to_dict("records")
    assert [{key: each if key in text else int(each) for key, each in row.items()} for row in rows] == expected


@pytest.mark.slow
def test_an_export_whose_memory_is_used_again_for_each_few_rows_has_the_same_values(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cli.main import run_line

    whole = read_manifest(exported(place, "parquet", "parquet"))
    arrays = []

    def small() -> ReportColumns:
        arrays.append(ReportColumns(64))
        return arrays[-1]

    monkeypatch.setattr(export, "_EVENTS_AT_ONCE", 200)
    monkeypatch.setattr(export, "ReportColumns", small)
    out = tmp_path / "out"
    assert run_line(["export", str(place / "node"), "--format", "parquet", "--out", str(out)]) == 0
    found = read_manifest(out)
    assert [found[key] for key in ("rows", "digests", "event_digest")] == [
        whole[key] for key in ("rows", "digests", "event_digest")
    ]
    assert whole["rows"]["reports"] > 2_000, "the control: more rows than there are places"
    assert len(arrays) == 1


@pytest.mark.slow
@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_duckdb_reads_parquet_with_its_days_by_the_views(table: str, place: Path, monkeypatch: Any) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    monkeypatch.chdir(exported(place, "parquet", "parquet"))
    with duckdb.connect() as connection:
        connection.execute(Path("views.sql").read_text())
        relation = connection.execute(f"FROM {table}")
        names = [each[0] for each in relation.description]
        rows = [dict(zip(names, row, strict=True)) for row in relation.fetchall()]
    expected = plain(place, table)
    if table != "positions":
        times = {"orders": "entry_time_ns"}.get(table, "time_ns")
        assert all(str(row.pop("day")) == str(np.datetime64(row[times], "ns").astype("M8[D]")) for row in rows)
    # No two rows of a table are the same.
    assert sorted(rows, key=lambda row: tuple(map(str, row.values()))) == sorted(
        expected, key=lambda row: tuple(map(str, row.values()))
    )


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_pandas_reads_arrow(table: str, place: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    out = exported(place, "arrow", "arrow")
    assert pandas.read_feather(out / f"{table}.arrow").to_dict("records") == plain(place, table)


class LateReports(Reports):
    """Fold that tells again of an order which was canceled in a batch before, as no engine does."""

    told: Any = None
    late = 0

    def batches(self, *block: Any) -> Iterator[Any]:
        for batch in super().batches(*block):
            yield batch
            if LateReports.told is not None:
                late = LateReports.told.copy()
                late["seq"], late["number"] = batch["seq"][-1], batch["number"][-1] + 1
                late["leaves_qty"], late["reason"] = 5, 0
                LateReports.late += 1
                yield late
            ends = np.flatnonzero((batch["kind"] == ReportKind.CANCELED) & (batch["leaves_qty"] == 0))
            if len(ends):
                LateReports.told = batch[ends[-1] : ends[-1] + 1].copy()


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_an_order_with_a_report_behind_its_end_is_exported_whole(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cli.questions import history
    from exports import export

    monkeypatch.setattr(history, "gathered", lambda blocks: blocks)
    write_slices(tmp_path / "node", random_stream(5, 600, hostile=0.0, garbage=0.0), [150, 300, 450])
    monkeypatch.setattr(export, "_EVENTS_AT_ONCE", 32)  # the end of an order is said before the late report comes
    LateReports.told, LateReports.late = None, 0
    words = ["export", str(tmp_path / "node"), "--format", form]
    assert run_line([*words, "--out", str(tmp_path / "plain")]) == 0
    monkeypatch.setattr(export, "Reports", LateReports)
    assert run_line([*words, "--out", str(tmp_path / "late")]) == 0
    plain, late = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("plain", "late"))
    assert LateReports.late > 2
    assert late["rows"]["reports"] == plain["rows"]["reports"] + LateReports.late
    assert late["event_digest"] == plain["event_digest"]
    assert late["digests"]["orders"] == plain["digests"]["orders"], "no row of an order changes behind its end"
    assert late["digests"]["events"] == plain["digests"]["events"]


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


def order_type(report: Fact) -> str | None:
    """Type of the order that a report is about, after its event."""
    if not report["side"]:
        return None
    if report["peg"]:
        return "pegged"
    if report["stop_price_e4"]:
        return "stop_limit" if report["price_e4"] else "stop"
    return "limit" if report["price_e4"] else "market"


def test_the_audit_trail_of_postgresql_leaves_out_messages_of_fix_sessions(database: list[str], tmp_path: Path) -> None:
    """The cancel with id 0 that came by another protocol is a refused command."""
    (tmp_path / "day.txt").write_text(MARKED_DAY)
    assert run_line(["run", str(tmp_path / "day.txt"), "--data", str(tmp_path / "node")]) == 0
    out = tmp_path / "sql"
    assert run_line(["export", str(tmp_path / "node"), "--format", "sql", "--out", str(out)]) == 0
    asked(database, "SELECT 1 AS there")
    line = [*database, "-c", "CREATE DATABASE marked"]
    subprocess.run(line, check=True, capture_output=True, timeout=300)
    marked = [*database, "-d", "marked"]
    subprocess.run([*marked, "-f", "load.sql"], check=True, capture_output=True, cwd=out, timeout=300)
    every = asked(marked, "SELECT seq FROM reports WHERE participant = 'ALPHA' ORDER BY seq")
    told = asked(marked, "SELECT sequence_number AS seq FROM order_audit WHERE participant = 'ALPHA' ORDER BY 1")
    assert [row["seq"] for row in told] == [row["seq"] for row in every if row["seq"] not in MARKS]


@pytest.mark.slow
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
    for column, value in (("order_number", 7), ("participant", "'P1'"), ("instrument", "'I1'")):
        question = f"EXPLAIN SELECT * FROM order_audit WHERE {column} = {value}"
        line = [*database, "-c", "SET enable_seqscan = off", "-c", question]
        plan = subprocess.run(line, check=True, capture_output=True, text=True, timeout=300).stdout
        assert f"Index Cond: ({column.replace('instrument', 'symbol')} = " in plan, plan
    for row, report in zip(audit, reports, strict=True):
        assert (row["time_in_force"] or "", row["book"] or "") == (report["time_in_force"], report["book"])
        assert row["order_type"] == order_type(report)
    types = {row["order_type"] for row in audit}
    assert types == {"limit", "market", "stop", "stop_limit", "pegged", None}
    phases: dict[str, str] = {}
    changes = [row for row in plain(place, "events") if row["kind"] in ("phase", "halted")]
    told_phases = set()
    for row in audit:
        while changes and changes[0]["seq"] < row["sequence_number"]:
            change = changes.pop(0)
            phases[change["symbol"]] = change["phase"]
        symbol = row["instrument"]
        if row["action"] in ("phase", "halted"):
            assert (row["phase"], symbol) in {
                (each["phase"], each["symbol"]) for each in changes if each["seq"] == row["sequence_number"]
            }
        elif row["action"] != "members" and all(each["seq"] != row["sequence_number"] for each in changes):
            assert row["phase"] == (phases.get(symbol, "closed") if symbol else None), row
        told_phases.add(row["phase"])
    assert {"continuous", "halted", "closed", None} <= told_phases
    for name in ("session_login_time_ns", "algo", "latency_ns"):
        assert {row[name] for row in audit} == {None}, "no node took these commands"
    refused = [*database, "-c", "DELETE FROM reports"]
    done = subprocess.run(refused, check=False, capture_output=True, text=True, timeout=300)
    assert "the audit trail is not changed" in done.stderr


@pytest.mark.slow
def test_an_audit_trail_has_what_a_node_noted_of_each_command(tmp_path: Path, lockstep: Lockstep) -> None:
    running = started(tmp_path)
    try:
        ua, ub = Client(running.port, "UA"), Client(running.port, "UB")
        ua.socket.sendall(enter("a1", "B", 5, 90_000, capacity="A") + enter("a2", "B", 5, 91_000, capacity="P"))
        ua.take(3)
        ub.socket.sendall(enter("b1", "S", 3, 91_000, capacity="R") + cancel("none"))
        ub.take(3)
        ua.log_out()
        first_login_ns = wall_ns_before(tmp_path, "UA")
        ua = Client(running.port, "UA")
        ua.socket.sendall(cancel("a1"))
        ua.take(5)
        assert running.end(signal.SIGTERM) == 0
    finally:
        running.stop()
    out = tmp_path / "sql"
    assert lockstep("export", tmp_path / "node", "--format", "sql", "--out", out)[0] == 0
    assert lockstep("export", tmp_path / "node", "--out", out, "--check")[0] == 0
    (audit,) = SqlForm(out, (AUDIT,)).read(AUDIT)
    (reports,) = SqlForm(out, (REPORTS,)).read(REPORTS)
    assert (audit["seq"] == reports["seq"]).all()
    assert (audit["number"] == reports["number"]).all()
    word = {name: AUDIT.text[name].words(audit[name]).tolist() for name in AUDIT.text}
    word |= {name: REPORTS.text[name].words(reports[name]).tolist() for name in ("kind", "user", "client_order_id")}
    login_ns, latency_ns = audit["login_time_ns"], audit["latency_ns"]
    rows = {
        (kind, id_): (word["came_by"][at], word["capacity"][at], word["phase"][at], int(login_ns[at]), latency_ns[at])
        for at, (kind, id_) in enumerate(zip(word["kind"], word["client_order_id"], strict=True))
    }
    assert rows["new", "a1"][:3] == ("ouch", "A", "continuous")
    assert rows["new", "a2"][:3] == ("ouch", "P", "continuous")
    assert rows["new", "a1"][3] == rows["new", "a2"][3] == first_login_ns
    assert rows["trade", "b1"][:2] == ("", "R"), "its user sent no command for that"
    assert rows["trade", "a2"][4] == rows["new", "b1"][4] > 0, "of the command that traded with it"
    assert 0 < rows["new", "a1"][4] < 60 * 10**9
    assert rows["canceled", "a1"][3] > first_login_ns, "by the second login"
    assert rows["canceled", "a1"][1] == "A"
    assert rows["user", ""][:2] == ("", "")
    # Without the records nothing is made up.
    for folder in ("latencies", "logins"):
        shutil.rmtree(tmp_path / "node" / folder)
    assert lockstep("export", tmp_path / "node", "--format", "sql", "--out", tmp_path / "again")[0] == 0
    (bare,) = SqlForm(tmp_path / "again", (AUDIT,)).read(AUDIT)
    assert not bare["latency_ns"].any()
    assert not bare["login_time_ns"].any()
    assert (bare["capacity"] == audit["capacity"]).all()


def wall_ns_before(folder: Path, user: str) -> int:
    """When a user logged in, by the node's record."""

    def found() -> list[int]:
        with Journal.open(folder / "node", readonly=True) as journal:
            rows = read_logins(folder / "node" / "logins", journal.journal_id)
        return rows["time_ns"][rows["name"] == user.encode()].tolist()  # type: ignore[no-any-return]

    until(found)
    return found()[0]


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert raw[:14] == bytes([0, 15, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2])
    assert raw[38:47] == b"\0\0\0\5trade"
    assert len(raw) == 2 + 15 * 4 + 8 * 6 + len("trade")


def test_a_package_that_is_missing_is_named(
    place: Path, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    status, said, sentence = lockstep("export", place / "node", "--format", "parquet", "--out", tmp_path / "out")
    assert (status, said, "pip install 'lockstep[parquet]'" in sentence) == (2, "", True), sentence
    assert list(tmp_path.iterdir()) == []
