"""The market as a pure function of its commands: ``Engine.apply(commands) -> events``."""

from engine.check import check_state
from engine.engine import Engine, compile_kernels, warm
from engine.errors import InvariantError
from engine.jit import SOURCE_DIGEST
from engine.limits import Capacity
from engine.records import COMMAND, EVENT, RULES_VERSION

__all__ = [
    "COMMAND",
    "EVENT",
    "RULES_VERSION",
    "SOURCE_DIGEST",
    "Capacity",
    "Engine",
    "InvariantError",
    "check_state",
    "compile_kernels",
    "warm",
]
