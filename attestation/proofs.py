"""Proofs that a command, or all of a participant's day, is what an attestation vouches for; checked without a journal.

A proof has the signed statement of its slice, the rows, and the path from their leaf to the statement's root. Rows are
in hexadecimal digits. A day that goes over several slices has a leaf in each: its proof has the statements from the
first of them to the last, and a part for each slice in which the participant has rows.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from attestation import files, merkle, statements
from attestation.leaves import ROW_BYTES, command_leaf, day_leaf, day_row

FORMAT: Final = "lockstep-proof"
VERSION: Final = 1
_COMMAND_KEYS: Final = {"format", "version", "kind", "entry", "key", "index", "path", "seq", "row", "events"}
_COMMAND_KEYS_SHORT: Final = (_COMMAND_KEYS - {"events"}) | {"events_sha256"}
_DAY_KEYS: Final = {
    "format", "version", "kind", "entry", "key", "index", "path", "day", "participant", "rows",
}  # fmt: skip
_DAYS_KEYS: Final = {"format", "version", "kind", "key", "day", "participant", "statements", "parts"}
#: Days from 1970 on that have a date, up to the year 9999.
_DAYS_MAX: Final = 2_932_897
#: Keys of a part that are those of the proof of a day of one slice.
_PART_KEYS: Final = ("index", "path", "rows")

Proof = dict[str, Any]


def _begun(kind: str, entry: dict[str, Any], key: str, leaves: bytes | bytearray, index: int) -> Proof:
    hashes = [each.hex() for each in merkle.path(leaves, index)]
    begun: Proof = {"format": FORMAT, "version": VERSION, "kind": kind, "entry": entry, "key": key}
    return begun | {"index": index, "path": hashes}


def of_command(
    entry: dict[str, Any],
    key: str,
    leaves: bytes | bytearray,
    seq: int,
    row: bytes,
    events: bytes,
    *,
    with_events: bool,
) -> Proof:
    """Proof of command ``seq``. ``events``: rows of all its events; without ``with_events`` their hash alone."""
    proof = _begun("command", entry, key, leaves, seq - entry["statement"]["first_seq"])
    proof |= {"seq": seq, "row": row.hex()}
    if with_events:
        return proof | {"events": [events[at : at + ROW_BYTES].hex() for at in range(0, len(events), ROW_BYTES)]}
    return proof | {"events_sha256": sha256(events).hexdigest()}


def of_day(
    entry: dict[str, Any],
    key: str,
    leaves: bytes,
    index: int,
    day: int,
    participant: str,
    rows: list[tuple[int, str, str]],
) -> Proof:
    """Proof of a participant's day in a slice. ``rows``: number of the command, "command" or "event", and the row."""
    found = _begun("day", entry, key, leaves, index)
    return found | {"day": day, "participant": participant, "rows": [list(each) for each in rows]}


def of_slices(entries: list[dict[str, Any]], days: list[Proof]) -> Proof:
    """Proof of a participant's day that goes over several slices, out of the proofs for each (``of_day``), in order.

    entries: signed statements, from the first of these slices to the last.
    """
    parts = [{"slice": _slice(day["entry"]), **{key: day[key] for key in _PART_KEYS}} for day in days]
    named = {key: days[0][key] for key in ("key", "day", "participant")}
    return {"format": FORMAT, "version": VERSION, "kind": "days", **named, "statements": entries, "parts": parts}


def by_slice(proof: Proof) -> list[Proof]:
    """The proofs of which a proof consists: one for each slice."""
    if proof["kind"] != "days":
        return [proof]
    entries = {_slice(entry): entry for entry in proof["statements"]}
    begun = {"format": FORMAT, "version": VERSION, "kind": "day"}
    begun |= {key: proof[key] for key in ("key", "day", "participant")}
    return [
        begun | {"entry": entries[part["slice"]]} | {key: part[key] for key in _PART_KEYS} for part in proof["parts"]
    ]


def _slice(entry: dict[str, Any]) -> int:
    number: int = entry["statement"]["slice"]
    return number


def rows_of(kept: bytes | bytearray) -> list[tuple[int, str, str]]:
    """Rows of a day, as ``leaves.day_row`` has put them together."""
    size = 9 + ROW_BYTES
    found = []
    for at in range(0, len(kept), size):
        each = bytes(kept[at : at + size])
        kind = "event" if each[:1] == b"E" else "command"
        found.append((int.from_bytes(each[1:9], "big"), kind, each[9:].hex()))
    return found


