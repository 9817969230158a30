"""Snapshots of the books in an export: each is the book at its time, and each time with news has one."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.records import Side
from exports.snapshots import snapshot_times
from journal.history import History
from notation.words import iso_time
from replay.ladder import levels
from replay.moments import Moments
from replay.times import seq_at
from tests.conftest import Lockstep
from tests.nodes import write_node
from tests.streams import random_stream

SECOND_NS = 10**9


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("snapshots") / "node"
    write_node(directory, random_stream(5, 3_000), checkpoint_every=700)
    return directory


def rows_of(folder: Path) -> list[dict[str, Any]]:
    connection = sqlite3.connect(next(folder.glob("*.sqlite*")))
    connection.row_factory = sqlite3.Row
    rows = [dict(row) for row in connection.execute("SELECT * FROM snapshots ORDER BY rowid")]
    connection.close()
    return rows


@pytest.mark.slow
def test_each_snapshot_is_the_book_as_it_was_at_its_time(node: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("export", node, "--format", "sqlite", "--snapshots", "1ms", "--out", tmp_path / "day")
    assert (status, "snapshots" in said) == (0, True)
    rows = rows_of(tmp_path / "day")
    assert len({row["seq"] for row in rows}) > 20
    moments = Moments(node)
    for seq in sorted({row["seq"] for row in rows}):
        engine = moments.at(seq)
        expected = []
        for number, symbol in enumerate(engine.directory.symbols, 1):
            orders = engine.open_orders(number)
            for side in (Side.BUY, Side.SELL):
                expected += [
                    (
                        symbol,
                        side.name.lower(),
                        at,
                        each.price_e4,
                        each.qty,
                        each.qty - each.reserve_qty - each.hidden_qty,
                    )
                    for at, each in enumerate(levels(orders, side), 1)
                ]
        found = [
            (row["symbol"], row["side"], row["level"], row["price_e4"], row["qty"], row["displayed_qty"])
            for row in rows
            if row["seq"] == seq
        ]
        assert sorted(found) == sorted(expected), seq


@pytest.mark.slow
@pytest.mark.parametrize("step_ns", [SECOND_NS // 1000, SECOND_NS, 3_600 * SECOND_NS])
def test_the_times_are_those_of_the_clock_with_news_between(node: Path, step_ns: int) -> None:
    with History.open(node) as history:
        times = snapshot_times(history, step_ns, history.last_seq)
        last_seq = history.last_seq
    for each in times[:-1]:
        assert each.time_ns % step_ns == 0
        assert each.seq == seq_at(node, iso_time(each.time_ns).rstrip("Z"))
    assert times[-1].seq == last_seq
    assert [each.seq for each in times] == sorted({each.seq for each in times})
    assert (np.diff([each.time_ns for each in times[:-1]]) > 0).all()


@pytest.mark.slow
def test_an_export_with_snapshots_proves_them_and_finds_a_level_that_was_changed(
    node: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    day = tmp_path / "day"
    assert lockstep("export", node, "--format", "csv", "--snapshots", "1ms", "--out", day)[0] == 0
    assert lockstep("export", node, "--format", "csv", "--out", day, "--check")[0] == 0
    manifest = json.loads((day / "manifest.json").read_text())
    (path,) = day.glob("snapshots*")
    lines = path.read_text().splitlines(keepends=True)
    assert manifest["rows"]["snapshots"] == len(lines) - 1
    path.write_text("".join([*lines[:5], *lines[6:]]))
    status, said, _ = lockstep("export", node, "--format", "csv", "--out", day, "--check")
    assert (status, "snapshots" in said) == (1, True)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_snapshots_are_read_by_other_programs(node: Path, tmp_path: Path, lockstep: Lockstep, form: str) -> None:
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    assert lockstep("export", node, "--format", form, "--snapshots", "1ms", "--out", tmp_path / "day")[0] == 0
    assert lockstep("export", node, "--format", "sqlite", "--snapshots", "1ms", "--out", tmp_path / "other")[0] == 0
    if form == "parquet":
        pytest.importorskip("duckdb", reason="the extra ask is not installed")
        status, said, _ = lockstep(
            "ask", tmp_path / "day", "SELECT * EXCLUDE (day) FROM snapshots ORDER BY seq, symbol, side, level", "--json"
        )
        found = [json.loads(line) for line in said.splitlines()]
        rows = sorted(
            rows_of(tmp_path / "other"), key=lambda row: (row["seq"], row["symbol"], row["side"], row["level"])
        )
        assert (status, found) == (0, rows)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--snapshots", "soon"], "--snapshots"),
        (["--snapshots", "0s"], "--snapshots"),
        (["--snapshots", "1m", "--check"], "--check proves all tables that are there"),
    ],
)
def test_a_time_between_snapshots_that_is_none_is_refused(
    node: Path, tmp_path: Path, lockstep: Lockstep, words: list[str], why: str
) -> None:
    status, said, sentence = lockstep("export", node, "--out", tmp_path / "day", *words)
    assert (status, said, why in sentence) == (2, "", True)
    assert not (tmp_path / "day").exists()


@pytest.mark.slow
def test_an_export_without_the_option_has_no_snapshots(node: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    assert lockstep("export", node, "--out", tmp_path / "day")[0] == 0
    assert not list((tmp_path / "day").glob("snapshots*"))
    assert "snapshots" not in json.loads((tmp_path / "day" / "manifest.json").read_text())["rows"]
