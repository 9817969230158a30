"""Time stamps of a third party (RFC 3161): who keeps one can prove that a root was there at its time.

The imprint of a stamp is the root itself, SHA-256 of the last statement, so that other programs for time stamps read it
too. This is the only importer of ``rfc3161_client``, which has requests, stamps and their signatures.
"""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from attestation.errors import AttestationError

_SHA256: Final = "2.16.840.1.101.3.4.2.1"
#: Status of an answer that has a stamp (RFC 3161, section 2.4.2).
_GRANTED: Final = 0
_WHY: Final = re.compile('Verify error: ([^"]+)"')


class Stamp(NamedTuple):
    """A time stamp: the root that was shown, 64 hexadecimal digits; when, UTC; by whom, as the authority's name."""

    root: str
    time: datetime
    authority: str


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError as error:
        raise AttestationError(
            "time stamps need the package rfc3161-client, which is not installed: pip install 'lockstep[attest]'"
        ) from error
    return rfc3161_client


def request(statement: bytes) -> bytes:
    """A request for a stamp, DER, for an authority. ``statement``: the bytes whose hash is the root."""
    library = _library()
    builder = library.TimestampRequestBuilder().data(statement).hash_algorithm(library.HashAlgorithm.SHA256)
    return bytes(builder.cert_request(cert_request=True).build().as_bytes())


def read(path: Path, authority: Path) -> tuple[Stamp | None, str]:
    """The stamp in an authority's answer, or None and what is wrong with it, as the end of a sentence.

    ``authority``: PEM file of the certificates that are trusted. Raises OSError, and AttestationError for a file that
    is no answer or has no certificate.
    """
    library = _library()
    from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificates

    try:
        trusted = load_pem_x509_certificates(authority.read_bytes())
    except ValueError as error:
        raise AttestationError(f"{authority} has no certificate in PEM: {error}") from error
    octets = _in_order(path.read_bytes())
    # What the libraries raise on bytes of others is of many classes, and not written down.
    try:
        answer = library.decode_timestamp_response(octets)
        status = answer.status
    except Exception as error:
        raise AttestationError(f"{path} is no answer of a time stamp authority (RFC 3161, DER): {error}") from error
    if status != _GRANTED:
        said = "; ".join(answer.status_string) or f"status {status}"
        return None, f"has no time stamp: the authority refused ({said})"
    try:
        told = answer.tst_info
        imprint = told.message_imprint
        verifier = library.VerifierBuilder(roots=list(trusted)).build()
        verifier.verify(answer, imprint.message)
        signer = next(iter(answer.signed_data.signer_infos))
        certificates = [*map(load_der_x509_certificate, answer.signed_data.certificates), *trusted]
        names = [
            each.subject.rfc4514_string()
            for each in certificates
            if (each.issuer, each.serial_number) == (signer.issuer, signer.serial_number)
        ]
        time = told.gen_time if told.gen_time.tzinfo else told.gen_time.replace(tzinfo=UTC)
    except Exception as error:
        why = _WHY.search(str(error))  # in the midst of the names of OpenSSL's functions
        return None, f"is not by the authority of {authority}: {why[1] if why else error}"
    if imprint.hash_algorithm.dotted_string != _SHA256:
        return None, "is of no root: its imprint is not one of SHA-256"
    return Stamp(bytes(imprint.message).hex(), time, names[0] if names else "an authority without a name"), ""


#: Tags of DER: a sequence; the field 0 of one.
_SEQUENCE: Final = 0x30
_FIELD_0: Final = 0xA0


def _in_order(answer: bytes) -> bytes:
    """An answer whose set of certificates is in the order of DER; as it is where it has none.

    OpenSSL, and authorities by it, write them as they stand in a file, which the parser refuses. Nothing signs the set.
    """
    # The answer, its token after the status, what is in it after its type, in that the content.
    begin, end = 0, len(answer)
    for place, tag in ((0, _SEQUENCE), (1, _SEQUENCE), (1, _FIELD_0), (0, _SEQUENCE)):
        fields = _fields(answer, begin, end)
        if len(fields) <= place or answer[fields[place][0]] != tag:
            return answer
        _, begin, end = fields[place]
    for at, inner, after in _fields(answer, begin, end):
        if answer[at] == _FIELD_0:
            members = sorted(answer[each:until] for each, _, until in _fields(answer, inner, after))
            ordered = b"".join(members)
            return answer[:inner] + ordered + answer[after:] if len(ordered) == after - inner else answer
    return answer


def _fields(octets: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """Fields of DER between two places: begin, begin of the content, end. What is none ends the list."""
    found = []
    while at + 2 <= end:
        length, inner = octets[at + 1], at + 2
        if length & 0x80:
            inner += length & 0x7F
            length = int.from_bytes(octets[at + 2 : inner], "big")
        if inner + length > end:
            break
        found.append((at, inner, inner + length))
        at = inner + length
    return found
