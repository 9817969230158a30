"""Operators who may sign in to the page, with hashes of their passwords, in a file that only the process can read.

A line is NAME and a hash of scrypt, as `lockstep operator` writes it. They are no users of the exchange: those trade,
and their passwords are in the journal.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from directory.small_file import write_whole

#: Characters of a password, bytes of a file, and operators in it.
PASSWORD_CHARACTERS_MIN: Final = 8
PASSWORD_CHARACTERS_MAX: Final = 128
OPERATORS_MAX: Final = 256
_FILE_BYTES_MAX: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,39}")
_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
#: Parameters of scrypt: a hash takes about 50 ms and 16 MB, so take it outside the event loop.
_COST: Final = 14
_COST_MAX: Final = 20
_BLOCK: Final = 8
_FORM: Final = "a line is NAME scrypt:COST:SALT:HASH; write it with `lockstep operator FILE NAME`"


class OperatorFileError(Exception):
    """A file of operators cannot be used; the message is one sentence and repeats nothing secret."""


class OperatorPassword(NamedTuple):
    """Hash of a password. cost: log2 of scrypt's N."""

    cost: int
    salt: bytes
    hashed: bytes

    def __repr__(self) -> str:
        return "<OperatorPassword>"


Operators = Mapping[str, OperatorPassword]


def _hash(password: str, salt: bytes, cost: int) -> bytes:
    given = unicodedata.normalize("NFKC", password).encode("utf-8", "replace")
    room_bytes = 128 * _BLOCK * (1 << cost) + (1 << 20)
    return hashlib.scrypt(given, salt=salt, n=1 << cost, r=_BLOCK, p=1, maxmem=room_bytes, dklen=_HASH_BYTES)


def hashed(password: str) -> OperatorPassword:
    """Hash a new password under a new salt. Raises OperatorFileError for one that is too short or too long."""
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise OperatorFileError(
            f"the password has {len(password)} characters; give {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX}"
        )
    salt = secrets.token_bytes(_SALT_BYTES)
    return OperatorPassword(_COST, salt, _hash(password, salt, _COST))


#: Hash that no password has, for names that are not there: their refusal takes as long.
_NOBODY: Final = OperatorPassword(_COST, bytes(_SALT_BYTES), bytes(_HASH_BYTES))


def verify(operators: Operators, name: str, password: str) -> bool:
    """True if an operator has this password; in constant time, for an unknown name too. Slow by design."""
    stored = operators.get(name, _NOBODY)
    found = _hash(password[: PASSWORD_CHARACTERS_MAX + 1], stored.salt, stored.cost)
    return hmac.compare_digest(found, stored.hashed) and name in operators


def _text(name: str, password: OperatorPassword) -> str:
    salt, hashed_text = (base64.b64encode(part).decode() for part in (password.salt, password.hashed))
    return f"{name} scrypt:{password.cost}:{salt}:{hashed_text}\n"


def _password(text: str) -> OperatorPassword:
    kind, cost, salt, hashed_text = text.split(":")
    made = OperatorPassword(
        int(cost), base64.b64decode(salt, validate=True), base64.b64decode(hashed_text, validate=True)
    )
    if kind != "scrypt" or not 10 <= made.cost <= _COST_MAX:
        raise ValueError
    if (len(made.salt), len(made.hashed)) != (_SALT_BYTES, _HASH_BYTES):
        raise ValueError
    return made


def check_name(name: str) -> str:
    """The name of an operator. Raises OperatorFileError.

    >>> check_name("ada")
    'ada'
    """
    if not _NAME.fullmatch(name):
        raise OperatorFileError(
            f"the name is {name[:40]!r}; give 1 to 40 letters, digits, dots, dashes or @, the first a letter or digit"
        )
    return name


def parse_operators(text: str, name: str) -> dict[str, OperatorPassword]:
    """Operators by name. Blank lines and those that begin with # are left out. name: of the file.

    Raises OperatorFileError.
    """
    found: dict[str, OperatorPassword] = {}
    for at, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            operator, hash_text = line.split()
            password = _password(hash_text)
        except (ValueError, binascii.Error):
            raise OperatorFileError(f"line {at} of {name} is no operator; {_FORM}") from None
        if check_name(operator) in found:
            raise OperatorFileError(f"line {at} of {name} has an operator that is there before; leave one out")
        found[operator] = password
    if len(found) > OPERATORS_MAX:
        raise OperatorFileError(f"{name} has {len(found)} operators; {OPERATORS_MAX} fit")
    return found


def read_operators(path: Path) -> dict[str, OperatorPassword]:
    """Operators of a file, at least one. Raises OperatorFileError for one that others may read, and OSError."""
    found = _read(path)
    if not found:
        raise OperatorFileError(f"{path} has no operator; add one with `lockstep operator {path} NAME`")
    return found


def _read(path: Path) -> dict[str, OperatorPassword]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _FILE_BYTES_MAX:
            raise OperatorFileError(f"{path} is no file of operators; {_FORM}")
        if about.st_mode & 0o077:
            raise OperatorFileError(f"{path} can be read by other users of this machine; run `chmod 600 {path}`")
        return parse_operators(file.read().decode("utf-8", "replace"), str(path))


def set_operator(path: Path, name: str, password: str) -> bool:
    """Write an operator with a new password to a file, new or existing; True if the name is new.

    Raises OperatorFileError, OSError.
    """
    check_name(name)
    found = _read(path) if path.exists() else {}
    is_new = name not in found
    found[name] = hashed(password)
    if len(found) > OPERATORS_MAX:
        raise OperatorFileError(f"{path} has {OPERATORS_MAX} operators; remove one")
    write_whole(path, "".join(_text(*each) for each in sorted(found.items())))
    return is_new


def remove_operator(path: Path, name: str) -> None:
    """Remove an operator from a file. Raises OperatorFileError, OSError."""
    found = _read(path)
    if name not in found:
        raise OperatorFileError(f"{path} has no operator {name[:40]!r}; it has {', '.join(sorted(found)) or 'none'}")
    del found[name]
    write_whole(path, "".join(_text(*each) for each in sorted(found.items())))
