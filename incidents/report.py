"""An incident report as a document, out of the facts of a range and pictures of it."""

from typing import Any, Final

from incidents.page import Heading, Paragraph, Part, Picture, Table
from notation.moments import plain_time
from notation.words import price

Facts = dict[str, Any]

#: Lines of a table of instruments or participants at most.
_LINES_MAX: Final = 50


def report(facts: Facts, pictures: list[Picture]) -> list[Part]:
    """The report. ``facts``: as `lockstep incident --json` gives them."""
    parts: list[Part] = [Heading(f"Incident report: commands {facts['from_seq']:,} to {facts['to_seq']:,}", 1)]
    parts += [Paragraph(text) for text in _summary(facts)]
    parts += [Paragraph(f"Note: {note}.") for note in facts["notes"]]
    parts += [Heading("What happened, in order"), *_moments(facts)]
    if pictures:
        lines = "A dashed line is a halt, a dotted one a change of phase, a dash-dotted one an alert"
        about = "of an instrument's picture its own halts and phases"
        parts += [Heading("Pictures"), Paragraph(f"Times are UTC. {lines}; {about}.")]
        parts += pictures
    parts += [Heading("Instruments"), *_instruments(facts)]
    parts += [Heading("Participants concerned"), *_participants(facts)]
    parts += [Heading("Refusals by reason"), *_refusals(facts)]
    parts += [Heading("Commands and events"), _kinds(facts)]
    parts += [Heading("Latencies"), *_latencies(facts)]
    parts += [Heading("Digests and versions"), *_proof(facts)]
    return parts


def _summary(facts: Facts) -> list[str]:
    """The range, and what it comes to."""
    begin = plain_time(facts["begin"] or "before the first clock value")
    end = plain_time(facts["end"] or "there")
    counted = [
        _count(facts["commands"], "command"),
        _count(facts["trades"], "trade") + f" of {_count(facts['shares'], 'share')} for {_money(facts['notional_e4'])}",
        _count(sum(each["count"] for each in facts["refusals"]), "refusal"),
        _count(facts["halts"], "halt"),
        _count(facts["alerts"], "alert"),
    ]
    texts = [
        f"Journal {facts['proof']['journal_id']}, from {begin} to {end} (UTC, the clock of the market): "
        f"{', '.join(counted)}.",
    ]
    peak = facts["peak"]
    if peak is not None:
        texts.append(
            f"The most commands in {_span(peak['stretch_ns'])} came from {plain_time(peak['time'])} on: "
            f"{peak['commands']:,}, with {_count(peak['trades'], 'trade')} and {_count(peak['refusals'], 'refusal')}."
        )
    return texts


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _span(span_ns: int) -> str:
    """A span of time in words.

    >>> _span(1_000_000_000), _span(8_000_000)
    ('1 s', '8 ms')
    """
    return f"{span_ns / 1e9:g} s" if span_ns >= 1_000_000_000 else f"{span_ns / 1e6:g} ms"


def _moments(facts: Facts) -> list[Part]:
    """Halts, phases, kill switches, commands of the operator: with their cause."""
    if not facts["moments"]:
        return [Paragraph("No halt, phase, kill switch or command of the operator is in this range.")]
    dated = (facts["begin"] or "")[:10] != (facts["end"] or "")[:10]
    rows = [
        (_clock(each["time"], dated), f"{each['seq']:,}", "; ".join(each["what"]) or "-", each["cause"])
        for each in facts["moments"]
    ]
    columns = ("time", "command", "what happened", "cause")
    parts: list[Part] = [Table(columns, tuple(rows), ("command",), ("cause",))]
    if facts["moments_left_out"]:
        parts.append(
            Paragraph(f"{facts['moments_left_out']:,} further moments are left out; a shorter range has them.")
        )
    return parts


def _clock(when: str | None, dated: bool = False) -> str:
    """A time as texts have it, and without its date unless that is wanted.

    >>> _clock("2024-01-15T09:30:00.250000000Z"), _clock("2024-01-15T09:30:00.000000000Z", dated=True), _clock(None)
    ('09:30:00.25', '2024-01-15T09:30:00', '-')
    """
    if when is None:
        return "-"
    clock = plain_time(when)
    return clock if dated else clock.partition("T")[2]


def _money(amount_e4: int) -> str:
    """An amount with separators.

    >>> _money(12_345_678_900), _money(-5_000)
    ('1,234,567.89', '-0.50')
    """
    units, decimals = price(abs(amount_e4)).split(".")
    return f"{'-' if amount_e4 < 0 else ''}{int(units):,}.{decimals}"


def _price(price_e4: int | None) -> str:
    return "-" if price_e4 is None else price(price_e4)


def _instruments(facts: Facts) -> list[Part]:
    if not facts["instruments"]:
        return [Paragraph("No instrument had an order, a trade or a halt.")]
    columns = (
        "symbol", "orders", "trades", "shares", "value", "first", "highest", "lowest", "last", "change", "halts",
        "refused",
    )  # fmt: skip
    rows = []
    for each in facts["instruments"][:_LINES_MAX]:
        first, last = each["first_price_e4"], each["last_price_e4"]
        rows.append(
            (
                each["symbol"],
                *(f"{each[key]:,}" for key in ("orders", "trades", "shares")),
                _money(each["notional_e4"]),
                *(_price(each[f"{key}_price_e4"]) for key in ("first", "high", "low", "last")),
                "-" if first is None else f"{(last - first) / first * 100:+.2f} %",
                f"{each['halts']:,}",
                f"{each['refused']:,}",
            )
        )
    return [Table(columns, tuple(rows), columns[1:]), *_left_out(facts["instruments"], "instrument")]


