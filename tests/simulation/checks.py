"""Promises of the pair, checked while a simulation runs and at its end."""

from typing import TYPE_CHECKING

from journal import frame
from replication.comparison import Divergence
from replication.register import Register
from sequencer.release import REPLICATED
from tests.simulation import toy
from tests.simulation.toy import Machine
from tests.simulation.world import World, demand

if TYPE_CHECKING:
    from tests.simulation.node import SimNode


def replayed(blocks: list[frame.Block], last_seq: int) -> Machine:
    """A third copy: the state after the blocks up to a command."""
    machine = Machine()
    for block in blocks:
        if block.last_seq > last_seq:
            break
        machine.apply(block.rows)
    return machine


class Checker:
    """Everything that anybody was told, and the promises about it.

    ``told``: rows released by a primary, by their place in the history. ``told_ns``: time of each.
    """

    def __init__(self, world: World, policy: str) -> None:
        self.world, self.policy = world, policy
        self.told: list[bytes] = []
        self.told_ns: list[int] = []
        self.epoch_won = 0
        self.reigned: dict[int, str] = {}
        self.answers: dict[tuple[int, int], int] = {}
        self.last_answer = 0
        self.lost_with_leave = 0
        self.divergences = 0
        self.takeovers = 0
        self.nodes: list[SimNode] = []

    # The arbiter.

    def on_register(self, register: Register) -> None:
        """Look at the register after a request."""
        reign = register.stored.reign
        if reign is not None:
            self.epoch_won = max(self.epoch_won, reign.epoch)

    # Reigns.

    def on_accession(self, node: "SimNode", *, forced: bool) -> None:
        """A node begins a reign: it must be fit, and have all that anybody was told."""
        epoch = node.standby.epoch
        demand(
            epoch not in self.reigned, f"epoch {epoch} has begun twice: at {self.reigned.get(epoch)} and {node.name}"
        )
        self.reigned[epoch] = node.name
        self.takeovers += 1
        diverged = "diverged" in node.disk.marks or node.standby.divergence is not None
        demand(not diverged, f"{node.name} has diverged and took over")
        demand(node.standby.role == "standby", f"{node.name} is a {node.standby.role} and took over")
        demand(node.release == node.world_release, f"{node.name} of another release took over")
        demand(forced or not node.standby.incomplete, f"{node.name} took over: {node.standby.incomplete}")
        for block in node.blocks:
            demand(block.epoch < epoch, f"{node.name} begins epoch {epoch} and has a block of epoch {block.epoch}")
        rows = node.rows
        demand(
            node.machine.seq == len(rows),
            f"{node.name} begins its reign after command {node.machine.seq} of {len(rows)}",
        )
        if rows[: len(self.told)] != self.told:
            self._on_loss(node, rows, forced=forced)

    def _on_loss(self, node: "SimNode", rows: list[bytes], *, forced: bool) -> None:
        """Judge commands that were told and that a new primary lacks: the exact bound of each policy."""
        same = 0
        while same < min(len(rows), len(self.told)) and rows[same] == self.told[same]:
            same += 1
        what = f"{node.name} took over without command {same + 1}, which was told (of {len(self.told)})"
        demand(self.policy not in {"both", "fsync"}, what)
        # `replica` loses only what both memories lost before either disk had it; `none` what its own disk lacked. The
        # first needs an operator: no node takes over by itself then.
        demand(forced or self.policy == "none", f"{what}, by itself")
        if self.policy in REPLICATED:
            data = [each for each in self.nodes if each.role == "standby"]
            for place in range(same, len(self.told)):
                for each in data:
                    on_disk = [row for block in each.disk.read()[0] for row in rows_of(block)]
                    demand(on_disk[place : place + 1] != [self.told[place]], f"{what}, and {each.name} has it on disk")
                    demand(each.memory_lost_ns >= self.told_ns[place], f"{what}, and {each.name} had it in memory")
        self.lost_with_leave += len(self.told) - same
        self.world.strike(
            "told commands lost with both memories" if self.policy in REPLICATED else "told commands lost"
        )
        gone = set(self.told[same:])
        self.answers = {key: seq for key, seq in self.answers.items() if self.told[seq - 1] not in gone}
        del self.told[same:], self.told_ns[same:]
        self.last_answer = max(self.answers.values(), default=0)

    def on_reply(self, node: "SimNode", epoch: int) -> None:
        """A node says anything at all to a client: nobody may have become primary after it."""
        demand(epoch >= self.epoch_won, f"{node.name} answers in epoch {epoch} after epoch {self.epoch_won} was won")
        demand(self.reigned.get(epoch) == node.name, f"{node.name} answers in epoch {epoch}, which is not its own")

    def on_release(self, node: "SimNode", seq: int) -> None:
        """A primary lets the events up to a command go."""
        rows = node.sequenced
        shared = min(seq, len(self.told))
        start = max(0, shared - 64)
        demand(rows[start:shared] == self.told[start:shared], f"{node.name} told another history up to {shared}")
        if seq > len(self.told):
            self.on_reply(node, node.standby.epoch)
            self.told_ns += [self.world.now_ns] * (seq - len(self.told))
            self.told += rows[len(self.told) : seq]

    # Clients.

    @property
    def floor(self) -> tuple[int, int]:
        """Highest place that was answered by now, and the commands lost as the policy allows."""
        return self.last_answer, self.lost_with_leave

    def on_answer(self, client: int, number: int, seq: int, floor: tuple[int, int]) -> None:
        """A client was told that its command stands at ``seq``; ``floor``: as it was when the command was sent."""
        row = self.told[seq - 1] if seq <= len(self.told) else b""
        named = toy.ROW.unpack(row)[1::2][:2] if row else ()
        demand(
            named == (client, number), f"client {client} was told that its command {number} stands at {seq}: {named}"
        )
        before = self.answers.get((client, number), seq)
        demand(before == seq, f"command {number} of client {client} was executed twice: at {before} and {seq}")
        demand(
            seq > floor[0] or floor[1] != self.lost_with_leave,
            f"command {number} of client {client} stands at {seq}, before an earlier answer at {floor[0]}",
        )
        self.answers[client, number] = seq
        self.last_answer = max(self.last_answer, seq)

    # Divergence.

    def on_divergence(self, copy: "SimNode", primary: "SimNode | None", found: Divergence) -> None:
        """A standby says that it differs: one of the two does, at that place and in that part."""
        self.divergences += 1
        demand(primary is not None, f"{copy.name} has diverged from nobody")
        assert primary is not None
        true = replayed(copy.blocks, found.last_seq)
        right = true.digest if found.part == "events" else true.part_digest(toy.PARTS.index(found.part))
        wrong = [name for name, digest in ((copy.name, found.own), (primary.name, found.other)) if digest != right]
        demand(bool(wrong), f"{copy.name} and {primary.name} are said to differ, and do not: {found}")
        flips = [flip for flip in copy.flips + primary.flips if flip.seq <= found.last_seq]
        # What a node said before it died arrives when its flipped state is gone, and which flip it was is not known.
        gone = not flips
        flips = flips or [flip for flip in copy.flips_ever + primary.flips_ever if flip.seq <= found.last_seq]
        demand(bool(flips), f"no bit has flipped, and {copy.name} differs from {primary.name}: {found}")
        parts = {toy.PARTS[flip.part] for flip in flips}
        demand(found.part in {*parts, "events"}, f"the part {found.part} is named, and bits flipped in {sorted(parts)}")
        if found.part == "events":
            effects = [self._first_effect(copy, flip.seq, flip.part, flip.cell) for flip in flips]
            first = min(effects)
            demand(first <= found.last_seq, f"events are said to differ at {found.last_seq}, and do from {first} on")
            if gone:
                first = max(each for each in effects if each <= found.last_seq)
            demand(
                found.first_seq <= max(first, copy.followed_from_seq + 1),
                f"the block at {found.first_seq} is named, and events differ from {first} on",
            )

    @staticmethod
    def _first_effect(node: "SimNode", flip_seq: int, part: int, cell: int) -> int:
        for place in range(flip_seq, len(node.rows)):
            kind, client, _, number, _ = toy.ROW.unpack(node.rows[place])
            if kind == toy.COMMAND_ROW and toy.place_of(client, number) == (part, cell):
                return place + 1
        return len(node.rows) + 1

    # The end.

    def at_end(self) -> None:
        """Compare all journals, answers and states once everything has healed."""
        rows = next(node.rows for node in self.nodes if node.primary is not None)
        demand(rows[: len(self.told)] == self.told, "what was told is not the history")
        commands = [row for row in rows if row[0] == toy.COMMAND_ROW]
        ids = {toy.ROW.unpack(row)[1::2][:2] for row in commands}
        demand(len(ids) == len(commands), "a command is in the history twice")
        for (client, number), seq in self.answers.items():
            demand(
                toy.ROW.unpack(rows[seq - 1])[1::2][:2] == (client, number), f"answer {client}/{number} is not at {seq}"
            )
        for node in self.nodes:
            demand(node.rows == rows, f"{node.name} has another journal at the end")
            demand(node.slices == self.nodes[0].slices, f"{node.name} has other slices at the end")
            epochs = [block.epoch for block in node.blocks]
            demand(epochs == sorted(epochs), f"epochs go back in the journal of {node.name}")
            true = replayed(node.blocks, len(node.rows))
            demand(node.machine.dump() == true.dump(), f"the state of {node.name} is not that of its journal")
            self._at_end_of_disk(node)

    def _at_end_of_disk(self, node: "SimNode") -> None:
        blocks, rest = node.disk.read()
        demand(not rest, f"the disk of {node.name} has damage at the end")
        kept = {block.checksum for block in blocks}
        kept |= {frame.stored_checksum(sealed) for sealed in node.disk.quarantine}
        dropped = node.disk.ever - kept - node.disk.damaged
        demand(not dropped, f"{len(dropped)} blocks of {node.name} are neither in its journal nor in its quarantine")


def rows_of(block: frame.Block) -> list[bytes]:
    """Rows of a block."""
    data = bytes(block.rows)
    return [data[at : at + toy.ROW_BYTES] for at in range(0, len(data), toy.ROW_BYTES)]
