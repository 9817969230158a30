"""Attestations of closed slices: a node signs a statement about each, in a file beside it.

A closed slice has the file ``attestation`` in its folder, the first one in that of the data directory. It holds one
statement, which names that of the slice before by its hash, where that has one. `lockstep attest verify` takes one such
file, or a data directory for all of them.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Any

from attestation import merkle, statements
from attestation.errors import AttestationError
from attestation.leaves import Leaves
from attestation.signatures import check_own, private_key
from attestation.statements import Statement
from engine.market_time import ClockPosition
from engine.names import Directory
from engine.records import RULES_VERSION
from journal.frame import Block
from journal.history import History
from journal.slices import Place, places, write_aside
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

    previous: hash of the statement of the slice before; "": there is none. plays: those commands with their events.
    event_digest: gives it after them, where the journal has it not. Raises AttestationError, JournalError.
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

    The events are those that are kept beside the slice, else those of its replay. Raises AttestationError for a key
    that others may read or that is none, for an open slice, and for an attestation of the slice before that is none;
    JournalError, ReplayError, OSError.
    """
    check_own(key_file)
    key, public = private_key(key_file)
    with History.open(directory) as history:
        place = next((each for each in history.places[:-1] if each.number == number), None)
        if place is None:
            raise AttestationError(f"{directory} has no closed slice {number}; an open one is signed by attest sign")
        first_seq, to_seq = first_seq_of(history, place), history.end_of(place)
        (part,) = history.ranges(first_seq, to_seq)
        made = statement_of(
            history,
            place,
            to_seq,
            _previous(history, number),
            gathered(PastSlice(history, part).blocks()),
            lambda: _no_digest(directory, number),
        )
        content = dumps(statements.signed([made], key, public), indent=1) + "\n"
        write_aside(place.attestation, content.encode())
    return made


def _no_digest(directory: Path, number: int) -> bytes:
    raise AttestationError(f"slice {number} of {directory} has no event digest; run `lockstep journal check`")


def _previous(history: History, number: int) -> str:
    """Hash of the statement of the slice before; "" where no attestation is beside it."""
    before = next((each for each in history.places if each.number == number - 1), None)
    if before is None or not before.attestation.exists():
        return ""
    return statements.hash_of(entry_of(before.attestation, statements.read(before.attestation))["statement"])


def entry_of(path: Path, attestation: dict[str, Any]) -> dict[str, Any]:
    """The one statement of a slice's attestation, with its signature. Raises AttestationError for another file."""
    entries = attestation.get("statements")
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        raise AttestationError(f"{path} has not one statement, as the attestation of a slice has; move it away")
    if not isinstance(entries[0].get("statement"), dict):
        raise AttestationError(f"{path} has no statement; move it away")
    return dict(entries[0])


def joined(directory: Path) -> dict[str, Any]:
    """The attestations beside the slices of a data directory as one. Raises AttestationError where there is none, and
    where they are of several keys."""
    found = [
        (place.attestation, statements.read(place.attestation))
        for place in places(directory)
        if place.attestation.exists()
    ]
    if not found:
        raise AttestationError(f"no slice of {directory} has its attestation beside it; lockstep attest slices signs")
    keys = {str(each.get("key")) for _, each in found}
    if len(keys) > 1:
        raise AttestationError(f"the slices of {directory} are signed by {len(keys)} keys; verify their files by each")
    return found[0][1] | {"statements": [entry_of(path, each) for path, each in found]}
