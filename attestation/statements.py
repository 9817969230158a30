"""Statements about the slices of a journal, and their signatures.

A statement is JSON in one form (keys in order, no spaces), so that its bytes can be signed. It names the statement of
the slice before by its hash, whether that is signed or not: the last one vouches for all (``attestation.chain``).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from attestation import files
from attestation.chain import Chain, Statement, octets
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
_WHOLE: Final = ("days", "first_seq", "last_seq", "rules_version", "slice")
_NAMES: Final = ("participants", "symbols")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")


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


def faults(
    attestation: dict[str, Any], public: bytes, *, signers: Sequence[bytes] | None = None, may_skip: bool = False
) -> list[str]:
    """Faults of an attestation as the bearer of ``public`` would have signed it, as sentences; none where it is
    right.

    signers: the key of each statement, where they are not all of ``public``. may_skip: whether a statement may name one
    before it that is not here, since somebody has the journal to tell.
    """
    if set(attestation) != {"format", "version", "key", "statements"}:
        return ["it has other keys than an attestation has"]
    found = [] if attestation["key"] == public.hex() else ["it names another key"]
    entries = attestation.get("statements")
    if not isinstance(entries, list) or not entries:
        return ["it has no statement"]
    chain = Chain()
    keys = [public] * len(entries) if signers is None else signers
    for at, (entry, key) in enumerate(zip(entries, keys, strict=True), 1):
        if why := entry_fault(entry, key):
            found.append(f"statement {at} {why}")
            chain = Chain()
            continue
        statement = entry["statement"]
        last = chain.last
        if last is not None:
            skips = statement["slice"] > last["slice"] + 1 and (may_skip or not statement["previous"])
            if not skips and not chain.is_named_by(statement):
                found.append(f"statement {at} follows another one than statement {at - 1}")
            elif not skips and statement["slice"] != last["slice"] + 1:
                found.append(f"statement {at} is not of the slice after that of statement {at - 1}")
            elif statement["journal_id"] != last["journal_id"]:
                found.append(f"statement {at} is about another journal than statement {at - 1}")
        chain.take(statement)
    return found


def entry_fault(entry: Any, public: bytes) -> str:
    """Fault of a statement with its signature, as the end of a sentence; "" where it is right."""
    if not isinstance(entry, dict) or set(entry) != {"statement", "signature"}:
        return "is not a statement with a signature"
    statement = entry["statement"]
    if not isinstance(statement, dict) or set(statement) != set(KEYS):
        return "has other keys than a statement has"
    if not _has_form(statement):
        return "has a value in another form than a statement has"
    try:
        signature = bytes.fromhex(entry["signature"])
    except (TypeError, ValueError):
        return "has no signature"
    if len(entry["signature"]) != 2 * len(signature) or entry["signature"] != signature.hex():
        return "has a signature in another form"
    if not signs(public, signature, _PURPOSE + octets(statement)):
        return "is not signed by this key"
    return ""


def _has_form(statement: Statement) -> bool:
    """True if each value of a statement is of its kind: what is signed may still be wrong."""
    return (
        all(type(statement[key]) is int and statement[key] >= 0 for key in _WHOLE)
        and all(
            isinstance(statement[key], list) and all(isinstance(each, str) for each in statement[key]) for key in _NAMES
        )
        and all(_is(_HASH, statement[key]) for key in ("blocks_sha256", "commands_root", "days_root"))
        and all(_is(_DIGEST, statement[key]) for key in ("event_digest", "journal_id"))
        and (statement["previous"] == "" or _is(_HASH, statement["previous"]))
    )


def _is(form: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None
