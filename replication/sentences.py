"""Errors of the machine in words, for messages about an arbiter."""

import errno
import os


def in_words(error: OSError) -> str:
    """The system's words for an error, in small letters.

    >>> in_words(ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"))
    'connection refused'
    """
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return str(error.strerror or error).lower()
