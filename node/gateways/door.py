"""The core's side of its gateway processes: their links, their rings, and what becomes of their users.

A gateway that attaches gets a ring, from which the turns of the core take (``gateway.rings``). The ring belongs to the
core and lasts as long as there is something in it, so what a gateway has put is taken though it has died since, as
bytes in a socket are. Users of a gateway that ends are free at once, and the ring has no more for them than what it had
by then, whoever attaches to it next. Orders of those that cancel on disconnect go after all that the ring had of them:
at once where the gateway said that the user has gone, and after the time in which users come back where the gateway
itself is gone.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.records import UserPermission
from gateway.fix import marks
from gateway.protocol import MassCancel
from gateway.rings import GATEWAY_ROWS
from gateway.server import Gateway, Report
from gateway.streams import USERS_MAX, Streams
from journal.slices import make_private
from node.gateways import image as gateway_image
from node.gateways.link import NAME, LinkError, LinkLines, flag_in, number_in, numbers_in, text_in, text_of
from node.gateways.protocols import commands_of
from node.programs.operator_socket import BoundSocket, peer_uid
from node.programs.process_names import OWN_NAMES
from replay.market_rows import MARKET_ROWS, ring_of
from tape.errors import TapeError
from tape.inbound import Inbound

#: Interval of looks at a ring while something waits for it, in seconds.
_LOOK_S: Final = 0.002
#: Longest name of a gateway.
NAME_CHARACTERS_MAX: Final = 24


class _Ring:
    """Ring of the gateway of a name. ``number``: of the ring among those that are read; -1: it is not."""

    def __init__(self, inbound: Inbound, number: int, protocol: int) -> None:
        self.inbound, self.number, self.protocol = inbound, number, protocol
        self.refused = 0  # messages of which the log was told
        self.waits: deque[_Wait] = deque()  # in the order of their rows

    def published_rows(self) -> int:
        """Rows that the gateway has put, no more than there is room for."""
        return min(self.inbound.published_rows(), self.inbound.taken_rows + GATEWAY_ROWS)

    def has_taken(self, rows: int) -> bool:
        """True once so many rows were taken, or never will be."""
        return self.number < 0 or self.inbound.broken or self.inbound.taken_rows >= rows


class _Wait(NamedTuple):
    """Call of a function once so many rows of a ring were taken."""

    rows: int
    then: Callable[[], None]


class GatewayDoor:
    """Gateway processes of the node in a data directory. One thread, that of the event loop.

    published_seq: last command whose answers have left. on_user_disconnect: cancels a user's orders.
    on_users_absent: cancels those of users who do not come back.
    """

    def __init__(
        self,
        directory: Path,
        journal_id: bytes,
        gateway: Gateway,
        streams: Streams,
        *,
        published_seq: Callable[[], int],
        on_user_disconnect: Callable[[int], None],
        on_users_absent: Callable[[list[int]], None],
        report: Report,
        warn: Report,
    ) -> None:
        self.directory, self.journal_id = directory, journal_id
        self.gateway, self.streams = gateway, streams
        self.published_seq = published_seq
        self.on_user_disconnect, self.on_users_absent = on_user_disconnect, on_users_absent
        self.report, self.warn = report, warn
        self.links: dict[str, GatewayEnd] = {}
        self._rings: dict[str, _Ring] = {}
        self._waiting: dict[_Ring, None] = {}  # rings with waits
        self._looks = False
        self._loop = asyncio.get_running_loop()
        self.call_soon = self._loop.call_soon
        self._bound: BoundSocket | None = None
        self._server: asyncio.Server | None = None
        self._elsewhere = ""
        gateway.on_send_away = self.send_away
        gateway.on_failed_login = self.tell_failure

    def __len__(self) -> int:
        return len(self.links)

    async def start(self) -> None:
        """Listen for gateway processes. Raises OSError."""
        self._bound = BoundSocket(self.directory, NAME)
        self._server = await self._loop.create_unix_server(lambda: GatewayEnd(self), sock=self._bound.socket)

    # Rings.

    def ring_for(self, name: str, protocol: int) -> _Ring | str:
        """The ring of a gateway, or the reason why it gets none."""
        ring = self._rings.get(name)
        if ring is not None and ring.protocol != protocol:
            return (
                f"what a gateway {name} of another protocol has sent is not taken yet; try again, or give another name"
            )
        if ring is not None:
            return ring
        try:
            make_private(gateway_image.folder_of(self.directory, name))
            inbound = Inbound(ring_of(self.directory, name), self.journal_id, MARKET_ROWS, size=GATEWAY_ROWS)
        except (TapeError, OSError) as error:
            return f"there is no ring for the gateway {name}: {error}"
        number = self.gateway.rings.serve(inbound, protocol, commands_of(protocol))
        if number < 0:
            inbound.close()
            return "as many gateways as can be send commands to this node; end one of them"
        ring = self._rings[name] = _Ring(inbound, number, protocol)
        self.gateway.on_rings()
        return ring

    def after(self, ring: _Ring, then: Callable[[], None]) -> None:
        """Call a function once all was taken that is in a ring by now."""
        rows = ring.published_rows()
        if not ring.waits and ring.has_taken(rows):
            then()
            return
        ring.waits.append(_Wait(rows, then))
        self._waiting[ring] = None
        self._look_soon()

    def _look_soon(self) -> None:
        if not self._looks and self._bound is not None:
            self._looks = True
            self._loop.call_later(_LOOK_S, self._look_again)

    def _look_again(self) -> None:
        self._looks = False
        for ring in list(self._waiting):
            waits = ring.waits
            while waits and ring.has_taken(waits[0].rows):
                waits.popleft().then()
            if not waits:
                self._waiting.pop(ring, None)
        if self._waiting:
            self._look_soon()

    def drop_ring(self, name: str, ring: _Ring) -> None:
        """Read a ring no more, and remove its file."""
        if self._rings.get(name) is ring:
            del self._rings[name]
            self.gateway.rings.stop(ring.number)
            ring.number = -1
            ring.inbound.close()

    def beat(self) -> None:
        """Look for rings that are broken, and for what gateways have to know; call it every ``BEAT_S`` of a gateway."""
        for name, ring in list(self._rings.items()):
            refused = self.gateway.rings.messages(ring.number)[1]
            if refused > ring.refused:
                ring.refused = refused
                why = "they are no orders that its users may send"
                self.warn("messages of a gateway refused", gateway=name, messages=refused, why=why)
            if ring.inbound.broken:
                why = "its ring has numbers that no gateway writes"
                self.warn("gateway ended", gateway=name, why=why, then="start it again")
                self.drop_ring(name, ring)
                if name in self.links:
                    self.links[name].refuse(why)
        elsewhere = self.gateway.register.standing()
        if elsewhere != self._elsewhere:
            self._elsewhere = elsewhere
            for link in self.links.values():
                link.lines.send(elsewhere=elsewhere)

    # What the node tells its gateways.

    def send_away(self, why: str) -> None:
        """End all connections at gateways without a word."""
        for link in self.links.values():
            link.lines.send(away=why)

    def leave(self, why: str) -> bool:
        """Have clients of FIX told that their sessions end, by their gateways; False where there are none."""
        for link in self.links.values():
            if link.is_fix:
                link.send(leave=why)
        return self.fix_users() > 0

    def fix_users(self) -> int:
        """Users who are logged in at gateways of FIX, orders and drop copies."""
        return sum(self.gateway.register.count(link) for link in self.links.values() if link.is_fix)

    def disconnect(self, user: int, why: str) -> bool:
        """End a user's connections at gateways, those to past sessions too; False if there is none."""
        found = isinstance(self.gateway.register.holder(user), GatewayEnd)
        for link in self.links.values():
            found = found or user in link.past
            link.send(disconnect=user, why=why)
        return found

    def tell_failure(self, network: str, user: str, by: "GatewayEnd | None" = None) -> None:
        """Tell gateways of a wrong password, which counts at all of them; not the one that has said so."""
        for link in self.links.values():
            if link is not by:
                link.send(failed=text_of(user), network=text_of(network))

    def end_sessions(self) -> None:
        """End the sessions at gateways after all that is published: the streams are complete."""
        for link in self.links.values():
            link.lines.send(end=self.published_seq())

    def sessions(self) -> list[tuple[str, int, str]]:
        """Gateway, user and address of each login at a gateway process."""
        return [(name, user, address) for name, link in self.links.items() for user, address in link.users().items()]

    def status(self) -> list[dict[str, int | str]]:
        """Each gateway process with its ring, for reports."""
        found: list[dict[str, int | str]] = []
        for name, ring in sorted(self._rings.items()):
            link = self.links.get(name)
            taken, refused = self.gateway.rings.messages(ring.number)
            found.append(
                {
                    "gateway": name,
                    "pid": 0 if link is None else link.pid,
                    "users": 0 if link is None else len(link.users()),
                    "messages": taken,
                    "refused": refused,
                    "ring_rows": GATEWAY_ROWS,
                    "ring_waiting": min(max(ring.inbound.waiting_rows(), 0), GATEWAY_ROWS),
                }
            )
        return found

    def close(self) -> None:
        """End all links, and remove the rings. May be repeated."""
        bound, self._bound = self._bound, None
        if bound is None:
            return
        if self._server is not None:
            self._server.close()
        for link in list(self.links.values()):
            link.lines.end()
        for name, ring in list(self._rings.items()):
            self.drop_ring(name, ring)
        self._waiting.clear()
        bound.close()


