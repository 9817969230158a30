"""Terms of the users of a gateway of FIX, in a file of the operator: throttles, hours of sessions, keys of signatures.

The file is TOML. ``[default]`` is for every user; ``[user.NAME]`` says what is otherwise for one::

    [default]
    messages_per_second = 500      # of the application; "off": as many as come
    burst = 1000                   # of them at once; as many as in a second where it is not there
    when_over = "reject"           # or "delay"
    hours = "07:30-18:00"          # UTC, by the clock of the market; "22:00": all day, from then on

    [user.UA]
    public_key = "MCowBQYDK2VwAyEA..."   # Ed25519, base64: logons are signed

It is read again, when it has changed, before a logon. What cannot be read changes nothing.
"""

import base64
import binascii
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from attestation.errors import AttestationError
from attestation.signatures import signs
from gateway.fix.hours import Hours

#: Messages a second of a user at most that can be asked for, and bytes of the file.
RATE_MAX: Final = 1_000_000
_BYTES_MAX: Final = 8 << 20
_KEY_BYTES: Final = 32
#: Beginning of a key in a SubjectPublicKeyInfo, the form of PEM files.
_KEY_HEAD: Final = bytes.fromhex("302a300506032b6570032100")
_USER: Final = re.compile(r"[A-Za-z0-9.-]{1,6}")
_OFF: Final = "off"


class AccountsError(Exception):
    """An accounts file that cannot be read; a sentence that names the file, the place, and what is taken there."""


class Account(NamedTuple):
    """Terms of a user. rate: messages of the application a second, and ``burst`` of them at once; 0: no throttle."""

    rate: int = 0
    burst: int = 0
    when_over: Literal["reject", "delay"] = "reject"
    hours: Hours | None = None
    public_key: bytes = b""


class Accounts:
    """Terms of users, by name. ``path``: None for a gateway without a file, where all have those of ``Account()``."""

    def __init__(self, path: Path | None = None) -> None:
        """Read the file. Raises AccountsError."""
        self.path = path
        #: Called with a sentence where the file has changed and cannot be read; the terms of before go on.
        self.on_fault: Callable[[str], None] = lambda _why: None
        self._stamp: tuple[int, int, int] | None = None
        self._users: dict[str, Account] = {}
        self._default = Account()
        #: SendingTime of the newest signed logon of a user, by name, that the journal has, in ns since 1970; 0: none.
        self.journaled_ns: Callable[[str], int] = lambda _user: 0
        self._signed_ns: dict[str, int] = {}
        if path is not None:
            self._stamp = _stamp(path)
            self._default, self._users = read_accounts(path)

    def of(self, user: str) -> Account:
        """Terms of a user as the file has them now."""
        if self.path is not None and (stamp := _stamp(self.path)) != self._stamp:
            self._stamp = stamp
            try:
                self._default, self._users = read_accounts(self.path)
            except AccountsError as error:
                self.on_fault(str(error))
        return self._users.get(user.upper(), self._default)

    def is_new(self, user: str, sent_ns: int) -> bool:
        """True for a signed logon that was sent later than all before it, once: nobody else can send one again, here or
        at another gateway, in this life of it or a later one."""
        user = user.upper()
        if sent_ns <= max(self._signed_ns.get(user, 0), self.journaled_ns(user)):
            return False
        self._signed_ns[user] = sent_ns
        return True


def read_accounts(path: Path) -> tuple[Account, dict[str, Account]]:
    """Terms of users who are not named, and of those who are, by name. Raises AccountsError."""
    try:
        with path.open("rb") as file:
            text = file.read(_BYTES_MAX + 1)
        said = tomllib.loads(text.decode("utf-8"))
    except OSError as error:
        raise AccountsError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise AccountsError(f"{path} is no TOML: {error}") from error
    if len(text) > _BYTES_MAX:
        raise AccountsError(f"{path} has more than {_BYTES_MAX:,} bytes")
    users = said.pop("user", {})
    default = _account(path, "[default]", said.pop("default", {}), Account())
    if said:
        raise AccountsError(f"{path} has {next(iter(said))!r}; it takes [default] and [user.NAME]")
    if not isinstance(users, dict):
        raise AccountsError(f"{path}: user is no table; give [user.NAME]")
    found = {}
    for name, terms in users.items():
        if not _USER.fullmatch(name):
            raise AccountsError(f"{path}: [user.{name}] is no user; names have 1 to 6 characters A-Z, 0-9, . and -")
        found[name.upper()] = _account(path, f"[user.{name}]", terms, default)
    if any(each.public_key for each in (default, *found.values())):
        try:
            signs(bytes(_KEY_BYTES), b"", b"")
        except AttestationError as error:
            why = "has a public_key, which needs the package cryptography: pip install 'lockstep[attest]'"
            raise AccountsError(f"{path} {why}") from error
    return default, found


def _account(path: Path, where: str, said: Any, before: Account) -> Account:
    if not isinstance(said, dict):
        raise AccountsError(f"{path}: {where} is no table")
    unknown = said.keys() - _TERMS.keys()
    if unknown:
        raise AccountsError(f"{path}: {where} has {min(unknown)!r}; it takes {', '.join(_TERMS)}")
    found = before
    for word, value in said.items():
        try:
            found = found._replace(**_TERMS[word](value))
        except ValueError as error:
            raise AccountsError(f"{path}: {word} in {where} {error}") from None
    changed = "messages_per_second" in said and "burst" not in said
    return found._replace(burst=found.rate) if changed or not found.rate else found


def _rate(value: Any) -> dict[str, Any]:
    if value == _OFF:
        return {"rate": 0}
    return {"rate": _count(value)}


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= RATE_MAX:
        raise ValueError(f"is {value!r}; give a whole number from 1 to {RATE_MAX:,}")
    return value


def _when_over(value: Any) -> dict[str, Any]:
    if value not in ("reject", "delay"):
        raise ValueError(f"is {value!r}; give reject or delay")
    return {"when_over": value}


def _hours(value: Any) -> dict[str, Any]:
    if value == _OFF:
        return {"hours": None}
    found = Hours.read(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"is {value!r}; give HH:MM-HH:MM in UTC, or HH:MM for all day from then on, or off")
    return {"hours": found}


def _public_key(value: Any) -> dict[str, Any]:
    if value == _OFF:
        return {"public_key": b""}
    try:
        key = base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        key = b""
    key = key.removeprefix(_KEY_HEAD)
    if len(key) != _KEY_BYTES:
        raise ValueError(f"is no Ed25519 key; give its {_KEY_BYTES} bytes, or the line of a PEM file, in base64")
    return {"public_key": key}


_TERMS: Final[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
    "messages_per_second": _rate,
    "burst": lambda value: {"burst": _count(value)},
    "when_over": _when_over,
    "hours": _hours,
    "public_key": _public_key,
}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Facts that change with a file; None: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
