"""`lockstep repair`: damage in a data directory is repaired from copies, any of which may be damaged too."""

import socket
from pathlib import Path
from typing import Final

from cli import errors, screen
from cli.errors import WrongUse
from gateway.login_copies import take_logins
from journal import Journal
from journal.lock import WriterLock
from replication.history_link import history_port
from replication.repair import Repaired
from replication.repair import repair as repair_from
from replication.secret_file import read_secret

#: Longest wait for the link of a node, in seconds.
_LINK_S: Final = 2.0


def repair(directory: Path, sources: list[str], secret_file: Path | None, *, as_json: bool) -> int:
    """`lockstep repair`: exit status 1 where something is still wrong afterwards."""
    if not directory.is_dir():
        raise WrongUse(f"{directory} is {'no directory' if directory.exists() else 'not there'}; check the path")
    others = [_source(source, secret_file) for source in sources]
    if any(isinstance(other, Path) and other.resolve() == directory.resolve() for other, _ in others):
        raise WrongUse("--from names the directory that is to be repaired; name another copy")
    secret = next((secret for _, secret in others if secret), b"")
    # In a sentence about two journals of this machine the directory says more than the host.
    name = str(directory) if all(isinstance(other, Path) for other, _ in others) else socket.gethostname()
    was_empty = not any(directory.iterdir())
    with screen.Bar(f"repairing {directory}") as bar:
        done = repair_from(
            directory, *(other for other, _ in others), secret=secret, name=name, names=sources, progress=bar.to
        )
    _logins(directory, [other for other, _ in others if isinstance(other, Path)], done, was_empty=was_empty)
    _print(directory, done, as_json)
    return errors.FOUND if done.left else errors.FINE


def _logins(directory: Path, copies: list[Path], done: Repaired, *, was_empty: bool) -> None:
    """Take records of logins from copies, and add what came of it."""
    with Journal.open(directory, readonly=True) as journal:
        journal_id = journal.journal_id
    lock = WriterLock(directory)
    try:
        taken = take_logins(directory, copies, journal_id, was_empty=was_empty)
    finally:
        lock.release()
    done.sentences += taken.sentences
    done.left += taken.left
    done.notes += taken.notes


def _source(source: str, secret_file: Path | None) -> "tuple[tuple[str, int] | Path, bytes]":
    """Address of a history or a directory, and the secret. Raises WrongUse."""
    if Path(source).is_dir():
        return Path(source), b""
    host, found, port = source.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not found or not host or "/" in host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 1 << 16:
        raise WrongUse(f"--from is {source!r}; give HOST:PORT of a node's link, or the path of a data directory")
    if secret_file is None:
        raise WrongUse("--from names another node, which asks for the secret of the pair; give --secret-file FILE")
    # The link of a primary names the port of its history.
    secret, history = read_secret(secret_file), history_port((host, int(port)), _LINK_S)
    return (host, history or int(port)), secret


def _print(directory: Path, done: Repaired, as_json: bool) -> None:
    if as_json:
        screen.print_json({"repaired": done.sentences, "blocks": done.blocks, "left": done.left, "notes": done.notes})
        return
    for sentence in done.sentences:
        screen.print_line(sentence)
    for sentence in done.left:
        screen.print_line(f"still wrong: {sentence}")
    for sentence in done.notes:
        screen.print_line(f"note: {sentence}")
    if not done.sentences and not done.left:
        screen.print_line(f"nothing is damaged in {directory}")
