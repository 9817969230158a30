"""Passwords of users: hashed when the operator sets one, checked at each login. Pure, and slow by design.

The journal keeps a CREDENTIAL row: a random salt and scrypt over password and salt (r = 8, p = 1, 24 bytes, N = 2 to
the power of ``cost``). In a password of up to ten characters capital and small letters are equal, as SoupBinTCP has it:
it is hashed in capitals. A longer one, which other protocols may carry, is hashed as it is. No error here repeats a
password, or a part of one.

A hash at the default cost takes about 50 ms and 16 MB: call it outside the event loop. It is slow since people choose
passwords that can be guessed. One that ``generated`` drew has 130 random bits, which no number of guesses finds, so the
lowest cost is enough (0.06 ms): thousands of programs log in within seconds after a restart.
"""

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np

#: Longest password of any protocol, and the longest in which capital and small letters are equal.
PASSWORD_CHARACTERS_MAX: Final = 64
FOLDED_CHARACTERS_MAX: Final = 10
#: Longest name of a user (rulebook).
USER_CHARACTERS: Final = 6
COST_DEFAULT: Final = 14
COST_MIN: Final = 4
COST_MAX: Final = 20
#: Cost of the hash of a generated password, of none that a person chose.
COST_GENERATED: Final = COST_MIN
#: Characters of a generated password, each one of 32: 130 bits. It is too long to be folded.
GENERATED_CHARACTERS: Final = 26
SALT_BYTES: Final = 16
HASH_BYTES: Final = 24

_BLOCK: Final = 8  # scrypt's r
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
_USER_CHARACTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")


class PasswordError(ValueError):
    """An invalid password, user or cost; the message says what is valid, and never repeats a password."""


def folded(password: str) -> str:
    """A password in capitals, where it is short enough for capital and small letters to be equal."""
    return password.upper() if len(password) <= FOLDED_CHARACTERS_MAX else password


def normalised(password: str, characters_max: int = PASSWORD_CHARACTERS_MAX) -> bytes:
    """Normalise a password for hashing. Raises PasswordError unless it has 1 to ``characters_max`` printable ASCII
    characters, no space.

    >>> normalised("Secret1!"), normalised("Correct-Horse")
    (b'SECRET1!', b'Correct-Horse')
    """
    if not 1 <= len(password) <= characters_max:
        raise PasswordError(f"the password has {len(password)} characters; give 1 to {characters_max}")
    if not all("!" <= character <= "~" for character in password):
        raise PasswordError("the password has a space or a character that is no printable ASCII; leave it out")
    return folded(password).encode("ascii")


def generated() -> str:
    """A new password of ``GENERATED_CHARACTERS`` random characters, which may be stored at ``COST_GENERATED``."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(GENERATED_CHARACTERS))


def hash_password(password: str, salt: bytes, cost: int = COST_DEFAULT) -> bytes:
    """Hash a password: 24 bytes of scrypt over it and a salt of 16 bytes, N = 2 ** cost. Raises PasswordError."""
    if not COST_MIN <= cost <= COST_MAX:
        raise PasswordError(f"the cost is {cost}; give {COST_MIN} to {COST_MAX}")
    if len(salt) != SALT_BYTES:
        raise PasswordError(f"the salt has {len(salt)} bytes; give {SALT_BYTES}")
    # OpenSSL refuses more memory than its bound; scrypt needs slightly more than 128 * r * N bytes.
    memory_bytes = 128 * _BLOCK * (1 << cost) + (1 << 20)
    return hashlib.scrypt(
        normalised(password), salt=salt, n=1 << cost, r=_BLOCK, p=1, maxmem=memory_bytes, dklen=HASH_BYTES
    )


def verify(password: str, salt: bytes, expected: bytes, cost: int) -> bool:
    """True if a password has the hash ``expected``, in constant time. False for an invalid password.

    >>> salt = bytes(16)
    >>> verify("secret", salt, hash_password("SECRET", salt, 4), 4), verify("other", salt, bytes(24), 4)
    (True, False)
    """
    try:
        found = hash_password(password, salt, cost)
    except PasswordError:
        return False
    return hmac.compare_digest(found, expected)


def credential_row(
    user: str, password: str, cost: int = COST_DEFAULT, characters_max: int = PASSWORD_CHARACTERS_MAX
) -> "np.ndarray[Any, np.dtype[np.void]]":
    """One CREDENTIAL row for a user, under a new salt. ``characters_max``: of the password. Raises PasswordError."""
    normalised(password, characters_max)
    import numpy as np

    from engine.names import pack
    from engine.records import COMMAND, CommandKind

    name = user.upper()
    if not 1 <= len(name) <= USER_CHARACTERS or not _USER_CHARACTERS.issuperset(name):
        raise PasswordError(f"the user is {user[:20]!r}; users have 1 to {USER_CHARACTERS} characters of A-Z 0-9 . -")
    salt = secrets.token_bytes(SALT_BYTES)
    words = np.frombuffer(salt + hash_password(password, salt, cost), ">i8")
    row = np.zeros(1, COMMAND)
    row["kind"] = CommandKind.CREDENTIAL
    row["name"] = pack(name)
    for place, word in zip(("salt_0", "salt_1", "hash_0", "hash_1", "hash_2"), words, strict=True):
        row[place] = word
    row["cost"] = cost
    return row


def salt_and_hash(row: "np.void") -> tuple[bytes, bytes]:
    """Salt (16 bytes) and hash (24 bytes) of a CREDENTIAL row, for ``verify``."""
    numbers = [int(row[place]) for place in ("salt_0", "salt_1", "hash_0", "hash_1", "hash_2")]
    raw = b"".join(number.to_bytes(8, "big", signed=True) for number in numbers)
    return raw[:SALT_BYTES], raw[SALT_BYTES:]