def _left_out(lines: list[Facts], what: str) -> list[Part]:
    more = len(lines) - _LINES_MAX
    return [Paragraph(f"{_count(more, f'further {what}')} with fewer shares traded: left out.")] if more > 0 else []


def _participants(facts: Facts) -> list[Part]:
    if not facts["participants"]:
        return [Paragraph("No participant entered, canceled or traded anything.")]
    columns = ("participant", "orders", "cancels", "replaces", "refused", "trades", "bought", "sold", "net", "result")
    rows = []
    for each in facts["participants"][:_LINES_MAX]:
        keys = ("orders", "cancels", "replaces", "refused", "trades", "bought_qty", "sold_qty")
        net = each["bought_qty"] - each["sold_qty"]
        numbers = [f"{each[key]:,}" for key in keys]
        rows.append((each["participant"], *numbers, f"{net:+,}" if net else "0", _money(each["profit_e4"])))
    return [
        Table(columns, tuple(rows), columns[1:]),
        *_left_out(facts["participants"], "participant"),
        Paragraph("Result: what the trades of this range come to, with what is left of them at the last trade price."),
    ]


#: Name of who is refused where no participant is known, by reason; of another reason the command is an operator's.
_NOBODY: Final = {"unknown_participant": "unknown"}


def _refusals(facts: Facts) -> list[Part]:
    if not facts["refusals"]:
        return [Paragraph("Nothing was refused.")]
    dated = (facts["begin"] or "")[:10] != (facts["end"] or "")[:10]
    columns = ("reason", "count", "participants", "first", "last", "rule", "section")
    rows = []
    for each in facts["refusals"]:
        more = each["participant_count"] - len(each["participants"])
        who = ", ".join([*each["participants"], *([f"{more:,} more"] if more else [])]) or _NOBODY.get(
            each["reason"], "the operator"
        )
        reason = each["reason"] if each["kind"] == "rejected" else f"{each['reason']} (a cancel or replace)"
        ends = [f"{_clock(each[f'{end}_time'], dated)}, command {each[f'{end}_seq']:,}" for end in ("first", "last")]
        rows.append((reason, f"{each['count']:,}", who, *ends, each["rule"], each["section"]))
    return [Table(columns, tuple(rows), ("count",))]


def _kinds(facts: Facts) -> Table:
    rows = [
        (what, kind, f"{count:,}") for what in ("command", "event") for kind, count in facts[f"{what}_kinds"].items()
    ]
    return Table(("", "kind", "count"), tuple(rows), ("count",))


def _latencies(facts: Facts) -> list[Part]:
    known = facts["latencies"]
    if known is None:
        return [Paragraph("No latency is recorded for these commands: a node keeps those of its newest orders.")]
    columns = ("stage", "commands", "p50", "p90", "p99", "p99.9", "longest")
    rows = [
        (
            each["stage"],
            f"{each['commands']:,}",
            *(_microseconds(each[name]) for name in ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")),
        )
        for each in known["stages"]
    ]
    missing = f"; {known['not_recorded']:,} others are not recorded" if known["not_recorded"] else ""
    about = f"Microseconds, of {known['recorded']:,} orders, cancels and replaces{missing}."
    return [Table(columns, tuple(rows), columns[1:]), Paragraph(about)]


def _microseconds(ns: int | None) -> str:
    return "-" if ns is None else f"{ns / 1_000:,.1f}"


def _proof(facts: Facts) -> list[Part]:
    proof = facts["proof"]
    blocks = proof["blocks_compared"]
    compared = f"{blocks:,} whole {'block was' if blocks == 1 else 'blocks were'} replayed and compared"
    rows = (
        ("journal", proof["journal_id"]),
        ("slices", ", ".join(map(str, proof["slices"]))),
        ("commands", f"{facts['from_seq']:,} to {facts['to_seq']:,}"),
        ("epoch", f"{proof['epoch']:,}" if proof["epoch"] is not None else "-"),
        ("event digest after the last command", proof["event_digest"] or "-"),
        ("state digest after the last command", proof["state_digest"] or "-"),
        ("record", proof["divergence"] or f"{compared}; each gave the recorded event digest"),
        ("rules", f"version {proof['rules_version']}"),
        ("lockstep", f"{proof['release']}, kernels {proof['source_digest'][:16]}"),
    )
    directory = facts["directory"]
    span = f"--from {facts['from_seq']} --to {facts['to_seq']}"
    return [
        Table(("", "value"), rows, (), ("value",)),
        Paragraph(
            f"The same again: lockstep incident {directory} {span}. Each event with its time: lockstep events "
            f"{directory} {span} --with-seq --with-time. The book at a moment: lockstep book {directory} SYMBOL --at "
            f"TIME. Why a command did what it did: lockstep why {directory} COMMAND."
        ),
    ]
