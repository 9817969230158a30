"""The report of `lockstep admin status` for people: a label and a unit for each figure of a node.

Programs get the keys of ``node.core.control.STATUS_KEYS``, with --json.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from cli import screen
from notation.moments import plain_time

#: A figure in words.
Words = Callable[[Any], str]


def duration(ns: float) -> str:
    """Nanoseconds in a suitable unit.

    >>> duration(0), duration(850), duration(12_300), duration(-4_500_000), duration(7_200_000_000_000)
    ('0 s', '850 ns', '12.3 µs', '-4.5 ms', '7,200.0 s')
    """
    if ns == 0:
        return "0 s"
    for unit, of_ns in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if abs(ns) >= of_ns:
            return f"{ns / of_ns:,.1f} {unit}"
    return f"{ns:g} ns"


def _seconds(seconds: float) -> str:
    return duration(round(seconds * 1e9))


def _yes_or_no(value: float) -> str:
    return "yes" if value else "no"


def _or_none(words: str) -> str:
    return words or "none"


def _rate(value: float) -> str:
    return f"{value:,.1f}"


def _counted(value: Any) -> str:
    """A count with thousands separators; a word unchanged."""
    return screen.count(value) if isinstance(value, int) else str(value)


#: Label and words of each key; a key of ``_NOT_SHOWN`` repeats another.
_FIGURES: Final[dict[str, tuple[str, Words]]] = {
    "pid": ("process", str),
    "uptime_s": ("up", _seconds),
    "data": ("data directory", str),
    "durability": ("durability", str),
    "state": ("state", str),
    "state_reason": ("reason for the state", _or_none),
    "diverged": ("state differs from the other node", _yes_or_no),
    "warning": ("warning", _or_none),
    "draining": ("draining", _yes_or_no),
    "room": ("room on the disk", str),
    "seq": ("last command applied", _counted),
    "durable_seq": ("last command durable", _counted),
    "published_seq": ("last command answered", _counted),
    "event_digest": ("event digest", str),
    "clock": ("market time", plain_time),
    "speed_bump_ns": ("entry delay", lambda ns: duration(ns) if ns else "none"),
    "clock_discipline": ("machine clock", str),
    "clock_offset_ns": ("machine clock, offset", duration),
    "clock_error_max_ns": ("machine clock, largest error", duration),
    "clock_jumps": ("machine clock, jumps", _counted),
    "clock_ahead_ns": ("market time ahead of the machine clock", duration),
    "clock_refused_ns": ("machine clock ahead and refused", duration),
    "durable_lag_s": ("oldest command not durable", _seconds),
    "failed_logins": ("failed logins", _counted),
    "refused_connections": ("refused connections", _counted),
    "displaced_connections": ("displaced connections", _counted),
    "lost_arrivals": ("arrivals not recorded", _counted),
    "slow_readers": ("slow readers disconnected", _counted),
    "failed_checkpoints": ("failed checkpoints", _counted),
    "lost_log_lines": ("log lines lost", _counted),
    "checkpoint_seq": ("last checkpoint, command", _counted),
    "held_rows": ("rows that wait for the disk", _counted),
    "instruments": ("instruments", _counted),
    "instruments_max": ("instruments, room for", _counted),
    "participants": ("participants", _counted),
    "participants_max": ("participants, room for", _counted),
    "users": ("users", _counted),
    "users_max": ("users, room for", _counted),
    "orders_open": ("open orders", _counted),
    "orders_max": ("open orders, room for", _counted),
    "ids_used": ("order ids used", _counted),
    "ids_max": ("order ids, room for", _counted),
    "session": ("session", str),
    "commands": ("commands since the start", _counted),
    "orders": ("orders since the start", _counted),
    "events": ("events since the start", _counted),
    "trades": ("trades since the start", _counted),
    "commands_per_s": ("commands a second", _rate),
    "orders_per_s": ("orders a second", _rate),
    "events_per_s": ("events a second", _rate),
    "trades_per_s": ("trades a second", _rate),
    "connections": ("connections", _counted),
    "direct_connections": ("connections served directly", _counted),
    "logged_in": ("users logged in", _counted),
    "bytes_in": ("received", screen.size),
    "bytes_out": ("sent", screen.size),
    "journal_bytes": ("journal", screen.size),
    "disk_free_bytes": ("disk, free", screen.size),
    "memory_rss_bytes": ("memory", screen.size),
}
_NOT_SHOWN: Final = frozenset({"clock_ns"})
#: Counts by phase, reason and kind; those of reasons and kinds are left out if zero.
_PREFIXES: Final = {"phase_": "instruments in phase", "rejected_": "refused,", "events_": "events,"}
_QUIET: Final = ("rejected_", "events_")


def lines(status: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Label and words of each figure of a status, in its order."""
    for key, value in status.items():
        if key in _FIGURES:
            label, words = _FIGURES[key]
            yield label, words(value)
        elif key not in _NOT_SHOWN and (value or not key.startswith(_QUIET)):
            yield _of_a_family(key, value)


def _of_a_family(key: str, value: Any) -> tuple[str, str]:
    """A latency, or a count by phase, reason or kind; a key of a newer node in plain words."""
    if key.startswith("latency_"):
        stage, _, percentile = key.removeprefix("latency_").removesuffix("_ns").rpartition("_")
        return f"{stage.replace('_', ' ')}, {percentile.replace('p999', 'p99.9')}", duration(value)
    for prefix, label in _PREFIXES.items():
        if key.startswith(prefix):
            return f"{label} {key.removeprefix(prefix).replace('_', ' ')}", _counted(value)
    return key.replace("_", " "), _counted(value)
