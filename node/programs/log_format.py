"""Log lines as text: one JSON object a line for programs, one coloured line for people. Pure; no stream and no thread.

A line has time (UTC), level, event (a fixed phrase, to search for) and fields (the particulars). Values of fields with
secret names are hidden, values are bounded in size, and control characters are escaped.
"""

import json
import logging
import re
import time
from functools import lru_cache
from typing import Any, Final

HIDDEN: Final = "[hidden]"
#: Characters of a value at most; longer ones are cut.
VALUE_CHARACTERS_MAX: Final = 2_000

#: A field name is secret if it contains one of the first, or has one of the second as a separate word.
_SECRET_PARTS: Final = ("password", "passwd", "secret", "credential")
_SECRET_WORDS: Final = frozenset({"token", "tokens", "salt", "authorization", "passphrase"})
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_OWN: Final = frozenset({"time", "level", "event"})
_COLOURS: Final = {"info": "\x1b[36m", "warning": "\x1b[33m", "error": "\x1b[1;31m"}
_DEPTH_MAX: Final = 6


def shown_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as JSON values: copied, bounded, secrets hidden; a name that the line itself has gets an underscore."""
    return {f"{name}_" if name in _OWN else name: _shown(name, value, 0) for name, value in fields.items()}


@lru_cache(512)
def is_secret(name: str) -> bool:
    """True if a field of this name is hidden.

    >>> [is_secret(name) for name in ("new_password", "adminToken", "hash", "tokenless", "event_digest")]
    [True, True, False, False, False]
    """
    lower = name.lower()
    return any(part in lower for part in _SECRET_PARTS) or any(
        word.lower() in _SECRET_WORDS for word in _WORD.findall(name)
    )


def _shown(name: str, value: Any, depth: int) -> Any:
    if is_secret(name):
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


def level_of(record: logging.LogRecord) -> str:
    """One of info, warning, error."""
    if record.levelno >= logging.ERROR:
        return "error"
    return "warning" if record.levelno >= logging.WARNING else "info"


def _parts(record: logging.LogRecord) -> tuple[str, str, dict[str, Any]]:
    """Time, event and fields of a record of the node or of a library."""
    time_ns = getattr(record, "time_ns", None)
    when = _utc(round(record.created * 1e6) * 1_000 if time_ns is None else time_ns)
    fields = getattr(record, "fields", None)
    if fields is None:
        fields = {"logger": record.name}
        if record.exc_info:
            fields["traceback"] = _cut(logging.Formatter().formatException(record.exc_info))
    return when, _cut(record.getMessage()), fields


def _utc(time_ns: int) -> str:
    seconds, fraction_ns = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction_ns // 1000:06d}Z"


class JsonFormatter(logging.Formatter):
    """Formatter of lines of JSON, one object each."""

    def format(self, record: logging.LogRecord) -> str:
        """Line of a record, without a newline."""
        when, event, fields = _parts(record)
        return json.dumps({"time": when, "level": level_of(record), "event": event, **fields})


class TerminalFormatter(logging.Formatter):
    """Formatter of lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Line of a record, without a newline."""
        when, event, fields = _parts(record)
        level = level_of(record)
        if "more" in fields and "within_s" in fields:
            event = f"… {fields['more']:,} more like this in {fields['within_s']:g} s: {event}"
            fields = {name: value for name, value in fields.items() if name not in ("more", "within_s")}
        fields_text = "".join(f"  {_plain(name)}={_value(value)}" for name, value in fields.items())
        return f"{when[11:23]} {_COLOURS[level]}{level:7}\x1b[0m {_plain(event)}{fields_text}"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return _plain(repr(text) if any(character in " =\"'" for character in text) and isinstance(value, str) else text)


def _plain(text: str) -> str:
    """A text without control characters."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
