"""Words, numbers, paths and choices of a command line, read without Pydantic, which takes longer to load than they do.

Typer reads each value by Pydantic. A value that is plainly right is read here; any other one is given to Typer, which
has the sentence for what is wrong.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, get_args

from typer import core
from typer._coercion import RuntimeParam, TypeDescriptor, build_runtime_param

_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,17}")

#: Function that reads a value, or gives None where it is not plainly right.
_Reading = Callable[[Any], Any]


@dataclass(frozen=True)
class _Plain(RuntimeParam):
    """Reading of one argument or option."""

    read: _Reading
    descriptor: TypeDescriptor

    def _coerce_value(self, value: Any, param: Any, ctx: Any) -> Any:
        is_list = self.descriptor.is_list and isinstance(value, list | tuple)
        found = [self.read(each) for each in (value if is_list else (value,))]
        if any(each is None for each in found):
            return build_runtime_param(self.descriptor).coerce(value, param, ctx)
        return found if self.descriptor.is_list else found[0]


def _plain(descriptor: TypeDescriptor) -> RuntimeParam:
    """Reading of a value: as here, if it is of a kind that has plain values, else by Typer."""
    kind = get_args(descriptor.annotation)[0] if descriptor.is_list else descriptor.annotation
    read = _reading(kind, descriptor.parameter_info)
    if read is None:
        return build_runtime_param(descriptor)
    return _Plain(descriptor.parameter_info, descriptor.annotation, read, descriptor)


def read_plainly() -> None:
    """Have Typer read plain values as here, from now on."""
    core.build_runtime_param = _plain  # type: ignore[attr-defined]


def _reading(kind: Any, info: Any) -> _Reading | None:
    if info.parser is not None or not isinstance(kind, type):
        return None
    if issubclass(kind, Enum):
        return lambda value: next(
            (each for each in kind if value is each or (type(value) is str and value == each.value)), None
        )
    if kind is bool:
        return lambda value: value if isinstance(value, bool) else None
    if kind is str and not (info.allow_dash or info.path_type or info.resolve_path):
        return lambda value: value if type(value) is str else None
    if kind is int and not info.clamp:
        return lambda value: _number(value, info.min, info.max)
    if kind is Path and not (info.exists or info.allow_dash or info.path_type or info.resolve_path or info.writable):
        return _path if info.file_okay and info.dir_okay and info.readable else None
    return None


def _number(value: Any, least: float | None, most: float | None) -> int | None:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    fits = type(value) is int and (least is None or value >= least) and (most is None or value <= most)
    return value if fits else None


def _path(value: Any) -> Path | None:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        return None
    return None if os.path.exists(value) and not os.access(value, os.R_OK) else Path(value)
