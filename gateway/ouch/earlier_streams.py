"""Users' streams of an earlier release: its tables in a checkpoint and its files, as those of this release.

The messages of a release with other rules cannot be made again by a replay, so they are carried over. Tables go by
named fields; what they lack comes from the market. The bytes of each stream go from the old file to a new one beside
it. Old files have no head and no checksums, so they are compared with the tables: whole messages fill each stream, as
many as the tables count. Nothing is written before ``write``, and old files are only read.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from checkpoints import ProjectionImage
from engine.interface import MarketEngine
from engine.names import pack, unpack
from gateway.messages import USER
from gateway.ouch.outbox import FOLDER, OuchOutbox
from gateway.ouch.streams import layout_row, without_delay
from gateway.ouch.tables import OPEN, OPEN_REST, STOCK, TABLES_LAYOUT, TABLES_VERSION
from gateway.spool import EXTENT_BYTES
from gateway.streams import session_of
from wire.errors import ProtocolError
from wire.ouch import PRICE_E4_MAX
from wire.soup import packet_bytes

#: Names of the images in checkpoints of releases before projections had versions.
STREAMS: Final = "gateway streams"
SPOOL: Final = "gateway spool"
PAST_SPOOLS: Final = "gateway past spools"
_SPOOL_TABLES: Final = ("heads", "extents", "index_seq", "index_position")

Arrays = Mapping[str, NDArray[Any]]


class EarlierStreams:
    """Streams that an earlier release left in a data directory.

    ``session``: of the present day. ``users``: their number. ``notes``: sentences on past sessions that are not kept.
    """

    def __init__(self, directory: Path, images: Mapping[str, ProjectionImage]) -> None:
        """``images``: of the projections in the checkpoint. Raises ValueError where the streams are missing there, or
        damaged, or their files are not what it says."""
        self._directory = directory
        self._tables = _arrays(images, STREAMS)
        try:
            self.session = session_of(int(self._tables["now_ns"][0]))
            self._users = _carried_over(self._tables["users"], USER, "users")
        except KeyError as error:
            raise ValueError(f"the checkpoint has no table {error.args[0]} of the users' streams") from error
        self.users = len(self._users) - 1
        self.notes: list[str] = []
        self._spools = {self.session: _arrays(images, SPOOL)}
        self._check_present()
        past = _by_session(_arrays(images, PAST_SPOOLS)) if PAST_SPOOLS in images else {}
        for session, tables in past.items():
            try:
                _read_all(self._path(session), tables)
                self._spools[session] = tables
            except ValueError as error:
                self.notes.append(f"the streams of session {session} are not kept any longer: {error}")

    def _path(self, session: str) -> Path:
        return self._directory / FOLDER / session

    def _check_present(self) -> None:
        """Raise ValueError unless the file of the present session has the messages that the tables of users count."""
        ends = {user: (next_seq, size) for user, next_seq, size in _read_all(self._path(self.session), self._present)}
        for user, row in enumerate(self._users[1:], 1):
            if ends.pop(user, (1, 0)) != (int(row["next_seq"]), int(row["bytes"])):
                raise ValueError(f"{self._path(self.session)} does not have all messages to {unpack(int(row['name']))}")
        if ends:
            raise ValueError(f"{self._path(self.session)} has messages to users that are not defined")

    @property
    def _present(self) -> Arrays:
        return self._spools[self.session]

    def tables(self, engine: MarketEngine) -> dict[str, NDArray[Any]]:
        """The tables as ``OuchStreams.restore`` takes them, for a market in the state of the checkpoint. Raises
        ValueError where the two are not of the same market."""
        told = self._tables
        try:
            stocks = _stocks(told["stocks"], engine)
            open_rows, rest = _open_orders(told["open"], told["rest"], engine, len(self._users))
            carried, participants = told["carried"], told["participants"]
        except KeyError as error:
            raise ValueError(f"the checkpoint has no table {error.args[0]} of the users' streams") from error
        if tuple(map(unpack, participants.tolist())) != engine.directory.participants:
            raise ValueError("the users' streams know other participants than the market")
        if int(told["now_ns"][0]) != engine.now_ns:
            raise ValueError("the users' streams stand at another time than the market")
        if carried.any():
            raise ValueError("the users' streams wait for the command that belongs to an EXTEND row")
        return {
            "layout": layout_row(TABLES_VERSION, TABLES_LAYOUT),
            "users": self._users,
            "stocks": stocks,
            "participants": participants.astype(np.int64),
            "places": np.zeros(len(open_rows), np.int64),
            "open": open_rows,
            "rest": rest,
            "room": np.zeros(3, np.int64),  # of no capacity, so that each open order is given a place anew
            "carried": carried,
            "now_ns": np.array([engine.now_ns], np.int64),
            **without_delay(engine.now_ns),
        }

    def write(self, journal_id: bytes) -> dict[str, dict[str, NDArray[Any]]]:
        """Write and sync the files of this release, beside the old ones; the image of each, by session. Raises OSError,
        ValueError."""
        images = {session: self._written(session, journal_id) for session in sorted(self._spools)}
        fd = os.open(self._directory / FOLDER, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        return images

    def _written(self, session: str, journal_id: bytes) -> dict[str, NDArray[Any]]:
        spool = OuchOutbox.open_spool(self._directory, session, journal_id)
        try:
            spool.clear()
            for user, first_seq, count, data in _messages(self._path(session), self._spools[session]):
                spool.append(user, first_seq, count, data)
            spool.flush()
            fd = os.open(spool.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            return spool.image()
        except OSError as error:
            error.filename = error.filename or str(spool.path)
            raise
        finally:
            with suppress(OSError):
                spool.close()


def _arrays(images: Mapping[str, ProjectionImage], name: str) -> Arrays:
    if name not in images:
        raise ValueError("the checkpoint was written without the users' streams")
    if images[name].damage:
        raise ValueError(f"the users' streams in the checkpoint cannot be used: {images[name].damage}")
    return images[name].arrays


def _by_session(arrays: Arrays) -> dict[str, dict[str, NDArray[Any]]]:
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    for key in sorted(arrays):
        session, table = key.split(" ", 1)
        groups.setdefault(session, {})[table] = arrays[key]
    return groups


# Tables.


#: Fields that have another name in this release.
_NAMES: Final = {"memo": "context", "number": "order_number"}


def _carried_over(rows: NDArray[Any], dtype: "np.dtype[Any]", name: str, new: tuple[str, ...] = ()) -> NDArray[Any]:
    """Rows of this release with all fields of the old ones, by name; those in ``new`` are zero where they are missing.

    Raises ValueError for any other field that one of the two does not have, and for a value that does not fit.
    """
    carried = np.zeros(len(rows), dtype)
    old, own = (tuple(each for each in names or () if each != "reserved") for names in (rows.dtype.names, dtype.names))
    names = {_NAMES.get(field, field): field for field in old}
    old = tuple(names)
    if unknown := set(old) - set(own):
        raise ValueError(f"{name} of the users' streams have a field that this release lacks: {min(unknown)}")
    if lacking := set(own) - set(old) - set(new):
        raise ValueError(f"{name} of the users' streams lack the field {min(lacking)}")
    for field in old:
        carried[field] = rows[names[field]]
        if not np.array_equal(carried[field], rows[names[field]]):
            raise ValueError(f"a value of the field {field} of {name} of the users' streams does not fit")
    return carried


def _stocks(rows: NDArray[Any], engine: MarketEngine) -> NDArray[Any]:
    """Instruments. One is far where its reference price or tick, or an open order, is above the highest price of
    OUCH."""
    stocks = _carried_over(rows, STOCK, "instruments", new=("far",))
    instruments, orders = engine.instruments(), engine.open_orders()
    if not np.array_equal(stocks["symbol"][1:], instruments["symbol"]):
        raise ValueError("the users' streams know other instruments than the market")
    stocks["far"][1:] |= np.maximum(instruments["reference_e4"], instruments["tick_e4"]) > PRICE_E4_MAX
    stocks["far"][orders["instrument"][orders["price_e4"] > PRICE_E4_MAX]] = 1
    return stocks


def _open_orders(
    rows: NDArray[Any], rest: NDArray[Any], engine: MarketEngine, users: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Open orders of users, each compared with that of the market."""
    open_rows = _carried_over(rows, OPEN, "open orders")
    others = _carried_over(rest, OPEN_REST, "open orders", new=("qty",))
    if len(rows) != len(rest):
        raise ValueError("the open orders of the users' streams are not whole")
    orders = engine.open_orders()
    keys = zip(orders["participant"].tolist(), orders["client_order_id"].tolist(), strict=True)
    at = {key: place for place, key in enumerate(keys)}
    keys = zip(open_rows["participant"].tolist(), open_rows["client_order_id"].tolist(), strict=True)
    places = [at.get(key, -1) for key in keys]
    if -1 in places or len(set(places)) < len(places):
        raise ValueError("a user has an open order that is none in the market")
    same = orders[places]
    if not np.array_equal(open_rows["leaves_qty"], same["leaves_qty"]):
        raise ValueError("an open order of a user has another open quantity in the market")
    if len(rows) and int(open_rows["user"].max()) >= users:
        raise ValueError("an open order belongs to a user that is not defined")
    qty = same["cum_qty"] + same["leaves_qty"]
    if "qty" in (rest.dtype.names or ()) and not np.array_equal(others["qty"], qty):
        raise ValueError("an open order of a user has another quantity in the market")
    others["qty"] = qty
    return open_rows, others


