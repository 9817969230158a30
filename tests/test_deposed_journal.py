"""The journal of a node whose loop has ended: a deposed primary may still have blocks on their way to the disk."""

import asyncio
from pathlib import Path

from node.core.opening import open_directory
from node.node import Node, NodeOptions
from node.programs.logs import Log
from tests.nodes import SMALL
from tests.rows import participant


def test_blocks_that_become_durable_after_the_loop_has_ended_are_no_failure_of_the_journal(tmp_path: Path) -> None:
    opened = open_directory(tmp_path, SMALL, "fsync")

    async def run() -> None:
        node = Node(opened, NodeOptions(tmp_path, arrivals=False, keep_events=False, busy_poll_us=0), Log())
        node._stop()

    asyncio.run(run())
    first_seq = opened.journal.append(1, participant("ALPHA").tobytes(), opened.engine.now_ns)
    opened.journal.close()
    assert opened.journal.durable_seq == first_seq
