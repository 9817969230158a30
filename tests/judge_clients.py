"""Clients that nobody here wrote, for tests of a node: Nasdaq's Python library and the npm package soupbintcp."""

import asyncio
import json
import queue
import shutil
import subprocess
import threading
from typing import Any

import pytest

from tests.ouch_specified import library_messages
from tests.running import ROOT
from wire.ouch_codes import ClientMessage, ServerMessage

#: Folder in which .ci/run installs the npm package, and the version when this was written.
NPM = ROOT / "var" / "judges"
NPM_INTEGRITY = "sha512-nt9nCtZBMuaA7tpSYLPs/vxCLCDTmPHkcG20LNL5ayXDHphoV3+rgvzeiVbcAQiO46Q8f1ohCMe4WlZCDc5qtw=="

needs_npm = pytest.mark.skipif(
    shutil.which("node") is None or not (NPM / "node_modules" / "soupbintcp").is_dir(),
    reason="node is not installed, or the npm package soupbintcp is not in var/judges, where .ci/run puts it",
)


class Nasdaq:
    """An OUCH session of the library. What it sends it packs, and what comes it reads, by the specified fields."""

    def __init__(self, soup_session: Any) -> None:
        from nasdaq_protocols import ouch as judge

        class Session(judge.ClientSession):  # type: ignore[misc]
            def decode(self, payload: bytes) -> Any:
                read = library_messages()[ServerMessage.ACCEPTED.name].from_bytes(payload)
                assert read[0] == len(payload)
                return read

        self.soup = soup_session
        self.session = Session(soup_session)

    @classmethod
    async def log_in(cls, port: int, user: str, seq: int = 1, beats_s: float = 0.5, bears_s: float = 5.0) -> "Nasdaq":
        from nasdaq_protocols import soup as judge

        return cls(
            await judge.connect_async(
                ("127.0.0.1", port),
                user,
                "secret",
                sequence=seq,
                client_heartbeat_interval=beats_s,
                server_heartbeat_interval=bears_s,
            )
        )

    def send(self, kind: ClientMessage, **values: Any) -> None:
        made = library_messages()[kind.name]
        self.session.send_message(made(made.BodyRecord(values)))

    def enter(self, name: str, side: str, shares: int, price_e4: int) -> None:
        self.send(
            ClientMessage.ENTER_ORDER,
            order_token=name,
            buy_sell=side,
            shares=shares,
            stock="XYZ",
            price_e4=price_e4,
            time_in_force_s=99_998,
            firm="FIRM",
            display="Y",
            capacity="P",
            intermarket_sweep="N",
            minimum_quantity=0,
            cross_type="N",
            customer_type="N",
        )

    async def hear(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """(name, fields) of the next messages."""
        found = []
        for _ in range(count):
            message = await self.session.receive_message()
            found.append((message.__class__.__name__.removeprefix("outgoing_"), message.record.values))
        return found

    async def until_closed(self) -> None:
        while not self.soup.is_closed():
            await asyncio.sleep(0.005)


class Npm:
    """A process of ``soup_judge.js``: what it hears is read here, line by line."""

    def __init__(self, port: int) -> None:
        lock = json.loads((NPM / "node_modules" / ".package-lock.json").read_text())
        assert lock["packages"]["node_modules/soupbintcp"]["integrity"] == NPM_INTEGRITY
        line = ["node", str(ROOT / "tests" / "soup_judge.js"), str(NPM), str(port)]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        assert self.hear() == {"event": "connect"}

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def tell(self, **request: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def log_in(self, user: str = "UA", password: str = "secret", session: str = "", seq: int = 1) -> dict[str, Any]:
        words = {"username": user, "password": password, "requestedSession": session}
        self.tell(login=words | {"requestedSequenceNumber": seq})
        return self.hear()

    def hear(self) -> dict[str, Any]:
        return dict(json.loads(self._lines.get(timeout=120)))

    def take(self, count: int) -> list[bytes]:
        """The next messages."""
        heard = [self.hear() for _ in range(count)]
        assert {each["event"] for each in heard} == {"message"}
        return [bytes.fromhex(each["hex"]) for each in heard]

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(120) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()