def read(path: Path) -> Proof:
    """Read a proof. Raises AttestationError for a file that is none."""
    return files.read(path, FORMAT, VERSION, "a", "proof")


def fault(proof: Proof, public: bytes) -> str:
    """Fault of a proof for the bearer of ``public``, as a sentence; "" where it proves what it says."""
    keys = set(proof)
    if keys == _DAYS_KEYS:
        return _fault_of_slices(proof, public)
    if keys not in (_COMMAND_KEYS, _COMMAND_KEYS_SHORT, _DAY_KEYS):
        return "it has other keys than a proof has"
    if why := statements.entry_fault(proof["entry"], public):
        return f"its statement {why}"
    if proof["key"] != public.hex():
        return "it names another key"
    statement = proof["entry"]["statement"]
    try:
        hashes = [_hex(each, merkle.HASH_BYTES) for each in proof["path"]]
        if "seq" in keys:
            size, wanted = statement["last_seq"] - statement["first_seq"] + 1, statement["commands_root"]
            if proof["kind"] != "command" or proof["index"] != proof["seq"] - statement["first_seq"]:
                return "its number is not that of its leaf"
            leaf = _command_leaf(proof)
        else:
            size, wanted = statement["days"], statement["days_root"]
            if proof["kind"] != "day":
                return "it is of no known kind"
            leaf = _day_leaf(proof)
        reached = merkle.led_to(leaf, _whole(proof["index"]), size, hashes)
    except (TypeError, ValueError, OverflowError):
        return "its rows or hashes are not in the form of a proof"
    if reached is None or reached.hex() != wanted:
        return "what it shows does not lead to the root that was signed"
    return ""


def _fault_of_slices(proof: Proof, public: bytes) -> str:
    if proof["kind"] != "days":
        return "it is of no known kind"
    chain = {"format": statements.FORMAT, "version": statements.VERSION}
    chain |= {key: proof[key] for key in ("key", "statements")}
    if found := statements.faults(chain, public):
        return found[0]
    try:
        if any(set(part) != {"slice", *_PART_KEYS} for part in proof["parts"]):
            return "its parts have other keys than those of a proof have"
        days, slices = by_slice(proof), [_whole(part["slice"]) for part in proof["parts"]]
    except (KeyError, TypeError, ValueError):
        return "its parts are not in the form of a proof"
    ends = [_slice(proof["statements"][at]) for at in (0, -1)]
    if len(slices) < 2 or sorted(set(slices)) != slices or [slices[0], slices[-1]] != ends:
        return "its parts are not those of its statements, from the first to the last"
    return next((why for day in days if (why := fault(day, public))), "")


def _command_leaf(proof: Proof) -> bytes:
    if "events" in proof:
        caused = sha256(b"".join(_hex(each, ROW_BYTES) for each in proof["events"])).digest()
    else:
        caused = _hex(proof["events_sha256"], merkle.HASH_BYTES)
    return command_leaf(_whole(proof["seq"]), _hex(proof["row"], ROW_BYTES), caused)


def _day_leaf(proof: Proof) -> bytes:
    rows = sha256()
    counts = {"command": 0, "event": 0}
    for seq, kind, row in proof["rows"]:
        counts[kind] = counts.get(kind, 0) + 1
        rows.update(day_row(_whole(seq), _hex(row, ROW_BYTES), is_event=kind == "event"))
    if set(counts) != {"command", "event"}:
        raise ValueError("rows are commands or events")
    if not isinstance(proof["participant"], str) or not 0 <= _whole(proof["day"]) < _DAYS_MAX:
        raise ValueError("a day is of a participant, and has a date")
    return day_leaf(proof["day"], proof["participant"], counts["command"], counts["event"], rows.digest())


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("a number of a proof is whole")
    return value


def _hex(text: Any, size: int) -> bytes:
    """Bytes of hexadecimal digits, in the one form that a proof has."""
    found = bytes.fromhex(text)
    if len(found) != size or found.hex() != text:
        raise ValueError(f"{text!r} is not {size} bytes in hexadecimal digits")
    return found
