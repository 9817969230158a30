"""The market as a pure function of its commands: ``Engine.apply(commands) -> events``.

What has kernels is loaded when it is first asked for: Numba takes half a second, and rows, codes and names
(``engine.records``, ``engine.names``) do without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from engine.capacity import Capacity
from engine.errors import InvariantError
from engine.records import COMMAND, EVENT, RULES_VERSION

if TYPE_CHECKING:
    from engine.check import check_state
    from engine.engine import Engine, compile_kernels, is_compiled

__all__ = [
    "COMMAND",
    "EVENT",
    "RULES_VERSION",
    "Capacity",
    "Engine",
    "InvariantError",
    "check_state",
    "compile_kernels",
    "is_compiled",
]

_HOMES: Final = {
    "Engine": "engine.engine",
    "check_state": "engine.check",
    "compile_kernels": "engine.engine",
    "is_compiled": "engine.engine",
}


def __getattr__(name: str) -> object:
    """Load what has kernels."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
