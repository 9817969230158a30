"""Proof at the end of `lockstep demo`: journals, users' streams and the state, rebuilt and compared.

Each user's stream exists three times: as received across the takeover, as resent from message 1, and as rebuilt from
the journal of the last primary alone. That journal is compared with the other node's, byte for byte. Its last
checkpoint is compared with a replay from command 1, and both engines verify every digest.
"""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from cli import screen
from cli.demo.clients import Stream
from client import Accepted, Executed, Replaced
from client.events import Message
from client.messages import read
from engine.interface import MarketEngine
from engine.records import EventKind
from gateway.ouch.outbox import payloads
from gateway.ouch.streams import OuchStreams
from gateway.streams import Segment
from load.desk import UNCROSS
from notation.words import price
from replay.rebuild import Progress, capacity_of, journal_of, rebuild
from replay.verify import VerifyReport
from wire.ouch_codes import Liquidity

Facts = dict[str, Any]


class JournalMessages:
    """OuchStreams rebuilt from the journal alone, with a count of duplicates."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self._placed: list[str] = []
        self._took: list[int] = []
        self._gave: list[int] = []
        self._uncrossed: Counter[int] = Counter()

    def deliver(self, segment: Segment) -> None:
        """Take a segment, as the ``deliver`` of ``gateway.streams``."""
        stream = self.streams.setdefault(segment.user, Stream())
        for seq, payload in enumerate(payloads(segment), segment.first_seq):
            stream(seq, payload)
            self._look(read(seq, payload))

    def _look(self, message: Message) -> None:
        if isinstance(message, Accepted | Replaced):
            self._placed.append(message.token)
        elif isinstance(message, Executed):
            if message.liquidity in UNCROSS:
                self._uncrossed[message.match_number] += 1
                return
            side = self._took if message.liquidity == Liquidity.REMOVED else self._gave
            side.append(message.match_number)

    @property
    def trades(self) -> int:
        """Number of trades reported to aggressors, and of those in an uncross."""
        return len(self._took) + len(self._uncrossed)

    @property
    def doubled(self) -> int:
        """Number of orders accepted, and sides of trades reported, more than once."""
        once = sum(len(told) - len(set(told)) for told in (self._placed, self._took, self._gave))
        return once + sum(max(sides - 2, 0) for sides in self._uncrossed.values())

    @property
    def one_sided(self) -> int:
        """Number of trades reported to one side alone: those with an order that no user entered."""
        return len(set(self._took) ^ set(self._gave)) + sum(sides < 2 for sides in self._uncrossed.values())


class StreamReplay(NamedTuple):
    """Result of a replay from command 1 (streams and state), and of one from the last checkpoint.

    ``position_sums``: sum of all participants' positions in each instrument that has traded.
    """

    journaled: JournalMessages
    streams: dict[str, Facts]
    trades: int
    event_digest: str
    state_digest: str
    checkpoint_state_digest: str
    seq: int
    position_sums: dict[str, int]


def replayed(data: Path, progress: Progress) -> StreamReplay:
    """Replay the journal from command 1, and from the last checkpoint."""
    with journal_of(data) as journal:
        capacity = capacity_of(journal)
    journaled = JournalMessages()
    streams = OuchStreams(capacity, journaled.deliver, lambda _: None)
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
        _position_sums(from_beginning),
    )


def _position_sums(engine: MarketEngine) -> dict[str, int]:
    symbols, sums = engine.directory.symbols, dict[str, int]()
    for row in engine.positions():
        symbol = symbols[int(row["instrument"]) - 1]
        sums[symbol] = sums.get(symbol, 0) + int(row["position_qty"])
    return sums


def judged(
    clients: Facts, story: Facts, replay: StreamReplay, same: tuple[int, bool], reports: dict[str, VerifyReport]
) -> Facts:
    """Judge the claims: facts, and True for each claim that holds.

    clients: their last report (``cli.demo.clients``). story: facts of its steps (``cli.demo.demo``). same: last command
    of the shorter journal, and True if both have the same bytes up to there.
    """
    streams: dict[str, dict[str, Facts]] = clients["streams"]
    came, again, now = ({name: stream[which] for name, stream in streams.items()} for which in ("came", "again", "now"))
    doubled = replay.journaled.doubled
    found, ran = story["divergence"], story["ran_away"]
    same_to_seq, same_bytes = same
    claims = {
        "nothing_lost": story["taken_over_seq"] >= story["published_seq_reported"] and same_to_seq >= found["last_seq"],
        "same_journals": same_bytes,
        "all_answered": clients["orders"] == clients["answers"] and not clients["unanswered"] + clients["unexpected"],
        "same_again": came == again and all(stream["in_order"] for stream in came.values()),
        "same_from_journal": now == replay.streams
        and all(now[name]["messages"] == came[name]["messages"] + 1 for name in streams),
        "nothing_doubled": not doubled
        and replay.journaled.one_sided == ran["with_traders"]
        and clients["trades"] == replay.journaled.trades == replay.trades - ran["trades"],
        "positions_balance": bool(replay.position_sums) and not any(replay.position_sums.values()),
        "restore_equals_replay": replay.state_digest == replay.checkpoint_state_digest,
        "verified": all(report.ok for report in reports.values()),
        "flip_found": story["flipped_seq"] <= found["last_seq"]
        and found["part"] == story["flipped_part"]
        and not found["can_take_over"],
        "one_price": all(each["prices"] <= 1 for each in story["auctions"]),
    }
    names = ("orders", "answers", "messages", "rejects", "sent_again", "answered_again", "reconnects")
    return {
        "ok": all(claims.values()),
        **claims,
        "verified": {engine: report.ok for engine, report in reports.items()},
        "seq": replay.seq,
        "same_to_seq": same_to_seq,
        **story,
        **{name: clients[name] for name in (*names, "outage_s", "p50_us", "p99_us")},
        "users": len(streams),
        "doubled": doubled,
        "events": reports["kernel"].events,
        "trades": replay.trades - ran["trades"],
        "position_sums": replay.position_sums,
        "event_digest": replay.event_digest,
        "state_digest": replay.state_digest,
    }


def sentences(facts: Facts) -> list[tuple[bool, str]]:
    """Claims in sentences, each with True if it holds."""
    number = {name: screen.count(value) for name, value in facts.items() if isinstance(value, int)}
    found = facts["divergence"]
    return [
        (
            facts["nothing_lost"],
            f"the killed primary had answered {number['published_seq_reported']} commands; the standby took over with "
            f"{number['taken_over_seq']}",
        ),
        (
            facts["same_journals"],
            f"both journals have the same bytes up to command {number['same_to_seq']}, where the standby stopped",
        ),
        (
            facts["all_answered"],
            f"each of {number['orders']} requests was answered; {number['sent_again']} were sent again after the kill",
        ),
        (
            facts["same_again"],
            f"the {number['messages']} messages that traders received are replayed from message 1, same bytes",
        ),
        (facts["same_from_journal"], "the journal alone gives the same messages, byte for byte, and no others"),
        (
            facts["nothing_doubled"],
            f"no order was accepted twice; each of {number['trades']} trades was reported to both sides, once, "
            f"and {screen.count(facts['ran_away']['with_traders'])} with the order that ran away to their sellers",
        ),
        (facts["one_price"], f"each auction traded at one price: {_auctions(facts['auctions'])}"),
        (facts["positions_balance"], f"positions sum to zero in {', '.join(facts['position_sums'])}"),
        (
            facts["restore_equals_replay"],
            f"the last checkpoint equals a replay from command 1, {facts['state_digest']}",
        ),
        (all(facts["verified"].values()), "two independent engines give the recorded events, byte for byte"),
        (
            facts["flip_found"],
            f"the bit flipped after command {number['flipped_seq']} was found after "
            f"{screen.count(found['last_seq'])}, in the part {found['part']}; that node cannot take over",
        ),
    ]


def _auctions(auctions: list[Facts]) -> str:
    """Auctions in words."""
    return ", ".join(
        f"{each['symbol']} {screen.count(each['qty'])} @ {price(each['price_e4'])}"
        if each["qty"]
        else f"{each['symbol']} none"
        for each in auctions
    )
