"""Checks of the attestations beside the slices of a data directory, each as a file: no command is read or replayed.

A file is right that has the form, is signed by the key which it names, is about the slice beside which it lies, and
follows that of the slice before. Whether commands and events are those that were signed is for `lockstep attest
verify`.
"""

from pathlib import Path
from typing import NamedTuple

from attestation import signatures, statements
from attestation.errors import AttestationError
from attestation.slices import chain_of_blocks, entry_of, first_seq_of
from attestation.statements import Statement
from journal import JournalError
from journal.history import History
from journal.slices import Place, places


class Beside(NamedTuple):
    """The attestations beside the closed slices of a data directory.

    closed: number of closed slices. signed: slices with a file. keys: keys that signed, in hexadecimal digits. faults:
    sentences. gaps: closed slices without a file, where slices before and after have one.
    """

    closed: int
    signed: list[int]
    keys: set[str]
    faults: list[str]
    gaps: list[int]


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


def is_of_blocks(statement: Statement, history: History, place: Place) -> bool:
    """True if a statement that fits a slice is about these blocks, byte for byte. Raises JournalError."""
    chain, _ = chain_of_blocks(history, place, statement["last_seq"])
    return bool(chain.hex() == statement["blocks_sha256"])


def closed_places(directory: Path) -> list[Place]:
    """The closed slices in a data directory, in order; those of an archived slice's own folder too."""
    found = places(directory)
    return [place for place in found if place is not found[-1] or place.is_marked_closed]


def check_beside(directory: Path) -> Beside:
    """Check the attestations beside the closed slices of a data directory.

    Raises AttestationError where there is one and the package to check it is not installed; JournalError.
    """
    closed = closed_places(directory)
    signed = [place.number for place in closed if place.attestation.exists()]
    if not signed:
        return Beside(len(closed), [], set(), [], [])
    signatures.check_library()
    keys: set[str] = set()
    faults: list[str] = []
    gaps = [place.number for place in closed if signed[0] < place.number < signed[-1] and place.number not in signed]
    known: dict[int, Statement] = {}
    with History.open(directory) as history:
        for place in closed:
            if place.number not in signed:
                continue
            try:
                statement, key = read_signed(place.attestation)
                why = misfit(statement, history, place)
            except (AttestationError, JournalError) as error:
                faults.append(str(error))
                continue
            keys.add(key)
            known[place.number] = statement
            why = why or _out_of_order(statement, place, known, [each.number for each in closed], signed)
            if why:
                faults.append(f"{place.attestation} {why}")
    return Beside(len(closed), signed, keys, faults, gaps)


def _out_of_order(
    statement: Statement, place: Place, known: dict[int, Statement], closed: list[int], signed: list[int]
) -> str:
    """Fault in what a statement follows, as the end of a sentence; "" where that is right or cannot be told."""
    before, previous = place.number - 1, statement["previous"]
    if before in known:
        return (
            "" if previous == statements.hash_of(known[before]) else f"follows another one than that of slice {before}"
        )
    if previous and before == 0:
        return "follows another one, and it is of the first slice"
    if previous and before in closed and before not in signed:
        return f"follows that of slice {before}, which is not there any more"
    return ""
