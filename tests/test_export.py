"""`lockstep export`: read by other programs it is the day, and whatever is changed in it is found."""

import csv
import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.names import unpack
from engine.records import Book, CommandKind, Peg, Reason, Side, TimeInForce
from exports.export import TableDigest, file_digests, tables_of
from exports.formats import FORMS
from exports.manifest import read_manifest
from exports.tables import ORDERS, POSITIONS, TABLES, TRADES
from exports.words import Text, code_keys, code_words, id_keys, id_keys_of, id_text, id_words
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.question_day import write_day
from tests.streams import random_stream

Fact = dict[str, Any]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("export") / "node"
    write_day(directory, checkpoint_every=500)
    return directory


@pytest.fixture(scope="module", params=["csv", "sqlite"])
def exported(request: pytest.FixtureRequest, day: Path) -> Path:
    from cli.main import run_line

    out = day.parent / str(request.param)
    assert run_line(["export", str(day), "--format", str(request.param), "--out", str(out)]) == 0
    return out


def table(folder: Path, name: str) -> list[Fact]:
    """Rows of a table, by a program that knows nothing of lockstep: numbers as numbers, "" for none."""
    if (folder / "export.sqlite").exists():
        with sqlite3.connect(folder / "export.sqlite") as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(f"SELECT * FROM {name} ORDER BY rowid")]
    text = next(each.text for each in TABLES if each.name == name)
    with (folder / f"{name}.csv").open() as file:
        return [
            {key: value if key in text else int(value) for key, value in row.items()} for row in csv.DictReader(file)
        ]


def told(lockstep: Lockstep, *words: object) -> list[Fact]:
    return [json.loads(line) for line in lockstep(*words, "--json")[1].splitlines()]


@pytest.mark.slow
def test_its_events_are_those_of_the_journal(exported: Path, day: Path, lockstep: Lockstep) -> None:
    rows, events = table(exported, "events"), told(lockstep, "events", day)
    assert [(row["seq"], row["kind"], row["symbol"] or None, row["reason"] or None) for row in rows] == [
        (event["seq"], event["kind"], event["symbol"], event["reason"]) for event in events
    ]
    for row, event in zip(rows, events, strict=True):
        if event["kind"] in ("accepted", "canceled"):
            for key in ("participant", "client_order_id", "qty", "side"):
                assert (row[key] or None) == event[key]
            assert row["number"] == event["order_number"]


def test_its_trades_are_those_of_the_journal(exported: Path, day: Path, lockstep: Lockstep) -> None:
    rows = table(exported, "trades")
    trades = told(lockstep, "events", day, "--kind", "trade")
    keys = set(TRADES.columns) - {"time_ns", "buy_order_number", "sell_order_number"}
    assert [{key: row[key] or None for key in keys} for row in rows] == [
        {key: trade[key] for key in keys} for trade in trades
    ]
    assert len(rows) > 100


@pytest.mark.slow
def test_its_orders_are_those_that_order_shows(exported: Path, day: Path, lockstep: Lockstep) -> None:
    rows = table(exported, "orders")
    assert [row["order_number"] for row in rows] == list(range(1, len(rows) + 1))
    traded = {
        number for row in table(exported, "trades") for number in (row["buy_order_number"], row["sell_order_number"])
    } - {0}  # a cross is no order of a book
    assert {row["order_number"] for row in rows if row["cum_qty"] and row["side"]} == traded
    for row in rows[::97]:
        (life,) = told(lockstep, "order", day, "--number", row["order_number"])
        for key in ("participant", "leaves_qty", "cum_qty"):
            assert row[key] == life[key]
        last = life["history"][-1]["event"]
        assert row["entry_seq"] == life["history"][0]["event"]["seq"]
        assert row["end_seq"] == (0 if row["leaves_qty"] else last["seq"])
        assert set(row) == set(ORDERS.columns)


def test_its_positions_are_those_that_positions_shows(exported: Path, day: Path, lockstep: Lockstep) -> None:
    (now,) = told(lockstep, "positions", day)
    assert table(exported, "positions") == [{key: row[key] for key in POSITIONS.columns} for row in now["positions"]]


