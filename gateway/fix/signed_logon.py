"""Logons with an Ed25519 signature in RawData in place of a password."""

import base64
import binascii
from typing import Final

from attestation.signatures import signs
from wire.fix_codec import SOH, Message

#: Fields that are signed, in this order, with SOH between their values: MsgType, SenderCompID, TargetCompID, MsgSeqNum
#: and SendingTime. ResetSeqNumFlag is behind them where the logon has it, so nobody adds it to one that was overheard.
_SIGNED: Final = (b"35", b"49", b"56", b"34", b"52")
_RESETS: Final = b"141"
_SIGNATURE_BYTES: Final = 64


def signed_content(logon: Message) -> bytes:
    """The bytes that the signature of a logon is of.

    >>> signed_content(Message(b"8=FIX.4.4|9=70|35=A|34=1|49=UA|52=20260105-09:30:00|56=LOCKSTEP|".replace(b"|", SOH)))
    b'A\\x01UA\\x01LOCKSTEP\\x011\\x0120260105-09:30:00'
    """
    values = [logon.fields.get(tag, b"") for tag in _SIGNED]
    if logon.fields.get(_RESETS) == b"Y":
        values.append(b"Y")
    return SOH.join(values)


def is_signed(logon: Message, public_key: bytes) -> bool:
    """True if RawData (96) is the signature of a logon by a key, in base64. Raises AttestationError without the
    package that checks it."""
    try:
        signature = base64.b64decode(logon.fields.get(b"96", b""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(signature) == _SIGNATURE_BYTES and signs(public_key, signature, signed_content(logon))
