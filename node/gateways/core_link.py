"""The gateway's side of its link to the core: claims of logins, and what the core tells."""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from gateway.protocol import MassCancel
from gateway.register import Claim
from node.gateways.link import NAME, LinkError, LinkLines, object_of, text_of
from node.programs.operator_socket import connect, open_directory

#: Longest wait for the core's first line, in seconds.
ATTACH_S: Final = 30.0


class GatewayRefused(Exception):
    """The core takes no such gateway, or none runs; the text says why and what to do."""


def attach(directory: Path, name: str, protocol: int, pid: int) -> tuple[socket.socket, dict[str, Any], bytes]:
    """Attach to the core of the node in a data directory; gives the connection, the core's first line, and what came
    behind it. Raises GatewayRefused."""
    try:
        fd = open_directory(directory)
    except OSError as error:
        raise GatewayRefused(f"{directory} cannot be opened: {(error.strerror or str(error)).lower()}") from error
    try:
        made = connect(fd, ATTACH_S, NAME)
    except OSError as error:
        raise GatewayRefused(
            f"no node serves {directory}, or it takes no gateways; start it with `lockstep serve`, and have it write a "
            "tape"
        ) from error
    finally:
        os.close(fd)
    try:
        told, rest = _greeted(made, directory, {"gateway": name, "protocol": protocol, "pid": pid})
    except BaseException:
        made.close()
        raise
    return made, told, rest


