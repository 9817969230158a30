"""Publication of a node's market through NATS, in a process of its own, as `lockstep serve --nats` names it.

The node opens the port for requests and lends it to the process, as it does for gateways and feeds.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

from client.addresses import parse_addresses
from client.publication import checked_url, is_venue
from node.programs.lent_port import LentPort
from node.programs.pinning import PinnedNode
from node.programs.supervisor import Supervisor

#: Name of the process.
NAME: Final = "nats"
_BACKLOG: Final = 128
DEFAULT_VENUE: Final = "main"
_WORDS: Final = "venue=, requests=HOST:PORT and login=FILE are"
_LOGIN_BYTES_MAX: Final = 4_096


class NatsOption(NamedTuple):
    """Publication that the operator wants. host, port: for requests of readers; port 0: any that is free.

    login: file with "user:password" or a token, that only its owner may read.
    """

    url: str
    venue: str = DEFAULT_VENUE
    host: str = "127.0.0.1"
    port: int = 0
    login: Path | None = None


def nats_option(text: str) -> NatsOption:
    """Read URL, with ,WORD=VALUE behind it or not. Raises ValueError with a sentence.

    >>> nats_option("nats://127.0.0.1:4222,venue=east,requests=10.0.0.1:26500").venue
    'east'
    """
    url, *others = text.split(",")
    option = NatsOption(checked_url(url))
    for other in others:
        word, _, value = other.partition("=")
        match word:
            case "venue" if is_venue(value):
                option = option._replace(venue=value)
            case "venue":
                raise ValueError(f"venue= of --nats is {value[:80]!r}; give up to 32 letters, digits, - and _")
            case "requests" if re.fullmatch(r"[^:]+:0", value):
                option = option._replace(host=value[:-2], port=0)
            case "requests":
                (address,) = parse_addresses([value])
                option = option._replace(host=address.host, port=address.port)
            case "login" if value:
                option = option._replace(login=Path(value))
            case _:
                raise ValueError(f"{other[:80]!r} is nothing of --nats; {_WORDS}")
    return option


class LoginFileError(Exception):
    """The file of a login cannot be used; the message is one sentence and repeats nothing secret."""


def read_login(path: Path) -> str:
    """The login in a file, without white space around it. Raises LoginFileError."""
    try:
        with path.open("rb") as file:
            if path.stat().st_mode & 0o077:
                raise LoginFileError(f"others may read {path}; run `chmod 600 {path}`")
            text = file.read(_LOGIN_BYTES_MAX + 1).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise LoginFileError(f"the login in {path} cannot be read: {why}") from error
    if not text or len(text) > _LOGIN_BYTES_MAX or len(text.splitlines()) != 1:
        raise LoginFileError(f"{path} has no login; write one line into it: user:password, or a token")
    return text


class NatsPrograms(LentPort):
    """The publication of a node, and its socket. ``port``: for requests; None without one."""

    def __init__(self, supervisor: Supervisor, node: PinnedNode) -> None:
        super().__init__(supervisor, node, NAME, without="nothing is published, and readers that miss something wait")

    def open(self, option: NatsOption, node: str | None) -> None:
        """Open the port and start the process. node: name of the node in its pair. Raises OSError."""
        fd = self._listen(option.host, option.port, _BACKLOG)
        words = ["nats", str(self._node.data.absolute()), "--url", option.url, "--venue", option.venue]
        words += ["--requests-host", option.host, "--requests-fd", str(fd)]
        words += [] if node is None else ["--node", node]
        words += [] if option.login is None else ["--login", str(option.login.absolute())]
        self._start(words)
