"""Reports of a node that ends: its operator's socket answers until all else is closed."""

import asyncio
from pathlib import Path

from node.core.opening import open_directory
from node.node import Node, NodeOptions
from node.programs.logs import Log
from replay.market_rows import MARKET_ROWS, lines_of, tape_of
from tape.lines import ClientLine
from tape.reader import TapeReader
from tests.nodes import SMALL


def test_a_node_that_ends_reports_its_workings_behind_the_end_of_tape_and_lines(tmp_path: Path) -> None:
    opened = open_directory(tmp_path, SMALL, "fsync")
    journal_id = opened.journal.journal_id

    async def run() -> None:
        options = NodeOptions(tmp_path, arrivals=False, keep_events=False, busy_poll_us=0, tape_bytes=1 << 20)
        node = Node(opened, options, Log())
        assert node.tape is not None
        reader = TapeReader(tape_of(tmp_path), journal_id, MARKET_ROWS, name="reader")
        line = ClientLine(lines_of(tmp_path), journal_id)
        found = node.workings()
        assert [each["reader"] for each in found["readers"]] == ["reader"]
        assert [each["line"] for each in found["lines"]] == [0]
        # In the order of a reign's end, with a report after each step.
        node._stop()
        found = node.workings()
        assert [each["reader"] for each in found["readers"]] == ["reader"]
        assert found["lines"] == []
        node.tape.close()
        found = node.workings()
        assert found["readers"] == []
        assert found["tape"] is not None
        line.close()
        reader.close()

    asyncio.run(run())
    opened.journal.close()
