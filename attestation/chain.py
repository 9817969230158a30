"""Chain of statements: each names the one of the slice before by its hash, whatever was signed first.

A statement is a function of the journal but for ``previous``, the name that it gives to the one before. So the one
before needs no signature to be named. A slice may be signed again, after its attestation was lost, with another
``previous``: earlier releases left that empty where the slice before had no attestation, and a slice may be archived
at that time. Therefore a statement is known under each name that an order of signing can have given it; all of them are
hashes of its whole content.
"""

import json
from hashlib import sha256
from typing import Any

Statement = dict[str, Any]


def octets(statement: Statement) -> bytes:
    """The bytes of a statement that are hashed and signed."""
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()


def hash_of(statement: Statement) -> str:
    """SHA-256 of a statement, 64 hexadecimal digits."""
    return sha256(octets(statement)).hexdigest()


class Chain:
    """Statements of slices in order, signed or not, and the names by which the next may follow the last.

    ``last``: the last one; None: none yet. ``whole``: its name where each before it names the one before; that of
    the last where earlier ones are not known.
    """

    def __init__(self) -> None:
        self.last: Statement | None = None
        self.whole = ""
        self._names: set[str] = set()
        self._before: tuple[str, ...] = ()

    def take(self, statement: Statement) -> None:
        """Take the statement of the next slice; one behind a slice that is not known begins anew."""
        if self.last is None or statement["slice"] != self.last["slice"] + 1:
            self._before, self.whole = (), statement["previous"]
        self._names = {_named(statement, each) for each in {statement["previous"], "", *self._before}}
        self.last, self.whole = statement, _named(statement, self.whole)
        self._before = hash_of(statement), _named(statement, ""), self.whole

    def is_named_by(self, statement: Statement) -> bool:
        """True if a statement follows the last one, or names none before it."""
        return not statement["previous"] or statement["previous"] in self._names


def _named(statement: Statement, previous: str) -> str:
    return hash_of(statement | {"previous": previous})
