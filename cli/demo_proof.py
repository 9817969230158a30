"""Proof at the end of `lockstep demo`: users' streams and the state, rebuilt and compared.

Each user's stream exists three times: as received across the kill, as resent from message 1, and as rebuilt from the
journal alone. The node's last checkpoint is compared with a replay from command 1, and both engines verify every
digest.
"""

from pathlib import Path
from typing import Any, NamedTuple

from cli import screen
from cli.demo_clients import Stream
from client import Accepted, Executed, Replaced
from client.events import Message
from client.messages import read
from engine.records import EventKind
from gateway.streams import Segment, Streams
from replay.rebuild import Progress, capacity_of, journal_of, rebuild
from replay.verify import VerifyReport
from wire.ouch_codes import Liquidity

Facts = dict[str, Any]


class JournalMessages:
    """Streams rebuilt from the journal alone, with a count of duplicates."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self._placed: list[str] = []
        self._took: list[int] = []
        self._gave: list[int] = []

    def deliver(self, segment: Segment) -> None:
        """Take a segment, as the ``deliver`` of ``gateway.streams``."""
        stream = self.streams.setdefault(segment.user, Stream())
        for seq, payload in enumerate(segment.payloads(), segment.first_seq):
            stream(seq, payload)
            self._look(read(seq, payload))

    def _look(self, message: Message) -> None:
        if isinstance(message, Accepted | Replaced):
            self._placed.append(message.token)
        elif isinstance(message, Executed):
            side = self._took if message.liquidity == Liquidity.REMOVED else self._gave
            side.append(message.match_number)

    @property
    def trades(self) -> int:
        """Number of trades reported to aggressors."""
        return len(self._took)

    @property
    def doubled(self) -> int:
        """Number of orders accepted, and sides of trades reported, more than once."""
        return sum(len(told) - len(set(told)) for told in (self._placed, self._took, self._gave))

    @property
    def is_two_sided(self) -> bool:
        """True if each trade was reported to both sides."""
        return set(self._took) == set(self._gave)


class StreamReplay(NamedTuple):
    """Result of a replay from command 1 (streams and state), and of one from the last checkpoint."""

    journaled: JournalMessages
    streams: dict[str, Facts]
    trades: int
    event_digest: str
    state_digest: str
    checkpoint_state_digest: str
    seq: int


def replayed(data: Path, progress: Progress) -> StreamReplay:
    """Replay the journal from command 1, and from the last checkpoint."""
    with journal_of(data) as journal:
        capacity = capacity_of(journal)
    journaled = JournalMessages()
    streams = Streams(capacity, journaled.deliver, lambda _: None)
    beginning = rebuild(data, use_checkpoints=False, observe=streams, progress=progress)
    from_beginning: Any = beginning.engine
    from_checkpoint: Any = rebuild(data, progress=progress).engine
    return StreamReplay(
        journaled,
        {streams.name(user): stream.facts() for user, stream in journaled.streams.items()},
        int(streams.tallies[0, EventKind.TRADE]),
        beginning.engine.event_digest.hex(),
        from_beginning.state_digest().hex(),
        from_checkpoint.state_digest().hex(),
        beginning.seq,
    )


def judged(clients: Facts, restart: Facts, replay: StreamReplay, reports: dict[str, VerifyReport]) -> Facts:
    """Judge the claims: facts, and True for each claim that holds.

    clients: their last report (``cli.demo_clients``). restart: facts of the restart, among them durable_seq_reported,
    published_seq_reported and recovered_seq.
    """
    streams: dict[str, dict[str, Facts]] = clients["streams"]
    came, again, now = ({name: stream[which] for name, stream in streams.items()} for which in ("came", "again", "now"))
    doubled = replay.journaled.doubled
    claims = {
        "nothing_lost": restart["recovered_seq"]
        >= max(restart["durable_seq_reported"], restart["published_seq_reported"]),
        "all_answered": clients["orders"] == clients["answers"] and not clients["unanswered"] + clients["unexpected"],
        "same_again": came == again and all(stream["in_order"] for stream in came.values()),
        "same_from_journal": now == replay.streams
        and all(now[name]["messages"] == came[name]["messages"] + 1 for name in streams),
        "nothing_doubled": not doubled
        and replay.journaled.is_two_sided
        and clients["trades"] == replay.journaled.trades == replay.trades,
        "restore_equals_replay": replay.state_digest == replay.checkpoint_state_digest,
        "verified": all(report.ok for report in reports.values()),
    }
    names = ("orders", "answers", "messages", "rejects", "sent_again", "answered_again", "reconnects")
    return {
        "ok": all(claims.values()),
        **claims,
        "verified": {engine: report.ok for engine, report in reports.items()},
        "seq": replay.seq,
        **restart,
        **{name: clients[name] for name in (*names, "outage_s", "p50_us", "p99_us")},
        "users": len(streams),
        "doubled": doubled,
        "events": reports["kernel"].events,
        "trades": replay.trades,
        "event_digest": replay.event_digest,
        "state_digest": replay.state_digest,
    }


def sentences(facts: Facts) -> list[tuple[bool, str]]:
    """Claims in sentences, each with True if it holds."""
    number = {name: screen.count(value) for name, value in facts.items() if isinstance(value, int)}
    return [
        (
            facts["nothing_lost"],
            f"the killed node reported {number['durable_seq_reported']} commands as durable; it recovered "
            f"{number['recovered_seq']}",
        ),
        (
            facts["all_answered"],
            f"each of {number['orders']} requests was answered; {number['sent_again']} were sent again after the kill",
        ),
        (
            facts["same_again"],
            f"the {number['messages']} messages that clients received are replayed from message 1, same bytes",
        ),
        (facts["same_from_journal"], "the journal alone gives the same messages, byte for byte, and no others"),
        (
            facts["nothing_doubled"],
            f"no order was accepted twice; each of {number['trades']} trades was reported to both sides, once",
        ),
        (
            facts["restore_equals_replay"],
            f"the last checkpoint equals a replay from command 1, {facts['state_digest']}",
        ),
        (all(facts["verified"].values()), "two independent engines give the recorded events, byte for byte"),
    ]
