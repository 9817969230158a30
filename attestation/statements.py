"""Statements about the slices of a journal, and their signatures.

A statement is JSON in one form (keys in order, no spaces), so that its bytes can be signed. It names the statement of
the slice before by its hash: the last one vouches for all.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from attestation import files
from attestation.signatures import sign, signs

FORMAT: Final = "lockstep-attestation"
VERSION: Final = 1
#: Before the bytes that are signed, so that a signature is for nothing else.
_PURPOSE: Final = b"lockstep attestation 1\n"
#: Keys of a statement.
KEYS: Final = (
    "blocks_sha256", "commands_root", "days", "days_root", "event_digest", "first_seq", "journal_id", "last_seq",
    "participants", "previous", "rules_version", "slice", "symbols",
)  # fmt: skip

Statement = dict[str, Any]


def octets(statement: Statement) -> bytes:
    """The bytes of a statement that are hashed and signed."""
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()


def hash_of(statement: Statement) -> str:
    """SHA-256 of a statement, 64 hexadecimal digits."""
    return sha256(octets(statement)).hexdigest()


def signed(statements: list[Statement], key: Any, public: bytes) -> dict[str, Any]:
    """An attestation: statements in order, each signed by a private key."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "key": public.hex(),
        "statements": [
            {"statement": each, "signature": sign(key, _PURPOSE + octets(each)).hex()} for each in statements
        ],
    }


def read(path: Path) -> dict[str, Any]:
    """Read an attestation. Raises AttestationError for a file that is none."""
    return files.read(path, FORMAT, VERSION, "an", "attestation")


def faults(attestation: dict[str, Any], public: bytes) -> list[str]:
    """Faults of an attestation as the bearer of ``public`` would have signed it, as sentences; none where it is
    right."""
    if set(attestation) != {"format", "version", "key", "statements"}:
        return ["it has other keys than an attestation has"]
    found = [] if attestation["key"] == public.hex() else ["it names another key"]
    before: Statement | None = None
    entries = attestation.get("statements")
    if not isinstance(entries, list) or not entries:
        return ["it has no statement"]
    for at, entry in enumerate(entries, 1):
        if why := entry_fault(entry, public):
            found.append(f"statement {at} {why}")
            before = None
            continue
        statement = entry["statement"]
        if before is not None and statement["previous"] != hash_of(before):
            found.append(f"statement {at} follows another one than statement {at - 1}")
        if before is not None and statement["slice"] != before["slice"] + 1:
            found.append(f"statement {at} is not of the slice after that of statement {at - 1}")
        before = statement
    return found


def entry_fault(entry: Any, public: bytes) -> str:
    """Fault of a statement with its signature, as the end of a sentence; "" where it is right."""
    if not isinstance(entry, dict) or set(entry) != {"statement", "signature"}:
        return "is not a statement with a signature"
    statement = entry["statement"]
    if not isinstance(statement, dict) or set(statement) != set(KEYS):
        return "has other keys than a statement has"
    try:
        signature = bytes.fromhex(entry["signature"])
    except (TypeError, ValueError):
        return "has no signature"
    if len(entry["signature"]) != 2 * len(signature) or entry["signature"] != signature.hex():
        return "has a signature in another form"
    if not signs(public, signature, _PURPOSE + octets(statement)):
        return "is not signed by this key"
    return ""
