"""Checks of the attestations beside the slices of a data directory, each as a file: no command is read or replayed.

A file is right that has the form, is signed by the key which it names, is about the slice beside which it lies, and
follows that of the slice before. Whether commands and events are those that were signed is for `lockstep attest
verify`.
"""

from pathlib import Path
from typing import NamedTuple

from attestation import signatures
from attestation.chain import Chain, Statement
from attestation.errors import AttestationError
from attestation.slices import chain_of_blocks, misfit, read_signed
from journal import JournalError
from journal.history import History
from journal.slices import Place, places


class Beside(NamedTuple):
    """The attestations beside the closed slices of a data directory.

    closed: number of closed slices. signed: slices with a file. keys: keys that signed, in hexadecimal digits. faults:
    sentences. gaps: closed slices without a file that a later statement, which names the one before it, vouches for or
    would if it was whole: between signed ones, and before the first where that names one. begin_anew: slices whose
    statement names none before it, though there is one.
    """

    closed: int
    signed: list[int]
    keys: set[str]
    faults: list[str]
    gaps: list[int]
    begin_anew: list[int]


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
        return Beside(len(closed), [], set(), [], [], [])
    signatures.check_library()
    keys: set[str] = set()
    faults: list[str] = []
    gaps: list[int] = []
    begin_anew: list[int] = []
    chain, without = Chain(), list[int]()
    with History.open(directory) as history:
        for place in closed:
            if place.number not in signed:
                without.append(place.number)
                continue
            try:
                statement, key = read_signed(place.attestation)
                why = misfit(statement, history, place) or _out_of_order(statement, chain)
            except (AttestationError, JournalError) as error:
                faults.append(str(error))
                continue
            keys.add(key)
            if why:
                faults.append(f"{place.attestation} {why}")
            if without and (chain.last is not None or statement["previous"]):
                gaps += without
            without = []
            if place.number > 1 and not statement["previous"]:
                begin_anew.append(place.number)
            chain.take(statement)
    return Beside(len(closed), signed, keys, faults, gaps, begin_anew)


def _out_of_order(statement: Statement, chain: Chain) -> str:
    """Fault in what a statement follows, as the end of a sentence; "" where that is right or cannot be told."""
    before, last = statement["slice"] - 1, chain.last
    if before == 0:
        return "follows another one, and it is of the first slice" if statement["previous"] else ""
    if last is None or last["slice"] != before or chain.is_named_by(statement):
        return ""
    return f"follows another one than that of slice {before}"
