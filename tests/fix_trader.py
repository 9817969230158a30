"""QuickFIX as a client, in a process of its own: a fault of a library in C++ ends no test run.

``python -m tests.fix_trader PORT VERSION FOLDER USER TARGET [CA]`` logs on, as often as its connection breaks, with its
store in FOLDER. PORT: or several, with commas between, which it tries in turn. CA: certificates to trust, and TLS. Each
line of standard input is the ClOrdID of an order that it sends, whether it is logged on or not. It prints each message
of the application that came, in a line with ``|`` between fields. It logs out when standard input ends.
"""

import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.running import ROOT

LOGGED_ON = "logged on\n"


class Trader:
    """The process, and the lines that it prints."""

    def __init__(
        self,
        port: int | str,
        folder: Path,
        version: str = "FIX.4.4",
        user: str = "UA",
        target: str = "LOCKSTEP",
        ca: Path | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.lines: list[str] = []
        words = [str(port), version, str(folder), user, target, *([] if ca is None else [str(ca)])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fix_trader", *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    def enter(self, name: str) -> None:
        """Send an order."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()

    def messages(self, *types: str) -> list[dict[str, str]]:
        """Messages of these types that came, in order: QuickFIX takes each number once."""
        parted = (line.strip().split("|") for line in list(self.lines))
        found = (dict(each.split("=", 1) for each in parts if "=" in each) for parts in parted)
        return [fields for fields in found if fields.get("35") in types]

    def told(self) -> Counter[tuple[str, str]]:
        """Types and names of the reports and rejects that came."""
        came = self.messages("8", "9", "j", "3")
        return Counter((fields.get("150", fields["35"]), fields.get("11", "")) for fields in came)

    def stop(self) -> None:
        """Log out, or end it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(60)


_print_lock = threading.Lock()


def _say(text: str) -> None:
    with _print_lock:
        print(text.replace("\x01", "|"), flush=True)


def _application() -> Any:
    """The application of the client."""
    import quickfix

    class Application(quickfix.Application):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.id: Any = None

        def onCreate(self, session_id: Any) -> None:  # noqa: N802 -- names of the library
            self.id = session_id

        def onLogon(self, session_id: Any) -> None:  # noqa: ARG002, N802
            _say(LOGGED_ON.strip())

        def onLogout(self, session_id: Any) -> None:  # noqa: N802
            pass

        def toAdmin(self, message: Any, session_id: Any) -> None:  # noqa: ARG002, N802
            if message.getHeader().getField(35) == "A":
                message.setField(quickfix.StringField(554, "secret"))

        def toApp(self, message: Any, session_id: Any) -> None:  # noqa: N802
            pass

        def fromAdmin(self, message: Any, session_id: Any) -> None:  # noqa: ARG002, N802
            if message.getHeader().getField(35) in ("3", "5"):
                _say(message.toString())

        def fromApp(self, message: Any, session_id: Any) -> None:  # noqa: ARG002, N802
            _say(message.toString())

    return Application()


def main(port: str, version: str, folder: Path, user: str, target: str, ca: str = "") -> None:
    """Trade until standard input ends."""
    import quickfix

    path = folder / "trader.cfg"
    application = "DefaultApplVerID=FIX.5.0SP2\n" if version == "FIXT.1.1" else ""
    tls = f"CERTIFICATE_AUTHORITIES_FILE={ca}\nSSL_PROTOCOL=+TLSv1_2\n" if ca else ""
    first, *others = port.split(",")
    more = "".join(
        f"SocketConnectHost{at}=127.0.0.1\nSocketConnectPort{at}={other}\n" for at, other in enumerate(others, 1)
    )
    path.write_text(
        "[DEFAULT]\nConnectionType=initiator\nReconnectInterval=1\nStartTime=00:00:00\nEndTime=00:00:00\n"
        f"FileStorePath={folder / 'store'}\nHeartBtInt=5\nUseDataDictionary=N\nSocketConnectHost=127.0.0.1\n"
        f"SocketConnectPort={first}\n{more}{application}{tls}CheckLatency=N\nLogonTimeout=60\n"
        f"[SESSION]\nBeginString={version}\nSenderCompID={user}\nTargetCompID={target}\n"
    )
    trader = _application()
    settings = quickfix.SessionSettings(str(path))
    store = quickfix.FileStoreFactory(settings)
    initiator = (quickfix.SSLSocketInitiator if ca else quickfix.SocketInitiator)(trader, store, settings)
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
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
