"""`lockstep simulate`: simulated traders on any node (``load.simulation``), and the answers to their orders."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from cli import errors, screen
from cli.errors import CheckFailed, WrongUse
from cli.interrupts import Terminated
from cli.trading.trade_words import reject_words
from client.events import code_name
from load.desk import LoginFailed
from load.lines import LoadError, User
from load.simulation import SimulateOptions, Simulation, settle

_USERS_MAX: Final = 500
#: Ends of a simulation by a signal, and their exit statuses.
_BROKEN_OFF: Final = {"interrupted": errors.INTERRUPTED, "terminated": errors.TERMINATED}


def check_users(users: Sequence[User]) -> Sequence[User]:
    """Check the number of users. Raises WrongUse."""
    if len(users) > _USERS_MAX:
        raise WrongUse(f"{len(users)} users; at most {_USERS_MAX} may trade at a time; give fewer")
    return users


def note(sentence: str) -> None:
    """Print a note about a simulation."""
    screen.notice(f"note: {sentence}")


def simulate(options: SimulateOptions, *, as_json: bool) -> int:
    """Run a simulation. Exit status 1 if a request was not answered, or an answer had no request."""
    try:
        simulation = Simulation(options, note)
    except ValueError as error:
        raise WrongUse(str(error)) from None
    began_s = time.monotonic()
    try:
        _logged_in(simulation)
        began_s = time.monotonic()
        _trade(simulation, options, began_s, as_json)
        gave_up = ""
    except LoadError as error:
        gave_up = str(error)
    except Terminated:
        gave_up = "terminated"
    except KeyboardInterrupt:
        gave_up = "interrupted"
    finally:
        simulation.take_second()
        simulation.close()
    return _summary(simulation, time.monotonic() - began_s, gave_up, as_json)


def _logged_in(simulation: Simulation) -> None:
    try:
        simulation.open()
    except LoginFailed as error:
        raise WrongUse(str(error)) from None
    except LoadError as error:
        raise CheckFailed(str(error)) from None


def _trade(simulation: Simulation, options: SimulateOptions, began_s: float, as_json: bool) -> None:
    until_s = began_s + options.seconds
    told_s = began_s
    warned = False
    while (now_s := time.monotonic()) < until_s:
        simulation.turn(trading=True)
        if now_s - told_s >= 1.0:
            told_s = now_s
            _line(simulation, now_s - began_s, as_json)
            warned = warned or _warn(simulation)
    settle(simulation)


def _warn(simulation: Simulation) -> bool:
    """Warn once if the node rejects nearly all orders."""
    counts = simulation.counts()
    if counts["rejects"] * 2 < counts["orders"] or not counts["orders"]:
        return False
    reason = sum((desk.reasons for desk in simulation.desks), Counter()).most_common(1)[0][0]
    screen.notice(
        f"note: the node rejects most orders, mostly as {reject_words(reason)}; check that the instruments of "
        "--symbol are defined and open for trading"
    )
    return True


def _line(simulation: Simulation, seconds: float, as_json: bool) -> None:
    counts, second = simulation.counts(), simulation.take_second()
    latency_us = second.summary()
    if as_json:
        screen.print_json(_object(simulation, seconds, latency_us))
    else:
        orders = f"{screen.count(counts['orders'])} orders, {screen.count(counts['answers'])} answered"
        outcome = f"{screen.count(counts['trades'])} trades, {screen.count(counts['rejects'])} rejected"
        screen.print_line(f"{seconds:5.1f} s  {orders}, {outcome}, {_latency_words(latency_us)}")
    screen.flush()


def _latency_words(latency_us: dict[str, Any]) -> str:
    """Percentiles of a second, which has none where nothing was answered in it.

    >>> _latency_words({"count": 2, "p50_us": 81.0, "p99_us": 90.5}), _latency_words({"count": 0})
    ('p50 81 us, p99 90.5 us', 'no answers')
    """
    if not latency_us["count"]:
        return "no answers"
    return f"p50 {latency_us['p50_us']:g} us, p99 {latency_us['p99_us']:g} us"


def _object(simulation: Simulation, seconds: float, latency: dict[str, Any]) -> dict[str, Any]:
    """Counts since the start, for programs. latency: of the last second, on the last line of all."""
    counts = simulation.counts()
    reasons = sum((desk.reasons for desk in simulation.desks), Counter())
    names = ("orders", "answers", "unexpected", "messages", "trades", "rejects", "too_late", "left_out", "sent_again")
    return {
        "elapsed_s": round(seconds, 1),
        "summary": False,
        "good": None,
        "gave_up": None,
        "users": len(simulation.desks),
        **{name: counts[name] for name in names},
        "unanswered": simulation.unanswered,
        "reconnects": simulation.reconnects,
        "outage_s": round(simulation.outage_s, 1),
        "latency": latency,
        "reject_reasons": [
            {"reason": code_name(reason), "means": reject_words(reason), "count": count}
            for reason, count in reasons.most_common()
        ],
    }


def _summary(simulation: Simulation, seconds: float, gave_up: str, as_json: bool) -> int:
    counts, missing = simulation.counts(), simulation.unanswered
    reasons = sum((desk.reasons for desk in simulation.desks), Counter())
    good = not missing and not counts["unexpected"]
    facts: dict[str, Any] = {
        "users": len(simulation.desks),
        "elapsed_s": round(seconds, 1),
        "orders": counts["orders"],
        "answers": counts["answers"],
        "missing": missing,
        "unexpected": counts["unexpected"],
        "messages": counts["messages"],
        "trades": counts["trades"],
        "rejects": counts["rejects"],
        "too_late": counts["too_late"],
        "left_out": counts["left_out"],
        "reconnects": simulation.reconnects,
        "outage_s": round(simulation.outage_s, 1),
        "sent_again": counts["sent_again"],
        **{name: value for name, value in simulation.latencies.summary().items() if name != "count"},
    }
    if as_json:
        whole = {"summary": True, "good": good and not gave_up, "gave_up": gave_up or None}
        screen.print_json(_object(simulation, seconds, simulation.latencies.summary()) | whole)
    else:
        _print_summary(facts, reasons, good)
    if gave_up in _BROKEN_OFF:
        return _BROKEN_OFF[gave_up]  # the program says which, as of any command
    if gave_up:
        screen.notice(f"lockstep: {gave_up}")
    return errors.FINE if good and not gave_up else errors.FOUND


def _counted(reason: int, count: int) -> str:
    """Rejects of a reason, and which rules of the market it stands for, where these are several."""
    name, words = code_name(reason).replace("_", " "), reject_words(reason)
    return screen.count(count) + ("" if words == name else f": {words.removeprefix(name).strip(' ()')}")


def _print_summary(facts: dict[str, Any], reasons: Counter[int], good: bool) -> None:
    shown = {name.replace("_", " "): screen.count(v) if isinstance(v, int) else v for name, v in facts.items()}
    screen.facts(shown.items(), title="outcome")
    if reasons:
        # What a code stands for is behind the number: one is a sentence, and columns are as wide as the longest name.
        screen.facts((code_name(reason), _counted(reason, count)) for reason, count in reasons.most_common())
    missing, unexpected = facts["missing"], facts["unexpected"]
    text = "every order was answered"
    if not good:
        text = f"{screen.counted(missing, 'order')} without an answer, {unexpected:,} answers without a request"
    screen.verdict(good, text)
