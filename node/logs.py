"""The node's log: one JSON object a line for programs, one plain line a thing for people on a terminal.

A line has time (UTC), level, event (a fixed phrase, to search for) and fields (what is particular). Writing never
raises: a log that cannot be written must not stop a market; lines that were lost are counted. Whatever a field is
called that may be a secret is hidden, and what a terminal would obey is escaped.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final, TextIO

LEVELS: Final = ("info", "warning", "error")
HIDDEN: Final = "[hidden]"
#: Characters of one value at most; what is longer is cut.
VALUE_CHARACTERS_MAX: Final = 2_000

_SECRET: Final = ("password", "passwd", "token", "secret", "credential", "salt", "hash")
_OWN: Final = frozenset({"time", "level", "event"})
_COLOURS: Final = {"info": "\x1b[36m", "warning": "\x1b[33m", "error": "\x1b[1;31m"}
_DEPTH_MAX: Final = 6


class Log:
    """Writes lines to a stream (standard error, unless told otherwise).

    pretty: lines for people; by default on a terminal. level: the least that is written.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        pretty: bool | None = None,
        level: str = "info",
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._pretty = _is_terminal(self._stream) if pretty is None else pretty
        self._least = LEVELS.index(level)
        self._clock = clock
        #: Lines that could not be written.
        self.lost = 0

    def info(self, event: str, /, **fields: Any) -> None:
        """What the node does in the ordinary way."""
        self._write("info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """What an operator should look at when there is time."""
        self._write("warning", event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """What an operator has to look at now."""
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        try:
            if LEVELS.index(level) < self._least:
                return
            shown = {f"{name}_" if name in _OWN else name: _shown(name, value, 0) for name, value in fields.items()}
            when = _utc(self._clock())
            line = _pretty(when, level, event, shown) if self._pretty else _json(when, level, event, shown)
            self._stream.write(line + "\n")
            self._stream.flush()
        except Exception:  # whatever it is, the caller has something better to do than to fail for its log
            self.lost += 1


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def _utc(time_ns: int) -> str:
    seconds, fraction_ns = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction_ns // 1000:06d}Z"


def _shown(name: str, value: Any, depth: int) -> Any:
    """A field's value as JSON can have it, with secrets hidden, of bounded size."""
    if any(word in name.lower() for word in _SECRET):
        return HIDDEN
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # JSON has no NaN and no infinity
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value[:VALUE_CHARACTERS_MAX]).hex()
    if isinstance(value, str):
        return _cut(value)
    if depth == _DEPTH_MAX and isinstance(value, dict | list | tuple | set | frozenset):
        return "…"
    if isinstance(value, dict):
        return {str(key): _shown(str(key), inner, depth + 1) for key, inner in list(value.items())[:100]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown("", inner, depth + 1) for inner in list(value)[:100]]
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:  # a NumPy number
        return _shown("", value.item(), depth)
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}…"


def _json(when: str, level: str, event: str, fields: dict[str, Any]) -> str:
    return json.dumps({"time": when, "level": level, "event": _cut(event), **fields})


def _pretty(when: str, level: str, event: str, fields: dict[str, Any]) -> str:
    told = "".join(f"  {_plain(name)}={_value(value)}" for name, value in fields.items())
    return f"{when[11:23]} {_COLOURS[level]}{level:7}\x1b[0m {_plain(_cut(event))}{told}"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return _plain(repr(text) if any(character in " =\"'" for character in text) and isinstance(value, str) else text)


def _plain(text: str) -> str:
    """A text without anything that a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
