"""Users, passwords and instruments given on the command line."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import WrongUse
from client.prices import PRICE_E4_MAX, price_e4
from load.lines import User
from wire.soup import PASSWORD_CHARACTERS, USER_CHARACTERS

if TYPE_CHECKING:
    import ssl


def users_of(file: Path | None, names: Sequence[str], *, password_stdin: bool) -> list[User]:
    """Users of a file (name and password, one a line) and of ``names`` (one password, on standard input). Raises
    WrongUse, without passwords.
    """
    users = _of_file(file) if file is not None else []
    if names:
        if not password_stdin:
            raise WrongUse("--user needs a password: give --password-stdin and write it to standard input")
        password = sys.stdin.readline().rstrip("\r\n")
        users += [User(name, password) for name in names]
    elif password_stdin:
        raise WrongUse("--password-stdin is for --user; name one, or leave it out")
    if not users:
        raise WrongUse("no user is given; give --users FILE, or --user NAME and --password-stdin")
    for user in users:
        _check(user)
    doubled = {user.name.upper() for user in users}
    if len(doubled) < len(users):
        raise WrongUse("a user is given twice; each user has one connection")
    return users


def _of_file(file: Path) -> list[User]:
    users = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise WrongUse(f"line {number} of {file} has {len(words)} words; write a name and a password, no more")
        users.append(User(words[0], words[1]))
    if not users:
        raise WrongUse(f"{file} has no user; write one a line, name and password")
    return users


def _check(user: User) -> None:
    for what, text, most in (("name", user.name, USER_CHARACTERS), ("password", user.password, PASSWORD_CHARACTERS)):
        if not 1 <= len(text) <= most or not all("!" <= character <= "~" for character in text):
            whose = f"the name {user.name[:20]!r}" if what == "name" else f"the password of user {user.name}"
            raise WrongUse(f"{whose} is no valid {what}; it has 1 to {most} printable ASCII characters and no space")


def symbols_of(words: Sequence[str]) -> list[tuple[str, int]]:
    """Parse instruments with their prices (e4), such as ACME=100.00. Raises WrongUse."""
    symbols = []
    for word in words:
        name, _, price = word.partition("=")
        try:
            number = price_e4(price)
        except ValueError:
            number = 0
        if not 1 <= len(name) <= 8 or not name.isascii() or not 100 <= number <= PRICE_E4_MAX:
            raise WrongUse(f"{word!r} is no instrument with a price; write it as ACME=100.00")
        symbols.append((name, number))
    return symbols


def tls_of(tls: bool, ca_file: Path | None) -> "ssl.SSLContext | None":
    """TLS context of `--tls` and `--tls-ca`; None without `--tls`. Raises WrongUse."""
    if not tls:
        if ca_file is not None:
            raise WrongUse("--tls-ca is for a connection with TLS; give --tls too")
        return None
    from client.tls import client_context

    try:
        return client_context(ca_file)
    except ValueError as error:
        raise WrongUse(str(error)) from error