def _greeted(made: socket.socket, directory: Path, hello: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The core's first line, and what came behind it. Raises GatewayRefused."""
    data = b""
    try:
        made.sendall(json.dumps(hello).encode("ascii") + b"\n")
        while b"\n" not in data:
            got = made.recv(65_536)
            if not got:
                raise GatewayRefused(
                    f"the node of {directory} ended while the gateway {hello['gateway']} attached; start it again"
                )
            data += got
        line, _, rest = data.partition(b"\n")
        told = object_of(line)
    except OSError as error:
        raise GatewayRefused(f"the node of {directory} does not answer: {error}") from error
    except LinkError as error:
        raise GatewayRefused(f"{NAME} of {directory} is of no node: {error}") from error
    if told is None or "refused" in told:
        raise GatewayRefused(f"{NAME} of {directory} is of no node" if told is None else str(told["refused"]))
    return told, rest


class Core(Protocol):
    """The gateway process as its link sees it."""

    def has_seen(self, seq: int, then: Callable[[], None], /) -> None:
        """Call ``then`` once the streams have all up to command ``seq``."""
        ...

    def is_logged_in(self, user: int, /) -> bool:
        """True if a connection here has the user's login."""
        ...

    def on_told(self, told: dict[str, Any], /) -> None:
        """Do what the core tells."""
        ...

    def on_core_gone(self, why: str, /) -> None:
        """The link has ended. why: reason for which this end has ended it; "": the core did."""
        ...


@dataclass
class _Asked:
    """A claim whose login was not answered yet. ``granted``: the core has said yes, and the streams here lag behind it.

    again: the user was given back after the claim was sent, so a grant stands no more and is asked for anew. void:
    reason for which a grant stands no more and the login is refused; "": there is none. cancels: the operator has ended
    it, which is a disconnect.
    """

    user: int
    address: str
    newest_wins: bool
    on_answer: Callable[[Claim], None]
    granted: bool = False
    again: bool = False
    void: str = ""
    cancels: bool = False


class CoreLink:
    """Link of a gateway process (``gateway.register.Claims``)."""

    def __init__(self, owner: Core) -> None:
        self._owner = owner
        self._asked: dict[int, _Asked] = {}
        self._numbers = 0
        self._gone: list[int] = []
        self._cancels: set[int] = set()
        self._past: frozenset[int] = frozenset()
        self._lines = LinkLines(self._take, self._ended)
        self._loop = asyncio.get_running_loop()
        self._open = True

    async def start(self, connected: socket.socket, rest: bytes) -> None:
        """Go on with a connection that is attached; ``rest`` came behind the first line."""
        connected.setblocking(False)
        await self._loop.create_unix_connection(lambda: self._lines, sock=connected)
        if rest:
            self._lines.data_received(rest)

    # Claims.

    def ask(self, user: int, address: str, on_answer: Callable[[Claim], None], *, newest_wins: bool) -> None:
        """Claim a user; the answer comes once the streams here have all that clients were told before it."""
        self._flush()
        if self._lines.transport is None:
            on_answer(Claim("the node has ended"))
            return
        self._send(_Asked(user, address, newest_wins, on_answer))

    def _send(self, asked: _Asked) -> None:
        self._numbers += 1
        self._asked[self._numbers] = asked
        address = text_of(asked.address)
        self._lines.send(ask=self._numbers, user=asked.user, address=address, newest_wins=asked.newest_wins)

    def give_back(self, user: int) -> None:
        """Give a user back. A claim for it that is under way is sent again behind that."""
        if self._open:
            self._gone.append(user)
            self._loop.call_soon(self._flush)

    def cancel(self, user: int) -> None:
        """Have the core cancel the orders of a user who was just given back."""
        self._cancels.add(user)

    def mass_cancel(self, user: int, asked: MassCancel) -> None:
        """Have the core cancel all orders of a user's participant, after all that the ring has of it."""
        self._lines.send(mass_cancel=user, symbol=asked.symbol, side=asked.side % 3)

    def past(self, users: frozenset[int]) -> None:
        """Tell the core who reads a past session here, where that has changed."""
        if users != self._past:
            self._past = users
            self._lines.send(past=sorted(users))

    def failed(self, network: str, user: str) -> None:
        """Tell the core of a wrong password of a user from a network address."""
        self._lines.send(failed=text_of(user), network=text_of(network))

    def _flush(self) -> None:
        gone, self._gone = self._gone, []
        for user in gone:
            if not self._owner.is_logged_in(user):
                self._lines.send(gone=user, cancels=user in self._cancels)
                for asked in self._asked.values():
                    asked.again = asked.again or asked.user == user
            self._cancels.discard(user)

    def wake(self) -> None:
        """Wake the core, which sleeps."""
        self._lines.wake()

    def _take(self, told: dict[str, Any] | None) -> None:
        if told is None:
            return
        if "claim" in told:
            number, claim = int(told["claim"]), Claim(str(told["why"]), int(told["epoch"]))
            if (asked := self._asked.get(number)) is not None:
                asked.granted = not claim.why
                self._owner.has_seen(int(told["seq"]), lambda: self._answer(number, claim))
            return
        if "displace" in told:
            self._void(int(told["displace"]), str(told["why"]))
        elif "disconnect" in told:
            self._void(int(told["disconnect"]), str(told["why"]), cancels=True)
        self._owner.on_told(told)

    def _void(self, user: int, why: str, *, cancels: bool = False) -> None:
        """Refuse the logins of a user that the core has granted before now: it has taken them back."""
        for asked in self._asked.values():
            if asked.user == user and asked.granted:
                asked.void, asked.cancels = asked.void or why, asked.cancels or cancels

    def _answer(self, number: int, claim: Claim) -> None:
        self._flush()  # first: a login that ended before this one begins has its end told
        asked = self._asked.pop(number, None)
        if asked is None:  # the link has ended meanwhile
            return
        if asked.void:
            asked.on_answer(Claim(asked.void))
            self.give_back(asked.user)
            if asked.cancels:
                self.cancel(asked.user)
        elif asked.again and asked.granted:
            self.ask(asked.user, asked.address, asked.on_answer, newest_wins=asked.newest_wins)
        else:
            asked.on_answer(claim)

    def _ended(self) -> None:
        waiting, self._asked = self._asked, {}
        for asked in waiting.values():
            asked.on_answer(Claim("the node has ended"))
        if self._open:
            self._open = False
            self._owner.on_core_gone(self._lines.why if self._lines.ended_here else "")

    def close(self) -> None:
        """End the link: the core gives the users of this gateway their time to come back."""
        self._open = False
        self._lines.end()
