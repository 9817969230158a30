"""FIX sessions of a gateway process, as others see them: the side file of their facts, and messages in the log."""

import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway.connection import Connection
from gateway.fix.session import FixSession
from gateway.server import Gateway
from node.gateways.fix_side_file import read_side_file, watched, write_side_file
from node.programs.log_repeats import FIX_MESSAGE
from node.programs.logs import Log

#: Interval of the side file, in seconds.
_WRITE_S: Final = 2.0
#: Sessions of users who have left that the file still names, the last ones.
_GONE_MAX: Final = 4_096


class SessionFacts:
    """Facts of the sessions of a gateway; of another protocol it has none, and does nothing."""

    def __init__(self, folder: Path, log: Log) -> None:
        self._folder, self._log = folder, log
        # Those of the life before were ended by its end.
        self._sessions: dict[str, dict[str, Any]] = {
            name: {**facts, "logged_on": False} for name, facts in read_side_file(folder).items()
        }
        self._watched: frozenset[str] = frozenset()
        self._due_s = 0.0
        self._has_ended = False  # one that the file does not name as ended yet

    def note_end(self, gateway: Gateway, connection: Connection) -> None:
        """Note the last facts of a session that ends: it may have begun behind the last look at those who are there."""
        session, present = connection.session, gateway.logged_in.get(connection.user)
        if isinstance(session, FixSession) and (present is None or present is connection):
            self._note(connection, session, logged_on=False)
            self._has_ended = True

    def _note(self, connection: Connection, session: FixSession, *, logged_on: bool) -> None:
        name = connection.entrance.outbox.streams.name(connection.user)
        self._sessions.pop(name, None)
        self._sessions[name] = {**session.facts, "address": connection.address, "logged_on": logged_on}

    def beat(self, gateway: Gateway) -> None:
        """Look for users to be watched, and write the file where it is due."""
        if not any(isinstance(each.session, FixSession) for each in gateway.logged_in.values()):
            if self._has_ended or any(facts["logged_on"] for facts in self._sessions.values()):
                self.write(gateway)
            return
        self._watch(gateway)
        if time.monotonic() >= self._due_s:
            self.write(gateway)

    def _watch(self, gateway: Gateway) -> None:
        before, self._watched = self._watched, watched(self._folder)
        wanted = self._watched
        if not wanted and not before:
            return
        for connection in gateway.logged_in.values():
            session = connection.session
            if isinstance(session, FixSession):
                name = connection.entrance.outbox.streams.name(connection.user)
                session.on_frame = partial(self._show, name) if name in wanted else None

    def _show(self, user: str, way: str, message: str) -> None:
        self._log.info(FIX_MESSAGE, user=user, way=way, message=message)

    def write(self, gateway: Gateway) -> None:
        """Write the file; a disk that is full costs the facts alone."""
        self._due_s = time.monotonic() + _WRITE_S
        self._has_ended = False
        for facts in self._sessions.values():
            facts["logged_on"] = False
        for connection in gateway.logged_in.values():
            session = connection.session
            if isinstance(session, FixSession):
                self._note(connection, session, logged_on=True)
        while len(self._sessions) > _GONE_MAX:
            del self._sessions[next(iter(self._sessions))]
        if self._sessions:
            with suppress(OSError):
                write_side_file(self._folder, self._sessions)
