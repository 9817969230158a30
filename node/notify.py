"""Notifications to systemd: ready, alive, ending, and one line of status (``sd_notify``).

The protocol is a datagram to the socket that ``$NOTIFY_SOCKET`` names. Without one nothing is sent. Nothing here
raises: a notification that fails is no reason to stop.
"""

import os
import socket
from collections.abc import Mapping
from typing import Final

_STATUS_CHARACTERS_MAX: Final = 500


class Notifier:
    """Notifications to the supervisor that started this process, if there is one.

    ``environment``: source of NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        found = os.environ if environment is None else environment
        self._address = _address(found.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = _watchdog_s(found)

    @property
    def watchdog_s(self) -> float | None:
        """Half of the supervisor's watchdog time, in seconds; None if it does not watch."""
        return self._watchdog_s

    def ready(self, status: str = "") -> bool:
        """Notify that the node takes orders."""
        return self._send("READY=1", status)

    def stopping(self, status: str = "") -> bool:
        """Notify that the node has begun to end."""
        return self._send("STOPPING=1", status)

    def watchdog(self, status: str = "") -> bool:
        """Notify that the node is alive."""
        return self._send("WATCHDOG=1", status)

    def status(self, status: str) -> bool:
        """Send one line of status for `systemctl status`."""
        return self._send("", status)

    def _send(self, state: str, status: str) -> bool:
        """Send a notification; True if it was sent."""
        if self._address is None:
            return False
        line = "".join(c if c.isprintable() else " " for c in status)[:_STATUS_CHARACTERS_MAX]
        text = "\n".join(filter(None, (state, f"STATUS={line}" if line else "")))
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # a supervisor that does not read must not delay the market
                sender.sendto(text.encode("utf-8", "replace"), self._address)
        except (OSError, ValueError):
            return False
        return True


def _address(name: str) -> bytes | None:
    """Address of the socket: a path, or a name in the abstract namespace after ``@``."""
    if name.startswith("@"):
        return b"\0" + os.fsencode(name[1:])
    return os.fsencode(name) if name.startswith("/") else None


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    try:
        pid = int(environment.get("WATCHDOG_PID", os.getpid()))
        waited_us = int(environment["WATCHDOG_USEC"])
    except (KeyError, ValueError):
        return None
    return waited_us / 2e6 if waited_us > 0 and pid == os.getpid() else None
