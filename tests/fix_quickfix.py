"""QuickFIX as a client: ``python -m tests.fix_quickfix PORT VERSION FOLDER EXPECTED [ORDER...]``.

It logs on with its store in FOLDER, sends an order for each name, waits for so many messages, logs out, and prints
what came.
"""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import quickfix

_DEADLINE_S = 90


class Trader(quickfix.Application):  # type: ignore[misc]
    """The application of the client."""

    def __init__(self) -> None:
        super().__init__()
        self.id: Any = None
        self.live = threading.Event()
        self.got: list[str] = []
        self.rejects: list[str] = []

    def onCreate(self, session_id: Any) -> None:  # noqa: N802 -- names of the library
        self.id = session_id

    def onLogon(self, session_id: Any) -> None:  # noqa: ARG002, N802
        self.live.set()

    def onLogout(self, session_id: Any) -> None:  # noqa: N802
        pass

    def toAdmin(self, message: Any, session_id: Any) -> None:  # noqa: N802
        pass

    def toApp(self, message: Any, session_id: Any) -> None:  # noqa: N802
        pass

    def fromAdmin(self, message: Any, session_id: Any) -> None:  # noqa: ARG002, N802
        if message.getHeader().getField(35) == "3":
            self.rejects.append(message.toString())

    def fromApp(self, message: Any, session_id: Any) -> None:  # noqa: ARG002, N802
        if message.getHeader().getField(35) == "D":
            self.got.append(message.getField(11))
        else:
            self.rejects.append(message.toString())


def main(port: str, version: str, folder: Path, expected: int, orders: list[str]) -> None:
    """Trade, and print what came."""
    path = folder / "client.cfg"
    application = "DefaultApplVerID=FIX.5.0SP2\n" if version == "FIXT.1.1" else ""
    path.write_text(
        "[DEFAULT]\nConnectionType=initiator\nReconnectInterval=1\nStartTime=00:00:00\nEndTime=00:00:00\n"
        f"FileStorePath={folder / 'store'}\nHeartBtInt=5\nUseDataDictionary=N\nSocketConnectHost=127.0.0.1\n"
        f"SocketConnectPort={port}\n{application}"
        f"[SESSION]\nBeginString={version}\nSenderCompID=TW\nTargetCompID=ISLD\n"
    )
    trader = Trader()
    settings = quickfix.SessionSettings(str(path))
    store = quickfix.FileStoreFactory(settings)
    initiator = quickfix.SocketInitiator(trader, store, settings)
    initiator.start()
    if not trader.live.wait(_DEADLINE_S):
        sys.exit("the logon was not answered")
    now = time.strftime("%Y%m%d-%H:%M:%S", time.gmtime())
    for name in orders:
        order = quickfix.Message()
        order.getHeader().setField(quickfix.MsgType("D"))
        fields = {11: name, 21: "1", 38: "100", 40: "1", 54: "1", 55: "ACME", 60: now}
        for tag, value in fields.items():
            order.setField(quickfix.StringField(tag, value))
        quickfix.Session.sendToTarget(order, trader.id)
    deadline = time.monotonic() + _DEADLINE_S
    while len(trader.got) < expected and time.monotonic() < deadline:
        time.sleep(0.02)
    initiator.stop()
    print(json.dumps({"got": trader.got, "rejects": trader.rejects}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
