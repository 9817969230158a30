"""Logs of fixcore-engine, a client of FIX that judges ours, which say nothing."""

from typing import Any


def silent_logs() -> Any:
    """A factory of logs; fixcore-engine is installed."""
    from fixcore.log import Log, LogFactory

    class Silence(Log):  # type: ignore[misc]  # fixcore has no types
        def on_incoming(self, message: str) -> None: ...

        def on_outgoing(self, message: str) -> None: ...

        def on_event(self, text: str) -> None: ...

    class Silences(LogFactory):  # type: ignore[misc]
        def create(self, session_id: Any) -> Silence:  # noqa: ARG002  its name is fixcore's
            return Silence()

    return Silences()
