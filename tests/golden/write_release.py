"""Writer of a data directory as an earlier release leaves it, with a JSON file of its content.

Run it with the sources of that release, not with these (README.md has the commands): what moved since is found where
it was then. Three trading days of two users and a third participant without a user: trades, orders good for the day
and till canceled, long order tokens, a replace, a cancel of a part, limits, a kill, a halt that ends by the clock, and
a call. At the end all of it is in force, and there is a checkpoint with the users' streams beside the market.
"""

import importlib
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from engine.names import pack, unpack
from engine.records import COMMAND, EVENT, RULES_VERSION, CommandKind, Limit, Phase, TimeInForce, UserPermission
from sequencer.pump import Pipeline
from sequencer.stamp import FileStamp


def moved(name: str, *modules: str, earlier: str = "") -> Any:
    """A function or class that some releases have in another module, or by an earlier name."""
    for module in modules:
        for each in (name, earlier):
            try:
                return getattr(importlib.import_module(module), each)
            except (ModuleNotFoundError, AttributeError):
                continue
    raise SystemExit(f"this release has no {name} in {', '.join(modules)}")


Capacity = moved("Capacity", "engine.limits", "engine.capacity")
DAY_NS: int = moved("DAY_NS", "engine.limits", "engine.bounds")

CAPACITY = Capacity(orders_max=400, ids_max=1_000, instruments_max=4, participants_max=8)
OPEN_NS = 1_705_311_000 * 1_000_000_000  # 2024-01-15 09:30 UTC
BUY, SELL = 1, -1
XYZ, ABC, CALL = 1, 2, 3
ALPHA, BETA, GAMMA, DELTA = 1, 2, 3, 4
#: User numbers by participant.
USERS = {ALPHA: 1, BETA: 2}
PASSWORDS = {"UA": "secret-a", "UB": "secret-b"}
#: A block of the journal.
ROWS_OF_A_BLOCK = 8

Rows = Any


def row(kind: int, **places: int) -> Rows:
    """One COMMAND row."""
    made = np.zeros(1, COMMAND)
    made["kind"] = kind
    for name, value in places.items():
        made[name] = value
    return made


#: Names of the place for the gateway's context, of a command and of a replace.
CONTEXT, NEW_CONTEXT = ("context", "new_context") if "context" in (COMMAND.names or ()) else ("memo", "new_memo")


def counter(venue: Any, *names: str) -> int:
    """A counter of the venue that some releases call otherwise."""
    return int(venue[next(name for name in names if name in venue.dtype.names)])


def kept_beside(outbox: Any) -> dict[str, Any]:
    """The users' streams as an image has them, under the name that the release gives them."""
    try:
        projections = importlib.import_module("checkpoints.projections").Projections
    except ModuleNotFoundError:
        return {"beside": outbox.image()}
    return {"projections": projections([outbox]).images()}


def context(participant: int, side: int) -> int:
    """Context of the gateway for a command of a participant's user; 0 where it has none."""
    if participant not in USERS:
        return 0
    octets = USERS[participant].to_bytes(2, "little") + (b"B" if side == BUY else b"S") + b"YPNN\0"
    return int.from_bytes(octets, "little", signed=True)


def extended(token: str, new_token: str = "") -> tuple[list[Rows], list[int]]:
    """The EXTEND row before a command with order tokens, where it needs one, and the client order ids."""
    order_id, words, is_short = (
        moved(name, "gateway.ouch.context", "gateway.context", "gateway.memo")
        for name in ("order_id", "token_words", "is_short")
    )
    tokens = [each.encode().ljust(14) for each in (token, new_token) if each]
    values = dict[str, int]()
    for place, each in zip(("token", "new_token"), tokens, strict=False):
        if not is_short(each):
            values[f"{place}_head"], values[f"{place}_tail"] = words(each)
    before = [row(CommandKind.EXTEND, **values)] if values else []
    return before, [order_id(each) for each in tokens]


def enter(
    participant: int, token: str, side: int, qty: int, price_e4: int, instrument: int = XYZ, *, gtc: bool = False
) -> list[Rows]:
    """An order as the gateway writes it."""
    before, (client_order_id,) = extended(token)
    places = {
        "client_order_id": client_order_id,
        CONTEXT: context(participant, side),
        "price_e4": price_e4,
        "qty": qty,
        "participant": participant,
        "instrument": instrument,
        "side": side,
        "time_in_force": TimeInForce.GTC if gtc else TimeInForce.DAY,
        "self_trade": 1,
        "instructions": 0 if price_e4 else 1,
    }
    return [*before, row(CommandKind.ENTER, **places)]


def replace(participant: int, token: str, new_token: str, qty: int, price_e4: int) -> list[Rows]:
    """A replace as the gateway writes it."""
    before, (client_order_id, new_id) = extended(token, new_token)
    places = {"client_order_id": client_order_id, "new_client_order_id": new_id, "qty": qty, "price_e4": price_e4}
    return [
        *before,
        row(CommandKind.REPLACE, **places, participant=participant, **{NEW_CONTEXT: context(participant, BUY)}),
    ]


