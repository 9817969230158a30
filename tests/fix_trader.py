"""QuickFIX as a trader: ``python -m tests.fix_trader PORT VERSION FOLDER USER``.

It logs on, as often as its connection breaks, with its store in FOLDER. Each line of standard input is the ClOrdID of
an order that it sends, whether it is logged on or not. It prints each message of the application that came, in a line
with ``|`` between fields. It logs out when standard input ends.
"""

import sys
import threading
import time
from pathlib import Path
from typing import Any

import quickfix

_print_lock = threading.Lock()


class Trader(quickfix.Application):  # type: ignore[misc]
    """The application of the client."""

    def __init__(self) -> None:
        super().__init__()
        self.id: Any = None

    def onCreate(self, session_id: Any) -> None:  # noqa: N802 -- names of the library
        self.id = session_id

    def onLogon(self, session_id: Any) -> None:  # noqa: ARG002, N802
        say("logged on")

    def onLogout(self, session_id: Any) -> None:  # noqa: N802
        pass

    def toAdmin(self, message: Any, session_id: Any) -> None:  # noqa: ARG002, N802
        if message.getHeader().getField(35) == "A":
            message.setField(quickfix.StringField(554, "secret"))

    def toApp(self, message: Any, session_id: Any) -> None:  # noqa: N802
        pass

    def fromAdmin(self, message: Any, session_id: Any) -> None:  # noqa: ARG002, N802
        if message.getHeader().getField(35) == "3":
            say(message.toString())

    def fromApp(self, message: Any, session_id: Any) -> None:  # noqa: ARG002, N802
        say(message.toString())


def say(text: str) -> None:
    """Print a line."""
    with _print_lock:
        print(text.replace("\x01", "|"), flush=True)


def main(port: str, version: str, folder: Path, user: str) -> None:
    """Trade until standard input ends."""
    path = folder / "trader.cfg"
    application = "DefaultApplVerID=FIX.5.0SP2\n" if version == "FIXT.1.1" else ""
    path.write_text(
        "[DEFAULT]\nConnectionType=initiator\nReconnectInterval=1\nStartTime=00:00:00\nEndTime=00:00:00\n"
        f"FileStorePath={folder / 'store'}\nHeartBtInt=5\nUseDataDictionary=N\nSocketConnectHost=127.0.0.1\n"
        f"SocketConnectPort={port}\n{application}CheckLatency=N\nLogonTimeout=60\n"
        f"[SESSION]\nBeginString={version}\nSenderCompID={user}\nTargetCompID=LOCKSTEP\n"
    )
    trader = Trader()
    settings = quickfix.SessionSettings(str(path))
    store = quickfix.FileStoreFactory(settings)
    initiator = quickfix.SocketInitiator(trader, store, settings)
    initiator.start()
    for line in sys.stdin:
        now = time.strftime("%Y%m%d-%H:%M:%S", time.gmtime())
        order = quickfix.Message()
        order.getHeader().setField(quickfix.MsgType("D"))
        fields = {11: line.strip(), 21: "1", 38: "1", 40: "2", 44: "9.00", 54: "1", 55: "XYZ", 59: "1", 60: now}
        for tag, value in fields.items():
            order.setField(quickfix.StringField(tag, value))
        quickfix.Session.sendToTarget(order, trader.id)
    initiator.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