@pytest.mark.slow
def test_its_reports_are_those_of_the_journal(exported: Path, day: Path, lockstep: Lockstep) -> None:
    rows, reports = table(exported, "reports"), told(lockstep, "events", day, "--reports")
    same = ("seq", "number", "kind", "order_number", "leaves_qty", "cum_qty", "reason", "symbol", "last_qty")
    assert [{key: row[key] or None for key in same} for row in rows] == [
        {key: report[key] or None for key in same} for report in reports
    ]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "sqlite", "sql", "parquet", "arrow"])
def test_an_export_of_some_tables_has_these_and_events_and_is_proved(
    form: str, day: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    if form in ("parquet", "arrow"):
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    words = ["export", day, "--format", form, "--json", "--out", tmp_path / "some", "--only", "orders,trades"]
    (some,) = checked(["export"], lockstep(*words)[1])
    (whole,) = checked(["export"], lockstep("export", day, "--format", form, "--json", "--out", tmp_path / "all")[1])
    assert (some["ok"], whole["ok"], list(some["rows"])) == (True, True, ["events", "trades", "orders"])
    assert {name: whole["digests"][name] for name in some["rows"]} == some["digests"]
    names = {each.name.split(".")[0].split("-")[0] for each in (tmp_path / "some").iterdir()}
    assert not names & {"reports", "positions"}
    manifest = json.loads((tmp_path / "some" / "manifest.json").read_text())
    del manifest["rows"]["events"]
    (tmp_path / "some" / "manifest.json").write_text(json.dumps(manifest))
    status, said, _ = lockstep("export", day, "--out", tmp_path / "some", "--check")
    assert (status, "says nothing of the table events" in said) == (1, True)


@pytest.mark.parametrize("form", ["csv", "sqlite", "sql", "parquet", "arrow"])
def test_a_day_with_hostile_rows_is_exported(form: str, tmp_path: Path, lockstep: Lockstep) -> None:
    if form in ("parquet", "arrow"):
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    write_day(tmp_path / "node", seed=77, hostile=0.05, garbage=0.05)
    rows = random_stream(77, 3_000, hostile=0.05, garbage=0.05, control=0.01)
    entries = rows[rows["kind"] == CommandKind.ENTER]
    for place, codes in (("side", Side), ("time_in_force", TimeInForce), ("peg", Peg), ("book", Book)):
        assert not set(entries[place].tolist()) <= {0, *codes}, f"the control: a code of no {place}"
    status, said, sentence = lockstep("export", tmp_path / "node", "--format", form, "--out", tmp_path / "out")
    assert (status, "gives the event digest of the journal" in said) == (0, True), sentence


def _edit(folder: Path, name: str, change: Callable[[list[str]], None]) -> None:
    path = folder / f"{name}.csv"
    lines = path.read_text().splitlines(keepends=True)
    change(lines)
    path.write_text("".join(lines))


def _last_digit(line: str) -> str:
    at = max(place for place, character in enumerate(line) if character.isdigit())
    return line[:at] + str((int(line[at]) + 1) % 10) + line[at + 1 :]


CHANGES: dict[str, Callable[[list[str]], None]] = {
    "digit": lambda lines: lines.__setitem__(len(lines) // 2, _last_digit(lines[len(lines) // 2])),
    "dropped": lambda lines: lines.pop(len(lines) // 2),  # type: ignore[dict-item,return-value]
    "doubled": lambda lines: lines.insert(1, lines[1]),
    "reordered": lambda lines: lines.append(lines.pop(1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [each.name for each in TABLES])
@pytest.mark.parametrize("change", list(CHANGES))
def test_any_change_of_a_file_is_found(
    name: str, change: str, exported: Path, day: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    (control,) = checked(["export"], lockstep("export", day, "--out", copy, "--check", "--json")[1])
    assert control["ok"], "the control: an honest copy"
    if (copy / "export.sqlite").exists():
        column = "qty" if name in ("events", "trades", "reports", "orders") else "position_qty"
        middle = f"(SELECT rowid FROM {name} LIMIT 1 OFFSET (SELECT count(*) / 2 FROM {name}))"
        line = {
            "digit": f"UPDATE {name} SET {column} = {column} + 1 WHERE rowid = {middle}",
            "dropped": f"DELETE FROM {name} WHERE rowid = {middle}",
            "doubled": f"INSERT INTO {name} SELECT * FROM {name} WHERE rowid = {middle}",
            "reordered": f"UPDATE {name} SET rowid = 1000000000 WHERE rowid = 1",
        }[change]
        with sqlite3.connect(copy / "export.sqlite") as database:
            database.execute(line)
    else:
        _edit(copy, name, CHANGES[change])
    status, said, _ = lockstep("export", day, "--out", copy, "--check", "--json")
    (found,) = checked(["export"], said)
    assert (status, found["ok"]) == (1, False)
    assert found["faults"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "sqlite", "parquet", "arrow", "sql"])
def test_a_table_that_was_changed_together_with_its_manifest_is_found_by_the_journal(
    form: str, day: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    if form in ("parquet", "arrow"):
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    out = tmp_path / "out"
    assert lockstep("export", day, "--format", form, "--snapshots", "1h", "--out", out)[0] == 0
    honest = read_manifest(out)
    tables = tables_of(honest)
    reader = FORMS[form](out, tables)
    rows = {table.name: list(reader.read(table)) for table in tables}
    assert lockstep("export", day, "--out", out, "--check")[0] == 0, "the control: an honest export"
    for table in tables:
        numbers = [name for name in table.columns if name not in table.text and name not in table.partial]
        column = next(name for name in reversed(numbers) if "number" not in name and "time" not in name)
        if table.name == "audit":
            column = "phase"  # no journal has the times of side files
        forged = tmp_path / f"forged-{table.name}"
        forged.mkdir()
        writer = FORMS[form](forged, tables)
        digests = {each.name: TableDigest(each) for each in tables}
        for each in tables:
            for at, columns in enumerate(rows[each.name]):
                changed = columns
                if each is table and at == 0:
                    values = columns[column].copy()
                    middle = values[len(values) // 2]
                    values[len(values) // 2] = 3 - middle if column == "phase" and middle in (1, 2) else middle + 1
                    changed = columns | {column: values}
                writer.write(each, changed)
                digests[each.name].add(changed)
        writer.finish()
        for path in out.rglob("views.sql"):
            shutil.copy(path, forged)
        manifest = honest | {"digests": {name: digest.digest() for name, digest in digests.items()}}
        manifest["files"] = file_digests(forged) if honest["files"] else {}
        assert manifest["digests"] != honest["digests"], "the control: another value"
        (forged / "manifest.json").write_text(json.dumps(manifest))
        status, said, _ = lockstep("export", day, "--out", forged, "--check", "--json")
        (found,) = checked(["export"], said)
        assert (status, found["ok"]) == (1, False), (table.name, column)
        shutil.rmtree(forged)


@pytest.mark.slow
def test_names_that_were_exchanged_in_tables_and_manifest_are_found(
    day: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    out = tmp_path / "out"
    assert lockstep("export", day, "--out", out)[0] == 0
    for path in out.iterdir():
        text = re.sub(r"\bP1\b", "P0", path.read_text())
        path.write_text(re.sub(r"\bP0\b", "P2", re.sub(r"\bP2\b", "P1", text)))
    status, said, _ = lockstep("export", day, "--out", out, "--check")
    assert (status, "participants in the manifest" in said) == (1, True)


def test_files_that_are_no_tables_are_a_difference_in_a_sentence(
    exported: Path, day: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    for path in copy.iterdir():
        if path.name != "manifest.json":
            path.write_bytes(b"seq,none\n\x01\x02")
    status, said, _ = lockstep("export", day, "--out", copy, "--check")
    assert status == 1
    assert "not as they were written" in said


def test_wrong_use_is_refused_in_a_sentence(exported: Path, day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    other = tmp_path / "other"
    write_day(other, commands=300)
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "b.new").mkdir()
    for words, why in (
        ([day, "--out", exported], "exists already"),
        ([day, "--out", empty, "--check"], "has no manifest.json"),
        ([other, "--out", exported, "--check"], "is an export of another journal"),
        ([day, "--out", tmp_path / "b"], "left of an export that broke off"),
        ([day, "--out", exported / "manifest.json" / "x"], "cannot be made"),
        ([tmp_path / "none", "--out", tmp_path / "c"], "is not there"),
        ([day, "--out", tmp_path / "c", "--format", "xml"], "--format is 'xml'"),
        ([day, "--out", tmp_path / "c", "--only", "trades,bids"], "--only names 'bids', which is no table"),
        ([day, "--out", exported, "--check", "--only", "trades"], "--only is of an export that is written"),
    ):
        status, said, sentence = lockstep("export", *words)
        assert (status, said, why in sentence) == (2, "", True), sentence
    assert not (tmp_path / "c").exists()


def test_an_export_that_breaks_off_leaves_nothing(
    day: Path, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("exports.formats.CsvForm.finish", full)
    status, _, sentence = lockstep("export", day, "--out", tmp_path / "out")
    assert (status, f"the disk of {tmp_path / 'out'} is full" in sentence) == (75, True), sentence
    assert list(tmp_path.iterdir()) == []


NUMBERS = np.random.default_rng(7)
RAW = NUMBERS.integers(-(2**63), 2**63 - 1, 500)
SHORT = NUMBERS.integers(0, 70_000, 500)
PLAIN = np.array([int.from_bytes(f"a{n}".encode(), "big") for n in range(0, 9_999_999, 40_009)], np.int64)


@pytest.mark.parametrize(
    "numbers",
    [np.concatenate((RAW, SHORT, PLAIN, [0, 42, -1])), RAW, np.append(RAW, 0), PLAIN, np.append(PLAIN, 0), PLAIN[:0]],
    ids=["all", "raw", "raw and none", "plain", "plain and none", "empty"],
)
def test_words_of_any_number_are_those_that_people_see_and_give_the_number_again(numbers: np.ndarray) -> None:
    words = id_words(numbers)
    expected = {0: "", 42: "*"}
    assert words.tolist() == [expected.get(number, unpack(number)) for number in numbers.tolist()]
    assert id_keys(words).tolist() == numbers.tolist()
    assert id_keys_of(id_text(numbers)).tolist() == numbers.tolist()


@pytest.mark.parametrize(
    "word",
    [
        "~0000000000006131",
        "~0000000000000000",
        "~000000000000002a",
        "~FFFFFFFFFFFFFFFE",
        "~fffffffffffffff ",
        "-fffffffffffffffe",
        "a1b2c3d4e",
        "a~",
        "a b",
        "**",
        "\x00a",
    ],
)
def test_a_second_word_for_a_number_is_refused(word: str) -> None:
    assert id_keys(np.array(["~fffffffffffffffe", "a1"])).tolist() == [-2, 24881], "the control"
    with pytest.raises(ValueError, match="id"):
        id_keys(np.array(["a1", word], object))


def test_words_that_are_not_as_long_as_they_say_are_refused() -> None:
    with pytest.raises(ValueError, match="as long as they say"):
        id_keys_of(Text(np.array([2, 1]), np.frombuffer(b"a1", np.uint8)))


@pytest.mark.parametrize("codes", [CommandKind, Reason, Side])
def test_words_of_codes_give_the_code_again_and_what_is_no_code_is_refused(codes: type[IntEnum]) -> None:
    known = np.array([0, *codes, *codes], np.int64)
    words = code_words(known, codes)
    assert words.tolist() == ["", *(code.name.lower() for code in [*codes, *codes])]
    assert code_keys(words, codes).tolist() == known.tolist()
    gaps = set(range(int(known.min()) - 1, int(known.max()) + 2)) - set(known.tolist())
    for wrong in (*gaps, -(2**63), 2**63 - 2):
        with pytest.raises(KeyError, match=str(wrong)):
            code_words(np.array([1, wrong, 1]), codes)
    with pytest.raises(KeyError, match="nothing"):
        code_keys(np.array(["", "nothing"], object), codes)