def cancel(participant: int, token: str, qty: int = 0) -> list[Rows]:
    """A cancel, of the whole order or down to a quantity."""
    before, (client_order_id,) = extended(token)
    places = {"client_order_id": client_order_id, "qty": qty, "participant": participant}
    return [*before, row(CommandKind.CANCEL, **places, **{CONTEXT: context(participant, BUY)})]


def clock(day: int, after_s: float = 0) -> list[Rows]:
    """A clock value, seconds after 09:30 of a trading day."""
    return [row(CommandKind.CLOCK, time_ns=OPEN_NS + day * DAY_NS + int(after_s * 1e9))]


def credential(user: str) -> Rows:
    """The row of a password."""
    hashed = moved("hash_password", "gateway.passwords")(PASSWORDS[user], b"salt of " + user.encode() * 4, 10)
    salt = b"salt of " + user.encode() * 4
    values = [int.from_bytes((salt + hashed)[at : at + 8], "big", signed=True) for at in range(0, 40, 8)]
    places = dict(zip(("salt_0", "salt_1", "hash_0", "hash_1", "hash_2"), values, strict=True))
    return row(CommandKind.CREDENTIAL, name=pack(user), cost=10, **places)


def definitions() -> list[Rows]:
    """Instruments, participants, users and limits."""
    rows = []
    for symbol, lot, adv in (("XYZ", 1, 0), ("ABC", 10, 50_000), ("CALL", 1, 0)):
        places = {"tick_e4": 100, "lot": lot, "reference_e4": 100_000, "adv_qty": adv}
        rows.append(row(CommandKind.INSTRUMENT, name=pack(symbol), **places))
    for name, group in (("ALPHA", 0), ("BETA", pack("HOUSE")), ("GAMMA", pack("HOUSE")), ("DELTA", 0)):
        rows.append(row(CommandKind.PARTICIPANT, name=pack(name), group=group, permissions=3))
    enabled = int(UserPermission.ENABLED)
    for user, owner, firm, allowed in (
        ("UA", "ALPHA", "ALPH", 0),
        ("UB", "BETA", 0, UserPermission.CANCEL_ON_DISCONNECT),
    ):
        places = {"participant_name": pack(owner), "firm": pack(firm) if firm else 0, "permissions": enabled | allowed}
        rows += [row(CommandKind.USER, name=pack(user), **places), credential(user)]
    gamma = {"name": pack("GAMMA"), "credit_e4": 10**10, "max_position_qty": 5_000}
    further = {"further_limits": 3} if RULES_VERSION >= 4 else {}
    named = Limit.ORDER_RATE | Limit.CREDIT | Limit.MARGIN | Limit.MAX_POSITION
    values = {"name": 100, "symbol": 10**9, "token_head": 2_000}
    if further:
        values |= {"new_token_head": 50, "new_token_tail": 500}
    rows += [row(CommandKind.EXTEND, **values), row(CommandKind.LIMITS, **gamma, limits=int(named), **further)]
    beta = {"name": pack("BETA"), "symbol": pack("ABC"), "max_order_qty": 400}
    return [*rows, row(CommandKind.LIMITS, **beta, limits=int(Limit.MAX_ORDER_QTY))]


def phase(symbol: str, value: int) -> Rows:
    """A change of phase."""
    return row(CommandKind.PHASE, name=pack(symbol), phase=int(value))


def days() -> list[list[Rows]]:
    """The rows of each trading day."""
    first = [*clock(0), *definitions(), phase("XYZ", Phase.CONTINUOUS), phase("ABC", Phase.CONTINUOUS)]
    for n in range(12):
        first += enter(ALPHA, f"a{n}", BUY, 100 + n, 99_000 + 100 * (n % 4), gtc=n % 3 == 0)
        first += enter(BETA, f"ORDER-2024-{n:03}", SELL, 50 + n, 99_200 + 100 * (n % 5), gtc=n % 2 == 0)
    first += clock(0, 1.5)
    first += enter(ALPHA, "aggressor", BUY, 150, 99_400)
    first += replace(ALPHA, "a3", "a3-second-token", 160, 99_100)
    first += cancel(BETA, "ORDER-2024-008", 20)
    first += [*enter(GAMMA, "g1", SELL, 40, 99_500, ABC, gtc=True), *enter(ALPHA, "b1", BUY, 40, 99_500, ABC)]
    first += [*enter(GAMMA, "g2", SELL, 300_000, 5_000_000, XYZ), phase("XYZ", Phase.CLOSED)]  # refused: no room for it
    second = [*clock(1), phase("XYZ", Phase.CONTINUOUS)]
    for n in range(8):
        second += enter(ALPHA, f"a{n}", BUY, 30, 96_000 + 100 * n)  # ids of the day before are free again
        second += enter(GAMMA, f"g{n}", SELL, 30, 99_900 + 100 * n, gtc=True)
    second += [*enter(BETA, "SELL-LONG-0001", SELL, 60, 98_000), *cancel(ALPHA, "a3-second-token")]
    second += [*enter(ALPHA, "far", BUY, 5, 1_000, gtc=True), *enter(BETA, "far", SELL, 5, 90_000_000, gtc=True)]
    second += [*enter(DELTA, "d1", BUY, 5, 90_000), row(CommandKind.KILL, name=pack("DELTA"))]
    third = [*clock(2), phase("CALL", Phase.OPENING_AUCTION)]  # XYZ was not closed: day orders of day two
    for n in range(4):
        third += enter(ALPHA, f"c{n}", BUY, 20 + n, 100_200 - 100 * n, CALL)
        third += enter(BETA, f"CALL-ORDER-{n:03}", SELL, 15 + n, 99_900 + 100 * n, CALL)
    third += [*enter(ALPHA, "market", BUY, 7, 0, CALL), *enter(BETA, "ORDER-2024-777", SELL, 25, 97_000)]
    third += [*enter(ALPHA, "a-last", BUY, 12, 96_500), *clock(2, 3.25), *enter(GAMMA, "g-last", BUY, 12, 96_600)]
    third += [row(CommandKind.HALT, name=pack("ABC"), duration_ns=3_600 * 10**9)]
    return [first, second, third]


