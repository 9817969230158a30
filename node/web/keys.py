"""Keys with which users of the exchange sign requests of the Coinbase Exchange dialect. Pure, but for ``read_keys``.

A signature is an HMAC-SHA256 by the key's secret over time, method, path and body, so the secret itself must be there:
it is in a file that only the user of the process can read, with the password for order entry. The journal has neither.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

#: Difference of a signed time from the clock of this machine, in seconds, within which a request is taken.
WINDOW_S: Final = 30
#: Keys in a file, and bytes of it.
KEYS_MAX: Final = 256
_FILE_BYTES_MAX: Final = 1 << 20
_SECRET_BYTES_MIN: Final = 16
_TIME: Final = re.compile(r"[0-9]{1,11}(\.[0-9]{1,9})?")
_FORM: Final = "a line is USER PASSWORD KEY PASSPHRASE SECRET, the secret in base64"


class Key(NamedTuple):
    """A key of a user."""

    user: str
    password: str
    name: str
    passphrase: str
    secret: bytes

    def __repr__(self) -> str:
        return f"<Key {self.name} of {self.user}>"


class KeyFileError(Exception):
    """A file of keys cannot be used; the message is one sentence and repeats nothing secret."""


class NotAuthorized(Exception):
    """A request is not signed as it must be; the message is for the client."""


def parse_keys(text: str, name: str) -> dict[str, Key]:
    """Keys by name. Blank lines and those that begin with # are left out. name: of the file. Raises KeyFileError."""
    found: dict[str, Key] = {}
    logins: dict[str, tuple[str, int]] = {}  # password and line by user: each has one login
    for at, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"line {at} of {name}"
        places = line.split()
        if len(places) != 5:
            raise KeyFileError(f"{where} has {len(places)} words; {_FORM}")
        user, password, key, passphrase, encoded = places
        try:
            secret = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise KeyFileError(f"the secret in {where} is no base64; make one with `openssl rand -base64 48`") from None
        if len(secret) < _SECRET_BYTES_MIN:
            raise KeyFileError(f"the secret in {where} has less than {_SECRET_BYTES_MIN} bytes; make a longer one")
        if key in found:
            raise KeyFileError(f"the key in {where} is there twice; give each line a key of its own")
        known, first = logins.setdefault(user.upper(), (password, at))
        if password != known:
            raise KeyFileError(f"{where} has another password for its user than line {first}; give both the same")
        found[key] = Key(user.upper(), password, key, passphrase, secret)
    if not found or len(found) > KEYS_MAX:
        raise KeyFileError(f"{name} has {len(found)} keys; give 1 to {KEYS_MAX}: {_FORM}")
    return found


def read_keys(path: Path) -> dict[str, Key]:
    """Keys of a file. Raises KeyFileError for one that others may read, and OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _FILE_BYTES_MAX:
            raise KeyFileError(f"{path} is no file of keys; {_FORM}")
        if about.st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by other users of this machine; run `chmod 600 {path}`")
        return parse_keys(file.read().decode("utf-8", "replace"), str(path))


def signature(secret: bytes, timestamp: str, method: str, path: str, body: bytes) -> str:
    """Signature of a request, in base64.

    >>> signature(b"k" * 16, "1705276800", "GET", "/accounts", b"")
    '1/CeYorbA7KGqQORiPtBRijJH7FTGrRRzWAalLi4Ito='
    """
    made = hmac.new(secret, f"{timestamp}{method}{path}".encode() + body, hashlib.sha256)
    return base64.b64encode(made.digest()).decode()


def checked(keys: Mapping[str, Key], said: Mapping[str, str], method: str, path: str, body: bytes, now_s: float) -> Key:
    """The key that signed a request. said: ``key``, ``sign``, ``timestamp`` and ``passphrase``. Raises NotAuthorized.

    now_s: since 1970, by the clock of this machine.
    """
    stamp = said.get("timestamp", "")
    if not _TIME.fullmatch(stamp):
        raise NotAuthorized("CB-ACCESS-TIMESTAMP is missing or no number; give seconds since 1970")
    if abs(float(stamp) - now_s) > WINDOW_S:
        raise NotAuthorized(f"request timestamp expired: it is more than {WINDOW_S} s from the clock here; set yours")
    key = keys.get(said.get("key", ""))
    # For an unknown key as much is computed as for a wrong signature.
    made = signature(key.secret if key else bytes(_SECRET_BYTES_MIN), stamp, method, path, body)
    is_right = hmac.compare_digest(made.encode(), said.get("sign", "").encode("utf-8", "replace"))
    if key is None:
        raise NotAuthorized("Invalid API Key")
    if not is_right:
        raise NotAuthorized("invalid signature")
    if not hmac.compare_digest(key.passphrase.encode(), said.get("passphrase", "").encode("utf-8", "replace")):
        raise NotAuthorized("Invalid Passphrase")
    return key