class GatewayEnd(LinkLines):
    """The core's end of one link: a gateway that has logins of users (``gateway.register.Holder``)."""

    def __init__(self, door: GatewayDoor) -> None:
        super().__init__(self._take, self._ended)
        self._door = door
        self.name = ""
        self.pid = 0
        self._ring: _Ring | None = None
        self.past: frozenset[int] = frozenset()  # users who read a past session there
        self._addresses: dict[int, str] = {}
        self._absent: list[int] = []  # users who have left since the last turn of the loop, and may come back

    @property
    def is_fix(self) -> bool:
        """True for a gateway of FIX, of orders or drop copies."""
        return self._ring is not None and self._ring.protocol in marks.NUMBERS

    @property
    def lines(self) -> LinkLines:
        """The link, to send on."""
        return self

    def users(self) -> dict[int, str]:
        """Address of each user that is logged in there."""
        return {user: self._addresses.get(user, "") for user in self._door.gateway.register.of(self)}

    def refuse(self, why: str) -> None:
        """End the link, with the reason."""
        self.send(refused=why)
        self.end(why)

    def displace(self, user: int, why: str) -> None:
        """End a user's login, which another gateway has from now on."""
        self.send(displace=user, why=why)
        self._forget(user)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport of a process of the same user."""
        super().connection_made(transport)
        if peer_uid(transport.get_extra_info("socket")) not in (0, os.geteuid()):
            self.refuse(f"user {os.geteuid()} runs this node; run its gateways as that user")

    def _take(self, told: dict[str, Any] | None) -> None:
        if told is None:
            self._door.gateway.on_rings()
        elif self._ring is None:
            self._attach(text_in(told, "gateway"), number_in(told, "protocol", 255), number_in(told, "pid"))
        elif "ask" in told:
            user, address = number_in(told, "user", USERS_MAX), text_in(told, "address")
            self._ask(number_in(told, "ask"), user, address, newest_wins=flag_in(told, "newest_wins"))
        elif "gone" in told:
            self._gone(number_in(told, "gone", USERS_MAX), cancels=flag_in(told, "cancels"))
        elif "mass_cancel" in told:
            symbol, side = text_in(told, "symbol"), number_in(told, "side", 2)  # 2: -1
            self._mass_cancel(number_in(told, "mass_cancel", USERS_MAX), MassCancel(symbol, side - 3 * (side == 2)))
        elif "past" in told:
            self.past = frozenset(numbers_in(told, "past", USERS_MAX))
        elif "failed" in told:
            network, user_name = text_in(told, "network"), text_in(told, "failed")
            self._door.gateway.note_failed_login(network, user_name)
            self._door.tell_failure(network, user_name, by=self)
        else:
            raise LinkError("nobody says this")

    def _attach(self, name: str, protocol: int, pid: int) -> None:
        door = self._door
        if not name or len(name) > NAME_CHARACTERS_MAX or not name.replace("-", "").isalnum() or not name.isascii():
            self.refuse(
                f"{name!r} is no name of a gateway; use letters, digits and hyphens, {NAME_CHARACTERS_MAX} at most"
            )
        elif name in OWN_NAMES:
            self.refuse(f"a process of the node has the name {name}; give the gateway another")
        elif name in door.links:
            self.refuse(f"process {door.links[name].pid} is the gateway {name} already; end it, or give another name")
        else:
            ring = door.ring_for(name, protocol)
            if isinstance(ring, str):
                self.refuse(ring)
                return
            self._ring, self.name, self.pid = ring, name, pid
            door.links[name] = self
            door.report("gateway attached", gateway=name, pid=pid)
            self.send(seq=door.published_seq(), elsewhere=door.gateway.register.standing())

    def _ask(self, number: int, user: int, address: str, *, newest_wins: bool) -> None:
        door, ring = self._door, self._ring
        assert ring is not None, "a gateway that has attached asks"
        claim = door.gateway.register.claim(user, self, newest_wins=newest_wins, address=address)
        if user and not claim.why:
            self._addresses[user] = address
            door.gateway.rings.allow(ring.number, user, int(door.streams.row(user)["participant"]))
            self._weigh()
        self.send(claim=number, why=claim.why, epoch=claim.epoch, seq=door.published_seq())

    def _weigh(self) -> None:
        if self._ring is not None and self._ring.number >= 0:
            self._door.gateway.rings.stand_for(self._ring.number, self._door.gateway.register.count(self))

    def _gone(self, user: int, *, cancels: bool) -> None:
        door, ring = self._door, self._ring
        if ring is None or not door.gateway.register.give_back(user, self):
            return
        self._forget(user)
        if not door.streams.may(user, UserPermission.CANCEL_ON_DISCONNECT):
            return
        # Who was sent away, as in a lapse of the lease, has its time to come back, however long the ring is full.
        if cancels and not door.gateway.elsewhere:
            door.after(ring, lambda: door.on_user_disconnect(user))
            return
        if not self._absent:
            door.call_soon(self._tell_absent, ring)
        self._absent.append(user)

    def _forget(self, user: int) -> None:
        """Take nothing more of a user by this ring but what it has put by now."""
        ring = self._ring
        self._weigh()
        if ring is not None and ring.number >= 0:
            self._door.gateway.rings.end(ring.number, user, ring.published_rows())

    def _tell_absent(self, ring: _Ring) -> None:
        """Cancel the orders of those who have left, unless they come back: of all who left at one moment together."""
        users, self._absent = list(dict.fromkeys(self._absent)), []
        self._door.after(ring, lambda: self._door.on_users_absent(users))

    def _mass_cancel(self, user: int, asked: MassCancel) -> None:
        """Have the orders of a user's participant canceled, after all that the ring has by now."""
        door, ring = self._door, self._ring
        if ring is not None and door.gateway.register.holder(user) is self:
            door.after(ring, lambda: door.gateway.on_mass_cancel_asked(user, asked))

    def _ended(self) -> None:
        """Free the users of a gateway that is gone; its ring goes once all of it was taken."""
        door, ring = self._door, self._ring
        if ring is None or door.links.get(self.name) is not self:
            door.warn("gateway refused", gateway=self.name or "?", why=self.why or "it ended before it gave its name")
            return
        users = door.gateway.register.of(self)
        for user in users:
            door.gateway.register.give_back(user, self)
            self._forget(user)
        del door.links[self.name]
        why = self.why or "it has ended the link"
        door.report("gateway gone", gateway=self.name, pid=self.pid, users=len(users), why=why)
        may = door.streams.may
        absent = [user for user in users if may(user, UserPermission.CANCEL_ON_DISCONNECT)]

        def end() -> None:
            if absent:
                door.on_users_absent(absent)
            if self.name not in door.links:
                with suppress(OSError):
                    door.drop_ring(self.name, ring)

        door.after(ring, end)
