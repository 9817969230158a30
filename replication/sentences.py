"""Errors of the machine in words, for messages about an arbiter."""

import errno
import os
import ssl


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
