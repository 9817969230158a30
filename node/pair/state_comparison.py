"""Comparison of the states of a pair beyond events, and what follows a difference, on the node's event loop.

A primary sends digests of pieces of its state all the time (``replication.pieces``), and at checkpoints those of all
parts, which both nodes compute in a fork. At a difference a copy marks its directory and follows no more; both nodes
write a forensic bundle aside. The primary goes on.
"""

import time
from typing import TYPE_CHECKING, Any, Final

from directory.bundle import Found
from directory.bundle_fork import BundleFork
from directory.divergence import Mark, advice, write_mark
from directory.recover import stateful
from replication.backlog import Backlog
from replication.comparison import Divergence
from replication.link import Scrub
from replication.pieces import PieceComparison, PieceWalk
from replication.primary import Primary
from replication.standby import Standby

if TYPE_CHECKING:
    from node.node import Node

#: Digests of parts that wait for the other side; older ones are dropped.
_WAITING_MAX: Final = 4
#: Longest wait for bundles at the end of a node, in seconds.
BUNDLES_S: Final = 10.0


class StateComparison:
    """Comparison of one node's state with that of others.

    ``diverged``: sentence on the difference that this node found, "" for none. ``agreed_parts_seq``: last command after
    which all parts were compared and are equal.
    """

    def __init__(self, node: "Node", name: str) -> None:
        self._node, self._name, self._log = node, name, node.log
        self._engine = stateful(node.engine)
        self.walk = PieceWalk()
        self.pieces = PieceComparison(self._engine)
        self.diverged = ""
        self.agreed_parts_seq = 0
        #: Copies whose divergence was reported, with the difference.
        self._reported: dict[str, Divergence] = {}
        #: Digests of parts by position: this node's (None: being computed), and the primary's.
        self._own: dict[int, dict[str, bytes] | None] = {}
        self._others: dict[int, dict[str, bytes]] = {}
        self._primary: Primary | None = None
        self._standby: Standby | None = None
        self._bundles = BundleFork(node.journal, self._on_bundle, self._on_bundle_failure)
        self._waiting: list[tuple[Found, Backlog]] = []
        node.checkpointing.on_digests = self._on_digests

    # The primary's side.

    def reign(self, primary: Primary) -> None:
        """Compare the states of the copies of a primary from now on."""
        self._primary, self._standby = primary, None
        self._node.checkpointing.ask_parts = primary.ask_parts

    def tick_primary(self, primary: Primary, now_ns: int) -> None:
        """Send the digests of the next pieces where they are due, and look for copies that have diverged."""
        live = [copy for copy in primary.copies if copy.state == "live"]
        if live and self.walk.is_due(now_ns):
            for scrub in self.walk.turn(self._engine, gathers=all(copy.gathers_ids for copy in live)):
                primary.add_scrub(scrub)
        for name, divergence in list(primary.divergences.items()):
            if self._reported.get(name) != divergence:
                self._reported[name] = divergence
                self._on_copy_diverged(primary, name, divergence)
        self._tend()

    def _on_copy_diverged(self, primary: Primary, name: str, divergence: Divergence) -> None:
        found = found_by(self._name, "primary", name, primary.epoch, divergence)
        self._log.error(
            "copy diverged",
            name=name,
            why=found.sentence,
            then="this node goes on; see `lockstep doctor` on its bundle, and rebuild the copy",
        )
        self._waiting.append((found, primary.backlog))

    # The copy's side.

    def follow(self, standby: Standby) -> None:
        """Compare the state of this node, which follows, from now on."""
        self._standby = standby

    def check(self, standby: Standby, check: "Scrub | tuple[int, dict[str, bytes]]") -> None:
        """Compare what the primary sent. Raises LinkError for a piece that no state has."""
        if isinstance(check, Scrub):
            part, own = self.pieces.own(check)
            standby.compare_part(check.seq, part, own, check.digest)
            return
        seq, parts = check
        if parts:
            _keep(self._others, seq, parts)
            self._compare_parts(standby, seq)
        elif self._node.checkpointing.follow(seq):
            _keep(self._own, seq, None)

    def _on_digests(self, seq: int, digests: dict[str, bytes]) -> None:
        """Take the digests of this node's parts, computed in a fork."""
        if self._primary is not None:
            self._primary.add_parts(seq, digests)
        elif self._standby is not None and seq in self._own:
            self._own[seq] = digests
            self._compare_parts(self._standby, seq)

    def _compare_parts(self, standby: Standby, seq: int) -> None:
        own, others = self._own.get(seq), self._others.get(seq)
        if own is None or others is None:
            return
        del self._own[seq], self._others[seq]
        # A node of an earlier release may have other parts: those of both count.
        for part in sorted(own.keys() & others.keys()):
            standby.compare_part(seq, part, own[part], others[part])
        if standby.divergence is None:
            self.agreed_parts_seq = seq
            self._log.info("parts compared", seq=seq, parts=len(own.keys() & others.keys()))

    def on_diverged(self, standby: Standby, backlog: Backlog) -> None:
        """Mark the directory of a copy that has diverged, and write the bundle. May be repeated."""
        divergence = standby.divergence
        if divergence is None or self.diverged:
            return
        found = found_by(self._name, standby.role, standby.primary, standby.epoch, divergence)
        self.diverged = self._node.checkpointing.forbidden = found.sentence
        self._node.checkpointing.drop(found.sentence)
        directory = self._node.options.data
        name = f"divergence-{found.epoch}-{found.last_seq}.bundle"
        mark = Mark(
            found.node, found.other, found.epoch, found.first_seq, found.last_seq, found.part, found.sentence, name,
            time.time_ns(),
        )  # fmt: skip
        try:
            write_mark(directory, mark)
        except OSError as error:
            self._log.error("the mark of the divergence was not written", why=str(error))
        self._log.error("diverged", why=found.sentence, then=advice(directory))
        self._waiting.append((found, backlog))
        self._tend()

    def tick_copy(self) -> None:
        """Look after the bundle."""
        self._tend()

    # Bundles.

    def _tend(self) -> None:
        self._bundles.tend()
        while self._waiting and not self._bundles.busy:
            found, backlog = self._waiting.pop(0)
            blocks = [block.sealed for block in backlog.blocks_from(backlog.start.seq + 1)]
            self._bundles.begin(found, self._node.engine, blocks, time.time_ns())

    def _on_bundle(self, path: str) -> None:
        self._log.warning("bundle written", path=path, then=f"`lockstep doctor {path}` opens it")

    def _on_bundle_failure(self, why: str) -> None:
        self._log.error("no bundle", why=why)

    def close(self) -> None:
        """Wait for the bundles at the end of the node, ``BUNDLES_S`` at most."""
        deadline_s = time.monotonic() + BUNDLES_S
        while (self._waiting or self._bundles.busy) and time.monotonic() < deadline_s:
            self._bundles.finish(max(deadline_s - time.monotonic(), 0.0))
            self._tend()
        self._waiting.clear()
        self._bundles.finish(0.0)


def _keep(store: dict[int, Any], seq: int, value: object) -> None:
    store[seq] = value
    while len(store) > _WAITING_MAX:
        del store[next(iter(store))]


def found_by(own: str, role: str, other: str, epoch: int, divergence: Divergence) -> Found:
    """A divergence as the node ``own`` of a role tells it."""
    turned = divergence._replace(own=divergence.other, other=divergence.own)
    return Found(
        node=own,
        role=role,
        other=other,
        epoch=epoch,
        first_seq=divergence.first_seq,
        last_seq=divergence.last_seq,
        part=divergence.part,
        own=divergence.own,
        other_digest=divergence.other,
        sentence=divergence.sentence(own, other),
        other_sentence=turned.sentence(other, own),
    )
