"""`lockstep why`: explanations of commands, as text or JSON.

`lockstep why DIR SEQ` explains one command, and `--order ID` those that began and ended the orders with that id.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.explanation import explained
from cli.questions.halts import name_cause
from cli.questions.market_tables import show_book
from cli.questions.order import Asked, orders_of
from cli.questions.reading import check_name
from cli.questions.tokens import with_tokens
from cli.warmup import ready
from notation.moments import plain_time
from notation.words import duration, price, time
from replay.delayed import Entries
from replay.moments import Moments

Facts = dict[str, Any]

#: Facts of an explanation that its JSON does not have.
_NOT_TOLD: Final = ("lines", "time_ns", "stood")


def why(
    directory: Path, seq: int | None, order_id: str | None, participant: str | None, *, as_json: bool = False
) -> int:
    """`lockstep why`: explain a command, or those that began and ended an order."""
    if (seq is None) == (order_id is None):
        raise WrongUse("give the number of a command, or --order with a client order id or token")
    check_name(participant, "participant")
    if seq is not None:
        if participant is not None:
            raise WrongUse("--participant goes with --order")
        seqs = [seq]
    else:
        lives, _ = orders_of(directory, Asked(order_id), participant)
        ends = [life.moments[at].event for life in lives for at in (0, -1)]
        # A command that waited is explained by itself: its checks and its effect, not the clock value that gave it.
        entries = Entries(directory, sorted({int(event["seq"]) for event in ends}))
        waited = [entries.of(event) for event in ends]
        seqs = sorted(
            {int(event["seq"]) if entry is None else entry.seq for event, entry in zip(ends, waited, strict=True)}
        )
    ready()
    with screen.Bar("replaying") as bar:
        moments = Moments(directory, bar.to, ids=False)
        explanations = [explained(directory, moments, each) for each in seqs]
    for facts in explanations:
        facts["since"] = name_cause(directory, facts)
    for number, facts in enumerate(explanations):
        if as_json:
            screen.print_json({key: value for key, value in facts.items() if key not in _NOT_TOLD})
        else:
            if number:
                screen.print_line()
            _show(facts, _tokens(directory, facts))
    for note in moments.notes:
        screen.notice(f"note: {note}")
    return errors.FINE


def _tokens(directory: Path, facts: Facts) -> Callable[[str], str]:
    """A function that puts order tokens in place of the raw ids in a command and its consequences."""
    effect = facts["effect"]["consequences"] if facts["effect"] else []
    return with_tokens(directory, [*facts["lines"], *(each["text"] for each in (*facts["consequences"], *effect))])


def _show(facts: Facts, tokens: Callable[[str], str]) -> None:
    command = facts["command"]
    screen.print_line(f"command {screen.count(command['seq'])} at {time(facts['time_ns'])}")
    for line in facts["lines"]:
        screen.print_line(f"  {tokens(line)}")
    if facts["checks"]:
        rows = [
            [
                check["check"],
                _number(check["used"], check["unit"]),
                check["met"] or _number(check["value"], check["unit"]),
                check["takes"] or _number(check["limit"], check["unit"]),
                check["verdict"].replace("_", " "),
                check["section"],
            ]
            for check in facts["checks"]
            if check["verdict"] != "not_reached"
        ]
        heads = ["check", "in use", "value", "limit", "verdict", "section"]
        screen.table(heads, rows, right=("in use", "value", "limit"))
    if facts["waits_until"]:
        until = plain_time(facts["waits_until"])
        screen.print_line(f"it waits for its effect: the first clock value at or after {until} (rulebook section 10)")
    elif not facts["consequences"]:
        screen.print_line("it caused no event")
    _show_consequences(facts["consequences"], tokens)
    for each in facts["dropped_schedules"]:
        symbol, at, phase = each["symbol"], plain_time(each["time"]), each["phase"]
        screen.print_line(
            f"the schedule of {symbol} for {phase} at {at} had no effect: {symbol} was halted then, where only one "
            "that closes is kept (rulebook section 13, 37)"
        )
    if facts["effect"]:
        effect = facts["effect"]
        waited = duration(effect["waited_ns"])
        screen.print_line(
            f"it took effect by command {screen.count(effect['seq'])} at {plain_time(effect['time'])}, {waited} later"
        )
        _show_consequences(effect["consequences"], tokens)
    for name in ("before", "after"):
        if facts[f"book_{name}"] is not None:
            screen.print_line(f"the book {name}")
            show_book(facts[f"book_{name}"], facts[f"book_{name}"]["time"] or time(0))


def _show_consequences(consequences: list[Facts], tokens: Callable[[str], str]) -> None:
    for each in consequences:
        because = f": {each['because']}" if each["because"] else ""
        delayed = each["delayed_seq"]
        by = f", by command {screen.count(delayed)}, which waited for it" if delayed else ""
        screen.print_line(f"> {tokens(each['text'])}{because} (rulebook section {each['section']}{by})")


def _number(value: int | None, unit: str | None) -> str:
    if value is None:
        return "-"
    return price(value) if unit == "price_e4" else screen.count(value)
