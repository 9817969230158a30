"""Connections that had sent messages by a moment: `lockstep sessions`.

They come from DIR/arrivals, where a node keeps what it received from whom. Logins and heartbeats are not in it, so a
connection is known to be open between its first and its last message, and nothing is known of it afterwards.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.questions.arrivals import records_of, users_of
from gateway.fairness import messages_of
from notation.words import iso_time
from replay.times import seq_at


@dataclass
class Session:
    """A connection of a user since one start of the node: first and last message, and those up to the moment."""

    run: int
    connection: int
    user: int
    first_seq: int
    first_ns: int
    messages: int = 0
    newest_seq: int = 0
    newest_ns: int = 0
    last_seq: int = 0
    last_ns: int = 0


def sessions(directory: Path, at: str | None, *, as_json: bool) -> int:
    """`lockstep sessions`: print the connections, the one with the newest message last."""
    seq = seq_at(directory, at)
    found = _sessions(records_of(directory), seq)
    names = users_of(directory)
    chosen = sorted((each for each in found if each.messages), key=lambda each: (each.newest_seq, each.connection))
    told = [_facts(each, names) for each in chosen]
    if as_json:
        screen.print_json({"seq": seq, "sessions": told})
        return errors.FINE
    screen.print_line(f"up to command {screen.count(seq)}")
    columns = ["run", "connection", "user", "messages", "first", "newest", "open"]
    rows = [
        [
            str(each["run"]),
            str(each["connection"]),
            each["user"] or f"number {each['user_number']}",
            screen.count(each["messages"]),
            each["first"],
            each["newest"],
            "yes" if each["is_open"] else "not known",
        ]
        for each in told
    ]
    if rows:
        screen.table(columns, rows, right=("run", "connection", "messages"))
    return errors.FINE


def _sessions(parts: list[NDArray[Any]], seq: int) -> list[Session]:
    """Sessions of all records, with their messages up to command ``seq``."""
    found: dict[tuple[int, int, int], Session] = {}
    run, turn = 1, 0
    for part in parts:
        rows = messages_of(part)
        turns = rows["turn"].astype(np.int64)
        # A node numbers its turns and connections anew when it starts.
        runs = run + np.cumsum(np.diff(turns, prepend=turn) < 0)
        if len(rows):
            run, turn = int(runs[-1]), int(turns[-1])
        keys = np.stack((runs, rows["connection"].astype(np.int64), rows["user"].astype(np.int64)), axis=1)
        distinct, inverse = np.unique(keys, axis=0, return_inverse=True)
        for number, (of_run, connection, user) in enumerate(distinct.tolist()):
            own = rows[inverse.reshape(-1) == number]
            first, last = own[0], own[-1]
            key = (of_run, connection, user)
            begun = Session(of_run, connection, user, int(first["seq"]), int(first["time_ns"]))
            session = found.setdefault(key, begun)
            session.last_seq, session.last_ns = int(last["seq"]), int(last["time_ns"])
            before = own[own["seq"] <= seq]
            if len(before):
                session.messages += len(before)
                session.newest_seq, session.newest_ns = int(before[-1]["seq"]), int(before[-1]["time_ns"])
    return list(found.values())


def _facts(session: Session, names: dict[int, str]) -> dict[str, Any]:
    return {
        "run": session.run,
        "connection": session.connection,
        "user_number": session.user,
        "user": names.get(session.user),
        "messages": session.messages,
        "first_seq": session.first_seq,
        "first": iso_time(session.first_ns),
        "newest_seq": session.newest_seq,
        "newest": iso_time(session.newest_ns),
        "is_open": session.last_seq > session.newest_seq,
        "last": iso_time(session.last_ns) if session.last_seq > session.newest_seq else None,
    }
