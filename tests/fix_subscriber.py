"""QuickFIX as a subscriber: ``python -m tests.fix_subscriber PORT VERSION FOLDER SECONDS``.

It logs on, subscribes to XYZ, and prints each message that came within so many seconds, with ``|`` between fields.
It judges each message by its own dictionaries; a reject that it sends is printed too.
"""

import sys
import threading
import time
from pathlib import Path
from typing import Any

import quickfix

from tests.fix_judge import SPEC

_DICTIONARIES = {
    "FIX.4.2": {"DataDictionary": "FIX42.xml"},
    "FIX.4.4": {"DataDictionary": "FIX44.xml"},
    "FIXT.1.1": {"TransportDataDictionary": "FIXT11.xml", "AppDataDictionary": "FIX50SP2.xml"},
}


class Subscriber(quickfix.Application):  # type: ignore[misc]
    """The application of the client."""

    def __init__(self) -> None:
        super().__init__()
        self.id: Any = None
        self.live = threading.Event()

    def onCreate(self, session_id: Any) -> None:  # noqa: N802 -- names of the library
        self.id = session_id

    def onLogon(self, session_id: Any) -> None:  # noqa: ARG002, N802
        self.live.set()

    def onLogout(self, session_id: Any) -> None:  # noqa: N802
        pass

    def toAdmin(self, message: Any, session_id: Any) -> None:  # noqa: ARG002, N802
        if message.getHeader().getField(35) == "3":
            say(message)

    def toApp(self, message: Any, session_id: Any) -> None:  # noqa: N802
        pass

    def fromAdmin(self, message: Any, session_id: Any) -> None:  # noqa: ARG002, N802
        if message.getHeader().getField(35) == "3":
            say(message)

    def fromApp(self, message: Any, session_id: Any) -> None:  # noqa: ARG002, N802
        say(message)


def say(message: Any) -> None:
    """Print a message."""
    print(message.toString().replace("\x01", "|"), flush=True)


def main(port: str, version: str, folder: Path, seconds: float) -> None:
    """Subscribe, and print what came."""
    judges = {name: SPEC / file for name, file in _DICTIONARIES[version].items()}
    lines = ["[DEFAULT]", "ConnectionType=initiator", "ReconnectInterval=1", "StartTime=00:00:00", "EndTime=00:00:00"]
    lines += [f"FileStorePath={folder / version}", "HeartBtInt=5", "ResetOnLogon=Y", "SocketConnectHost=127.0.0.1"]
    lines += [f"SocketConnectPort={port}", "UseDataDictionary=Y"]
    lines += [f"{name}={path}" for name, path in judges.items()]
    lines += ["DefaultApplVerID=FIX.5.0SP2"] if version == "FIXT.1.1" else []
    lines += ["[SESSION]", f"BeginString={version}", "SenderCompID=VIEWER", "TargetCompID=LOCKSTEP", ""]
    path = folder / f"{version}.cfg"
    path.write_text("\n".join(lines))
    subscriber, settings = Subscriber(), quickfix.SessionSettings(str(path))
    store = quickfix.FileStoreFactory(settings)
    initiator = quickfix.SocketInitiator(subscriber, store, settings)
    initiator.start()
    if not subscriber.live.wait(60.0):
        sys.exit("the logon was not answered")
    request = quickfix.Message()
    request.getHeader().setField(quickfix.MsgType("V"))
    for tag, value in ((262, "r1"), (263, "1"), (264, "0"), (265, "1")):
        request.setField(quickfix.StringField(tag, value))
    for kind in "012":
        group = quickfix.Group(267, 269)
        group.setField(quickfix.StringField(269, kind))
        request.addGroup(group)
    group = quickfix.Group(146, 55)
    group.setField(quickfix.StringField(55, "XYZ"))
    request.addGroup(group)
    quickfix.Session.sendToTarget(request, subscriber.id)
    time.sleep(seconds)
    initiator.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]))
