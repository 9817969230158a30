"""Blocks on their way through a copy: queued for the journal, kept at hand, then applied in bounded parts."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from engine.bounds import COMMANDS_PER_CALL_MAX
from journal import Block, BlockRefused, JournalError
from node.pair.connections import ToPrimary
from node.pair.recent_blocks import RecentBlocks
from node.pair.state_comparison import StateComparison
from replication.arbiter import Standing
from replication.link import LinkError, Rows
from replication.standby import Standby

if TYPE_CHECKING:
    from node.node import Node

#: Blocks and commands that a copy applies in one turn of the loop at most; then it takes and acknowledges further ones.
APPLIED_BLOCKS_MAX: Final = 64
APPLIED_COMMANDS_MAX: Final = 2_048
#: The same while no primary waits for its acknowledgements, so above all while it fetches: 10 to 20 ms.
CATCH_UP_BLOCKS_MAX: Final = 4_096
CATCH_UP_COMMANDS_MAX: Final = 32_768
#: Commands of the blocks that are applied in one call of the engine meanwhile, unless one block has more.
RUN_COMMANDS_MAX: Final = COMMANDS_PER_CALL_MAX
#: Blocks not applied yet beyond which a copy reads nothing more of the primary.
UNAPPLIED_MAX: Final = 4_096


class CopyBlocks:
    """Blocks that a copy has taken and not applied yet.

    ``connection``: gives the connection to the primary, None if there is none. ``on_turn``: called after each turn in
    which blocks were applied.
    """

    def __init__(
        self,
        node: "Node",
        standby: Standby,
        states: StateComparison,
        recent: RecentBlocks,
        *,
        connection: Callable[[], ToPrimary | None],
        on_turn: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._node, self._standby, self._states, self._recent = node, standby, states, recent
        self._connection, self._on_turn = connection, on_turn
        self._unapplied: deque[Block] = deque()
        #: A turn that applies blocks is due.
        self._due = False

    @property
    def has_work(self) -> bool:
        """True while blocks wait for the engine."""
        return self._due or bool(self._unapplied)

    def take(self) -> list[Block]:
        """Queue the blocks that arrived before the next check of the state for the journal; ``keep`` comes next.

        Raises JournalError.
        """
        return self.journal(self._standby.take_blocks())

    def journal(self, sealed_blocks: Sequence[bytes | Rows]) -> list[Block]:
        """Queue sealed blocks for the journal up to the first that it refuses. Raises JournalError."""
        taken = []
        for sealed in sealed_blocks:
            if isinstance(sealed, Rows):
                self._standby.take_rows(sealed)
                continue
            try:
                block = self._node.market.journal_block(sealed)
            except BlockRefused as refused:
                self._standby.on_block_refused(str(refused))
                break
            self._standby.on_taken(block.last_seq, block.epoch, block.rows)
            taken.append(block)
        return taken

    def seal_ahead(self, standing: Standing | None, *, won: bool = False) -> None:
        """Put rows whose block does not come any more into one, since the primary that sent them is gone.

        ``standing``: the arbiter's register as last read. ``won``: this node has won the reign. Raises JournalError.
        """
        rows = self._standby.rows_without_block(standing, won=won)
        if rows is not None:
            sealed = self._node.journal.seal_next(rows.rows, rows.data, rows.time_ns, self._standby.ahead_epoch)
            self.keep(self.journal([sealed]))
            self._node.log.info("rows without a block sealed", first_seq=rows.first_seq, last_seq=rows.last_seq)
            self.apply_soon()

    def keep(self, blocks: list[Block]) -> None:
        """Keep blocks that the journal has taken at hand, and have them applied."""
        for block in blocks:
            self._recent.add(block)
        self._unapplied.extend(blocks)
        self.pause_or_resume()

    def pause_or_resume(self) -> None:
        """Read nothing of the primary while too much waits for the engine or the disk here: its bytes wait there.

        The journal's queue would hold up the loop where it is full.
        """
        connection, crowded = self._connection(), self._node.journal.crowded
        if connection is None:
            return
        if crowded or len(self._unapplied) > UNAPPLIED_MAX:
            connection.pause()
        elif len(self._unapplied) <= UNAPPLIED_MAX // 2:
            connection.resume()

    def apply_soon(self) -> None:
        """Apply in the next turn of the loop."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self.apply)

    def apply(self, *, whole: bool = False) -> None:
        """Apply a part of what was queued; the rest follows in the next turn of the loop.

        whole: apply all of it now.
        """
        self._due = False
        try:
            done = self._apply_part()
            while whole and not done:
                done = self._apply_part()
        except (LinkError, BlockRefused) as error:
            self._standby.on_block_refused(str(error))
            done = True
        except JournalError as error:
            self._node.fail(error)
            return
        if not done:
            self.apply_soon()
        self.pause_or_resume()
        self._on_turn()

    def _apply_part(self) -> bool:
        """Apply blocks and compare the state where the primary asks for it; True once nothing is left to do.

        Raises LinkError, BlockRefused and JournalError.
        """
        standby, market = self._standby, self._node.market
        if standby.state != "following" and self._unapplied:
            self._apply_many()
            return standby.divergence is not None
        blocks = commands = 0
        while blocks < APPLIED_BLOCKS_MAX and commands < APPLIED_COMMANDS_MAX:
            if standby.divergence is not None:
                return True
            if self._unapplied:
                block = self._unapplied.popleft()
                market.apply_block(block)
                standby.on_applied(block.first_seq, block.last_seq, self._node.engine.event_digest)
                blocks, commands = blocks + 1, commands + block.count
                continue
            checks = standby.take_checks()
            for check in checks:
                if isinstance(check, bytes):
                    self._node.checkpointing.begin_same_slice(check)
                else:
                    self._states.check(standby, check)
            taken = self.take()
            self.keep(taken)
            if not (taken or checks):
                return True
        return False

    def _apply_many(self) -> None:
        """Apply queued blocks in runs, for one turn without a primary that waits; none once a divergence has shown."""
        standby, blocks, commands = self._standby, 0, 0
        while self._unapplied and standby.divergence is None:
            if blocks >= CATCH_UP_BLOCKS_MAX or commands >= CATCH_UP_COMMANDS_MAX:
                return
            run, run_commands = self._next_run(CATCH_UP_BLOCKS_MAX - blocks)
            blocks, commands = blocks + len(run), commands + run_commands
            digests = self._node.market.apply_run(run)
            for block, digest in zip(run, digests, strict=True):
                if standby.divergence is None:
                    standby.on_applied(block.first_seq, block.last_seq, digest)

    def _next_run(self, blocks_max: int) -> tuple[list[Block], int]:
        """Next queued blocks for one call of the engine, at least one, and the number of their commands."""
        run = [self._unapplied.popleft()]
        commands = run[0].count
        while self._unapplied and len(run) < blocks_max and commands + self._unapplied[0].count <= RUN_COMMANDS_MAX:
            run.append(self._unapplied.popleft())
            commands += run[-1].count
        return run, commands
