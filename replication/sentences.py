"""Errors of the machine in words, for messages about an arbiter."""

import errno
import os
import ssl
from typing import Final

#: A wait that ends later than this after its time has waited for this process itself, which was stopped or starved.
STILL_S: Final = 0.25


def in_words(error: OSError) -> str:
    """The system's words for an error, in small letters.

    >>> in_words(ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"))
    'connection refused'
    """
    if isinstance(error, ssl.SSLError):  # its number is one of OpenSSL's own
        return f"TLS failed: {getattr(error, 'verify_message', '') or error.reason or error}"
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return str(error.strerror or error).lower()


def stood_still(over_s: float) -> str:
    """Sentence where a wait ended ``over_s`` after its time, since this process itself stood still; else "".

    >>> stood_still(3.21), stood_still(0.01)
    ('this node itself stood still for 3.2 s', '')
    """
    return f"this node itself stood still for {over_s:.1f} s" if over_s > STILL_S else ""