def shown(rows: Any) -> list[dict[str, int]]:
    """Rows as objects."""
    names = [name for name in rows.dtype.names if not name.startswith("reserved")]
    return [{name: int(each[name]) for name in names} for each in rows]


def main(directory: Path) -> None:
    """Write the directory and, beside it, NAME.json."""
    create, image, stateful = (
        moved(name, "directory.recover", "replay.recover") for name in ("create", "image", "stateful")
    )
    outbox_class = moved("OuchOutbox", "gateway.ouch.outbox", "gateway.outbox", earlier="Outbox")
    store = moved("CheckpointStore", "checkpoints")
    journal, engine = create(directory, CAPACITY)
    # Streams name their journal since RULES_VERSION 5.
    of_journal = (journal.journal_id,) if RULES_VERSION >= 5 else ()
    outbox = outbox_class(directory, CAPACITY, *of_journal)
    streams: dict[str, dict[int, list[Any]]] = {}
    kinds: dict[int, int] = {}

    def forward(segment: Any) -> None:
        ours = streams.setdefault(outbox.streams.session, {}).setdefault(segment.user, [0, b""])
        ours[0] += segment.messages
        ours[1] += segment.data

    def count(_first_seq: int, _commands: Any, events: Any) -> None:
        for kind in events["kind"].tolist():
            kinds[kind] = kinds.get(kind, 0) + 1

    # The callback that gets each stretch of a stream.
    setattr(outbox, "on_segment" if hasattr(outbox, "on_segment") else "forward", forward)
    with journal:
        pipeline = Pipeline(FileStamp(), journal, engine, publishers=[outbox.observe, count])
        for rows in days():
            for start in range(0, len(rows), ROWS_OF_A_BLOCK):
                octets = b"".join(each.tobytes() for each in rows[start : start + ROWS_OF_A_BLOCK])
                pipeline.take(np.frombuffer(octets, COMMAND))
                pipeline.all()
        engine.check()
        outbox.spool.flush()
        taken = image(stateful(engine), CAPACITY, *of_journal)
        store(directory).write(type(taken)(**vars(taken) | kept_beside(outbox)))
        kept = sorted(each.stem for each in (directory / "streams").iterdir())
    for passing in (directory / "lock", directory / "journal" / "lock.mdb"):
        passing.unlink(missing_ok=True)
    venue = engine._state.venue[0]
    content = {
        "rules_version": RULES_VERSION,
        "last_seq": engine.seq,
        "event_digest": engine.event_digest.hex(),
        "events": sum(kinds.values()),
        "now_ns": engine.now_ns,
        "next_due_ns": engine.next_due_ns,
        "symbols": list(engine.directory.symbols),
        "orders_accepted": counter(venue, "last_order_number", "orders_accepted"),
        "trades": counter(venue, "last_trade_number", "trades"),
        "ids_used": int(venue["ids_used"]),
        "open_orders": shown(engine.open_orders()),
        "positions": shown(engine.positions()),
        "limits": shown(engine.limits()),
        "instruments": shown(engine.instruments()),
        "participants": [{**each, "name": unpack(each["name"])} for each in shown(engine.participants())],
        "passwords": PASSWORDS,
        "sessions_kept": kept,
        "streams": {
            session: {
                str(user): {"messages": count, "bytes": len(data), "crc32": zlib.crc32(data)}
                for user, (count, data) in sorted(users.items())
            }
            for session, users in streams.items()
        },
    }
    directory.with_name(f"{directory.name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{directory}: {engine.seq} commands, event rows of {EVENT.itemsize} bytes by kind {kinds}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
