"""Attestations of closed slices: a node signs a statement about each, in a file beside it.

A closed slice has the file ``attestation`` in its folder, the first one in that of the data directory. It holds one
statement, which names that of the slice before by its hash. Where that is not signed, it is made of the journal for
its hash alone, so that the order of signing changes no name. `lockstep attest verify` takes one such file, or a data
directory for all of them.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Any

from attestation import merkle, statements
from attestation.chain import Statement, hash_of
from attestation.errors import AttestationError
from attestation.leaves import Leaves
from attestation.signatures import check_own, private_key
from engine.market_time import ClockPosition
from engine.names import Directory
from engine.records import RULES_VERSION
from journal.frame import Block
from journal.history import History
from journal.slices import ATTESTATION, Place, places, read_note, write_aside
from replay.past import PastSlice, PlayedBlock, gathered


def first_seq_of(history: History, place: Place) -> int:
    """The first command of a slice."""
    return history.journal(place.number).start_seq + 1


def chain_of_blocks(history: History, place: Place, to_seq: int) -> tuple[bytes, Block]:
    """The chain of a slice's blocks under SHA-256, 32 bytes, and the last of them, which ends with ``to_seq``.

    Raises AttestationError, JournalError.
    """
    journal = history.journal(place.number)
    chain, last = b"", None
    for block in journal.blocks(journal.start_seq + 1, to_seq):
        chain = sha256(chain + block.sealed).digest()
        last = block
    if last is None or last.last_seq != to_seq:
        raise AttestationError(f"command {to_seq:,} of {history.path} is not at the end of a block")
    return chain, last


def statement_of(
    history: History,
    place: Place,
    to_seq: int,
    previous: str,
    plays: Iterator[PlayedBlock],
    event_digest: Callable[[], bytes],
) -> Statement:
    """The statement about the commands of a slice up to one that is the last of its block.

    previous: hash of the statement of the slice before; "": there is none, or it is not known. plays: those commands
    with their events. event_digest: gives it after them, where the journal has it not. Raises AttestationError,
    JournalError.
    """
    journal = history.journal(place.number)
    first_seq = journal.start_seq + 1
    chain, last = chain_of_blocks(history, place, to_seq)
    names, leaves = Directory(), Leaves()
    for play, before, names in plays:
        leaves.take(play.first_seq, play.commands, play.events, ClockPosition(before.now_ns, play.extended), names)
    recorded = journal.digest(last.first_seq)
    return {
        "journal_id": history.journal_id.hex(),
        "slice": place.number,
        "first_seq": first_seq,
        "last_seq": to_seq,
        "rules_version": int(journal.meta.get("rules_version", RULES_VERSION)),
        "event_digest": (event_digest() if recorded is None else recorded).hex(),
        "blocks_sha256": chain.hex(),
        "commands_root": merkle.root(leaves.commands).hex(),
        "days": len(leaves.days()),
        "days_root": merkle.root(leaves.day_leaves()).hex(),
        "previous": previous,
        "symbols": list(names.symbols),
        "participants": list(names.participants),
    }


def unsigned(directory: Path) -> list[Place]:
    """Closed slices of a data directory without an attestation, in order."""
    return [place for place in places(directory)[:-1] if not place.attestation.exists()]


def sign_slice(directory: Path, number: int, key_file: Path) -> Statement:
    """Write the attestation of a closed slice beside it, signed by a private key; gives its statement.

    The events are those that are kept beside the slice, else those of its replay. Slices before it that this key has
    not signed are read too, back to one that it has. Raises AttestationError for a key that others may read or that is
    none, for an open slice, and where the next slice names another statement; JournalError, also for a slice before it
    that is damaged; ReplayError, OSError.
    """
    check_own(key_file)
    key, public = private_key(key_file)
    with History.open(directory) as history:
        place = next((each for each in history.places[:-1] if each.number == number), None)
        if place is None:
            raise AttestationError(f"{directory} has no closed slice {number}; an open one is signed by attest sign")
        made = _made(history, place, _previous(history, place, public.hex()))
        _check_named(history, place, made)
        content = dumps(statements.signed([made], key, public), indent=1) + "\n"
        write_aside(place.attestation, content.encode())
    return made


def _made(history: History, place: Place, previous: str) -> Statement:
    """The statement of a closed slice."""
    to_seq = history.end_of(place)
    (part,) = history.ranges(first_seq_of(history, place), to_seq)
    plays = gathered(PastSlice(history, part).blocks())
    return statement_of(history, place, to_seq, previous, plays, lambda: _no_digest(history.path, place.number))


def _check_named(history: History, place: Place, made: Statement) -> None:
    """Raise AttestationError where a slice cannot name the one before, and the next one knows it by another name."""
    after = next((each for each in history.places[:-1] if each.number == place.number + 1), None)
    if made["previous"] or place.number == 1 or after is None:
        return
    known, _ = _known(history, after)
    if known is not None and known["previous"] not in ("", hash_of(made)):
        raise AttestationError(
            f"slice {after.number} names another statement of slice {place.number}, one that followed slice "
            f"{place.number - 1}, which is not here; take the attestation of slice {place.number} from a copy "
            f"(`lockstep repair {history.path} --from COPY`), or bring slice {place.number - 1} back"
        )


def _no_digest(directory: Path, number: int) -> bytes:
    raise AttestationError(f"slice {number} of {directory} has no event digest; run `lockstep journal check`")


def _previous(history: History, place: Place, key: str) -> str:
    """Name of the statement of the slice before, signed or not; "" for the first slice, and where the slice before is
    not in the directory and its attestation is not where it was archived.

    key: the signer's, in hexadecimal digits: what it has signed is not read again.
    """
    by_number = {each.number: each for each in history.places}
    number, name, unsigned_ones = place.number - 1, "", list[Place]()
    while (before := by_number.get(number)) is not None:
        known, by = _known(history, before)
        if known is not None and (by == key or _made(history, before, known["previous"]) == known):
            name = hash_of(known)
            break
        unsigned_ones.append(before)
        number -= 1
    else:
        name = _archived_name(history, number)
    for each in reversed(unsigned_ones):
        name = hash_of(_made(history, each, name))
    return name


def _known(history: History, place: Place) -> tuple[Statement | None, str]:
    """The statement beside a slice with the key that signed it, where both are right; else None."""
    if not place.attestation.exists():
        return None, ""
    try:
        statement, by = read_signed(place.attestation)
    except AttestationError:
        return None, ""
    return (None, "") if misfit(statement, history, place) else (statement, by)


def _archived_name(history: History, number: int) -> str:
    """Name of the statement of a slice by the attestation that went with it to the archive; "" where it is not there.

    Any key will do: the slice itself cannot be asked.
    """
    note = read_note(history.path, number)
    if note is None or not (Path(note.path) / ATTESTATION).is_file():
        return ""
    try:
        statement, _ = read_signed(Path(note.path) / ATTESTATION)
    except AttestationError:
        return ""
    found = statement["journal_id"], statement["slice"], statement["first_seq"], statement["last_seq"]
    is_right = found == (history.journal_id.hex(), number, note.first_seq, note.last_seq)
    return hash_of(statement) if is_right else ""


def read_signed(path: Path) -> tuple[Statement, str]:
    """The statement of a slice's attestation, and the key that signed it, in hexadecimal digits.

    Raises AttestationError for another file, and for one that its own key did not sign.
    """
    attestation = statements.read(path)
    statement: Statement = entry_of(path, attestation)["statement"]
    key = str(attestation.get("key"))
    try:
        public = bytes.fromhex(key)
    except ValueError as error:
        raise AttestationError(f"{path} names no key") from error
    if faults := statements.faults(attestation, public):
        raise AttestationError(f"{path}: {faults[0]}")
    return statement, key


def misfit(statement: Statement, history: History, place: Place) -> str:
    """Subject of a statement that is not about a slice, as the end of a sentence; "" where it is about that slice.

    Raises JournalError where the bounds of the slice cannot be read.
    """
    if statement["journal_id"] != history.journal_id.hex():
        return "is about another journal"
    if statement["slice"] != place.number:
        return f"is about slice {statement['slice']}"
    bounds = first_seq_of(history, place), history.end_of(place)
    if (statement["first_seq"], statement["last_seq"]) != bounds:
        return (
            f"is about commands {statement['first_seq']} to {statement['last_seq']}, and the slice has "
            f"{bounds[0]} to {bounds[1]}"
        )
    return ""


def entry_of(path: Path, attestation: dict[str, Any]) -> dict[str, Any]:
    """The one statement of a slice's attestation, with its signature. Raises AttestationError for another file."""
    entries = attestation.get("statements")
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        raise AttestationError(f"{path} has not one statement, as the attestation of a slice has; move it away")
    if not isinstance(entries[0].get("statement"), dict):
        raise AttestationError(f"{path} has no statement; move it away")
    return dict(entries[0])


def joined(directory: Path) -> tuple[dict[str, Any], list[str]]:
    """The attestations beside the slices of a data directory as one, and the key that each names, in the same order.

    Raises AttestationError where there is none.
    """
    found = [
        (place.attestation, statements.read(place.attestation))
        for place in places(directory)
        if place.attestation.exists()
    ]
    if not found:
        raise AttestationError(f"no slice of {directory} has its attestation beside it; lockstep attest slices signs")
    whole = found[-1][1] | {"statements": [entry_of(path, each) for path, each in found]}
    return whole, [str(each.get("key")) for _, each in found]
