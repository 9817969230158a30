"""Bounds of a ready and healthy node, and the sentence for each bound that is exceeded. Pure.

Ready: the node takes orders and makes them durable. Healthy: it works; otherwise its supervisor restarts it.
"""

from typing import Final

#: Age of the oldest command that is not durable, in seconds: beyond the first bound the node is not ready; beyond the
#: second its market has stopped, and the watchdog gets no more notifications.
DURABLE_LAG_MAX_S: Final = 5.0
STALL_MAX_S: Final = 30.0


def late(durable_lag_s: float, waits_for: str = "") -> list[str]:
    """Reason why orders do not become durable in time. ``waits_for``: node whose acknowledgement answers wait for."""
    if durable_lag_s <= DURABLE_LAG_MAX_S:
        return []
    if waits_for:
        return [
            f"commands have waited {durable_lag_s:.0f} s for {waits_for} to acknowledge them, so clients get no "
            f"answers; check {waits_for}"
        ]
    return [f"commands have waited {durable_lag_s:.0f} s to become durable, so clients get no answers; check the disk"]


def stopped(durable_lag_s: float) -> list[str]:
    """Reason why the market has stopped though the process runs."""
    if durable_lag_s <= STALL_MAX_S:
        return []
    return [f"nothing has become durable for {durable_lag_s:.0f} s, so the market has stopped; check the disk"]


def clock_refused(ahead_ns: int) -> list[str]:
    """Warning that market time does not follow the wall clock; orders are taken all the same."""
    if not ahead_ns:
        return []
    return [
        f"the wall clock is {ahead_ns / 1e9:,.0f} s ahead of market time, which does not follow it; orders are taken; "
        "set the clock right, or accept its time with `lockstep admin accept-clock`"
    ]


def clock_behind(behind_ns: int, bound_ns: int) -> str | None:
    """Sentence for the log where the journal is far ahead of the wall clock at the start."""
    if behind_ns <= bound_ns:
        return None
    return (
        f"the journal's last command is {behind_ns / 1e9:,.0f} s ahead of the wall clock; market time continues from "
        "there, a sixteenth slower, until the clock has caught up; set the clock, unless it was wrong before"
    )
