"""First steps of a program beside a node: the check of the data directory, and ports of its own."""

import errno
import socket
from collections.abc import Callable
from pathlib import Path

from cli.errors import WrongUse
from directory.begin import holds_journal
from replay.errors import ReplayError


def check_has_journal(directory: Path) -> None:
    """Raise WrongUse for a directory without a journal, where a program beside a node is asked for."""
    try:
        known = holds_journal(directory)
    except ReplayError:
        known = False
    if not known:
        raise WrongUse(f"{directory} has no journal; name the data directory of a running node")


def opened_port(option: str, interface: str, opening: Callable[[], socket.socket]) -> socket.socket:
    """The socket that ``opening`` makes. Raises PortInUse, and WrongUse for a port or an address that cannot be."""
    try:
        return opening()
    except OverflowError as error:
        raise WrongUse(f"{option} cannot be opened: {error}") from error
    except OSError as error:
        from node.programs.lent_port import is_elsewhere

        if is_elsewhere(error):
            raise WrongUse(
                f"{interface} is no address of this machine; give one that `ip address` shows, or 127.0.0.1"
            ) from error
        if error.errno != errno.EADDRINUSE:
            raise WrongUse(f"{option} on {interface} cannot be opened: {error.strerror}") from error
        from node.program import PortInUse

        raise PortInUse(
            f"{option} on {interface} is in use; end the program that listens there, or give another port"
        ) from error
