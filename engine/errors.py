"""The one exception that an engine may raise about itself: an input never causes one (rulebook section 11)."""

from typing import Any


class InvariantError(Exception):
    """A promise of the engine's own state is broken. The fault is ours; the node must stop before it publishes."""


def require(condition: Any, promise: str) -> None:
    """Raise InvariantError unless the promise holds."""
    if not condition:
        raise InvariantError(promise)
