"""Users who were logged in at a moment, and connections that had sent messages by it: `lockstep sessions`.

Logins come from DIR/logins, where a node keeps each with its end. Connections come from DIR/arrivals, where it keeps
what it received from whom: one is known to be open between its first and its last message. Either is kept by the node
that took orders at the time, and no part of the journal.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cli import errors, screen
from cli.questions.arrivals import records_of, users_of
from cli.questions.reading import note_day
from gateway.fairness import messages_of
from gateway.login_log import LoginKind, read_logins
from journal import Journal
from journal.history import History
from notation.moments import is_seq, plain_time
from notation.words import iso_time
from replay.reigns import reigns
from replay.times import seq_at, time_ns_of

#: In place of a connection: all that a user sent by gateways in processes of their own.
_BY_GATEWAY: Final = -1


@dataclass
class Session:
    """A connection of a user since one start of the node, or all that it sent by gateways (connection -1): first and
    last message, and those up to the moment."""

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


@dataclass(frozen=True)
class LoggedIn:
    """A login that had begun before a moment and not ended. ``end``: its row, where its end is known, and its kind."""

    begin: Any
    end: Any | None


def sessions(directory: Path, at: str | None, *, as_json: bool) -> int:
    """`lockstep sessions`: print logins by user, and the connections, the one with the newest message last."""
    seq = seq_at(directory, at)
    note_day(directory, at)
    with Journal.open(directory, readonly=True) as journal:
        journal_id = journal.journal_id
    logins, runs = None, False
    if (directory / "logins").is_dir():
        time_ns = None if at is None or is_seq(at) else time_ns_of(directory, at)
        rows, by_seq = read_logins(directory / "logins", journal_id), None if at is None else seq
        logins, runs = logged_in(rows, by_seq, time_ns), was_running(rows, by_seq, time_ns)
    primary = _primary_at(directory, seq)
    no_orders = logins is not None and not (directory / "arrivals").is_dir()
    found = [] if no_orders else _sessions(records_of(directory), seq)
    names = users_of(directory)
    chosen = sorted((each for each in found if each.messages), key=lambda each: (each.newest_seq, each.connection))
    told = [_facts(each, names) for each in chosen]
    users = None if logins is None else [_login_facts(each) for each in logins]
    if as_json:
        screen.print_json({"seq": seq, "primary": primary, "logins": users, "sessions": told})
        return errors.FINE
    _show_logins(directory, users, seq, primary, runs=runs)
    _show_connections(told, seq)
    return errors.FINE


def _primary_at(directory: Path, seq: int) -> str | None:
    """Name of the node of a pair that was primary at a command; None where the journal does not say."""
    with History.open(directory) as history:
        found = reigns(history, seq, seq)
    return found[-1].node if found else None


def _until(rows: NDArray[Any], seq: int | None, time_ns: int | None) -> NDArray[np.bool_]:
    """Mask of the LOGIN rows up to a moment, as ``logged_in`` has it."""
    if time_ns is not None:
        return np.asarray(rows["time_ns"] <= time_ns)
    return np.ones(len(rows), bool) if seq is None else np.asarray(rows["seq"] < seq)


def was_running(rows: NDArray[Any], seq: int | None, time_ns: int | None = None) -> bool:
    """True if the node whose LOGIN rows these are was running at a moment, as ``logged_in`` has it."""
    kinds = rows["kind"][_until(rows, seq, time_ns)]
    bounds = kinds[np.isin(kinds, (LoginKind.START, LoginKind.END))]
    return bool(len(bounds) and bounds[-1] == LoginKind.START)


def logged_in(rows: NDArray[Any], seq: int | None, time_ns: int | None = None) -> list[LoggedIn]:
    """Logins of LOGIN rows that were open when command ``seq`` was taken, or at a time (ns since 1970), by user.

    seq: None for the end of the rows. time_ns: of the machine's clock, goes before ``seq``.
    """
    before = _until(rows, seq, time_ns)
    open_of: dict[int, Any] = {}
    for row in rows[before]:
        if row["kind"] in (LoginKind.START, LoginKind.END):
            open_of.clear()
        elif row["kind"] == LoginKind.LOGIN:
            open_of[int(row["user"])] = row
        else:
            open_of.pop(int(row["user"]), None)
    after = rows[~before]
    found = []
    for user, begin in sorted(open_of.items()):
        ends = np.flatnonzero((after["user"] == user) | (after["user"] == 0))
        found.append(LoggedIn(begin, after[ends[0]] if len(ends) else None))
    return found


def _login_facts(login: LoggedIn) -> dict[str, Any]:
    begin, end = login.begin, login.end
    # A node that was killed wrote no end: the login ended at some time before the next start.
    broke_off = end is not None and end["kind"] == LoginKind.START
    end_seq, end_ns = (None, None) if end is None else (int(end["seq"]), iso_time(int(end["time_ns"])))
    return {
        "user_number": int(begin["user"]),
        "user": begin["name"].decode(),
        "gateway": begin["gateway"].decode() or None,
        "address": begin["address"].decode(),
        "since_seq": int(begin["seq"]),
        "since": iso_time(int(begin["time_ns"])),
        "until_seq": None if broke_off else end_seq,
        "until": None if broke_off else end_ns,
        "broke_off_before": end_ns if broke_off else None,
    }


def _show_logins(
    directory: Path, users: list[dict[str, Any]] | None, seq: int, primary: str | None, *, runs: bool
) -> None:
    elsewhere = f"; node {primary} was primary then, and its directory says who was logged in" if primary else ""
    if users is None:
        here = f"no logins are known: there is no {directory / 'logins'}, which a node writes while it runs"
        screen.print_line(here + elsewhere)
        return
    if not runs:
        screen.print_line(f"this node did not run at command {screen.count(seq)}{elsewhere}")
        return
    here = "" if users else elsewhere
    screen.print_line(f"{screen.counted(len(users), 'user')} logged in at command {screen.count(seq)}{here}")
    rows = []
    for each in users:
        until = plain_time(each["until"] or "not known")
        if each["broke_off_before"]:
            until = f"the node broke off before {plain_time(each['broke_off_before'])}"
        rows.append([each["user"], each["gateway"] or "of the core", each["address"], plain_time(each["since"]), until])
    if rows:
        screen.table(["user", "gateway", "address", "since", "until"], rows)


def _show_connections(told: list[dict[str, Any]], seq: int) -> None:
    screen.print_line(f"connections that had sent messages up to command {screen.count(seq)}")
    columns = ["run", "connection", "user", "messages", "first", "newest", "open"]
    rows = [
        [
            str(each["run"]),
            str(each["connection"]) if each["connection"] > 0 else "by a gateway",
            each["user"] or f"number {each['user_number']}",
            screen.count(each["messages"]),
            plain_time(each["first"]),
            plain_time(each["newest"]),
            "yes" if each["is_open"] else "not known",
        ]
        for each in told
    ]
    if rows:
        screen.table(columns, rows, right=("run", "connection", "messages"))


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
        # A message by a gateway process has the place in the turn that it came by, which is no connection.
        connections = np.maximum(rows["connection"].astype(np.int64), _BY_GATEWAY)
        keys = np.stack((runs, connections, rows["user"].astype(np.int64)), axis=1)
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