# Files.


def _read_all(path: Path, tables: Arrays) -> list[tuple[int, int, int]]:
    """User number, number of the next message and bytes of each stream in an old file, all of which is read.

    Raises ValueError where the file is not what the tables say, and OSError.
    """
    if lacking := [name for name in _SPOOL_TABLES if name not in tables]:
        raise ValueError(f"the checkpoint has no table {lacking[0]} of {path}")
    ends: dict[int, tuple[int, int]] = {int(head[0]): (1, 0) for head in tables["heads"]}
    for user, first_seq, count, data in _messages(path, tables):
        ends[user] = (first_seq + count, ends[user][1] + len(data))
    return [(user, next_seq, size) for user, (next_seq, size) in ends.items()]


def _messages(path: Path, tables: Arrays) -> Iterator[tuple[int, int, int, bytes]]:
    """User number, number of the first message, messages and bytes, piece by piece, of each stream in an old file.

    Raises ValueError where the file is not what the tables say, and OSError: what is not read now may be whole.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        at = 0
        for user, next_seq, number_bytes, count, _ in tables["heads"].tolist():
            extents = tables["extents"][at : at + count].tolist()
            at += count
            if count != -(-number_bytes // EXTENT_BYTES):
                raise ValueError(f"the tables of {path} in the checkpoint are not whole")
            yield from _messages_of(fd, path, user, (next_seq, number_bytes), extents)
    finally:
        os.close(fd)


def _messages_of(
    fd: int, path: Path, user: int, end: tuple[int, int], extents: list[int]
) -> Iterator[tuple[int, int, int, bytes]]:
    """Those of one user. ``end``: number of the next message, and bytes."""
    next_seq, left_bytes = end
    seq, part = 1, b""
    for extent in extents:
        piece = os.pread(fd, min(EXTENT_BYTES, left_bytes), extent * EXTENT_BYTES)
        if len(piece) < min(EXTENT_BYTES, left_bytes):
            raise ValueError(f"{path} is shorter than what was written to it")
        left_bytes -= len(piece)
        data = part + piece
        count = within = 0
        try:
            while size := packet_bytes(data, within):
                within += size
                count += 1
        except ProtocolError as error:
            raise ValueError(f"{path} has bytes in the stream of user number {user} that are no message") from error
        part = data[within:]
        if count:
            yield user, seq, count, data[:within]
        seq += count
    if part or seq != next_seq:
        raise ValueError(f"{path} does not have the {next_seq - 1} messages of user number {user}")


def tables_without_users(engine: MarketEngine) -> dict[str, NDArray[Any]]:
    """The tables of a market in which no user was ever defined, as ``OuchStreams.restore`` takes them."""
    instruments, directory = engine.instruments(), engine.directory
    stocks = np.zeros(len(instruments) + 1, STOCK)
    stocks["symbol"][1:] = instruments["symbol"]
    stocks["phase"][1:] = instruments["phase"]
    stocks["stock"][1:] = [int.from_bytes(symbol.encode("ascii").ljust(8), "big") for symbol in directory.symbols]
    return {
        "layout": layout_row(TABLES_VERSION, TABLES_LAYOUT),
        "users": np.zeros(1, USER),
        "stocks": _stocks(stocks, engine),
        "participants": np.array([pack(name) for name in directory.participants], np.int64),
        "places": np.zeros(0, np.int64),
        "open": np.zeros(0, OPEN),
        "rest": np.zeros(0, OPEN_REST),
        "room": np.zeros(3, np.int64),
        "carried": np.zeros(64, np.uint8),
        "now_ns": np.array([engine.now_ns], np.int64),
        **without_delay(engine.now_ns),
    }
