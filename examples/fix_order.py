"""One order by FIX 4.4, immediate or cancel: python examples/fix_order.py HOST:PORT USER SIDE QTY SYMBOL PRICE

The port is that of `lockstep serve --gateway fix:PORT`. The password is in the variable LOCKSTEP_PASSWORD. Every FIX
engine logs on alike: SenderCompID is the user, TargetCompID is LOCKSTEP, Password (554) goes into the Logon.
"""

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from itertools import count

FRAME = re.compile(rb"8=FIX.*?\x0110=\d{3}\x01", re.DOTALL)
STATES = {"0": "new", "1": "partially filled", "2": "filled", "4": "canceled", "8": "rejected", "C": "expired"}
if len(sys.argv) != 7 or sys.argv[3] not in ("buy", "sell"):
    sys.exit(__doc__)
address, user, side, qty, symbol, price = sys.argv[1:]
host, _, port = address.rpartition(":")
numbers = count(1)


def message(kind: str, *fields: str) -> bytes:
    """Message with header, body length and checksum."""
    now = time.strftime("%Y%m%d-%H:%M:%S", time.gmtime())
    head = (f"35={kind}", f"49={user}", "56=LOCKSTEP", f"34={next(numbers)}", f"52={now}")
    body = "".join(f"{field}\x01" for field in (*head, *fields)).encode()
    framed = b"8=FIX.4.4\x019=%d\x01" % len(body) + body
    return framed + b"10=%03d\x01" % (sum(framed) % 256)


def messages(connection: socket.socket) -> Iterator[dict[str, str]]:
    """Messages of the exchange as they come, each as values by tag."""
    data = b""
    while got := connection.recv(4096):
        data += got
        while frame := FRAME.match(data):
            data = data[frame.end() :]
            yield dict(field.split("=", 1) for field in frame[0].decode().rstrip("\x01").split("\x01"))


def order() -> bytes:
    """NewOrderSingle: a limit order that trades at once or is canceled, with a ClOrdID that no other run has."""
    code = "1" if side == "buy" else "2"
    now = time.strftime("%Y%m%d-%H:%M:%S", time.gmtime())
    terms = (f"55={symbol}", f"54={code}", f"38={qty}", "40=2", f"44={price}", "59=3", f"60={now}")
    return message("D", f"11={time.time_ns() // 1_000_000}", *terms)


try:
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        # ResetSeqNumFlag (141): numbers begin at 1 with each run, so the program keeps no file of them.
        logon = message("A", "98=0", "108=0", "141=Y", f"554={os.environ['LOCKSTEP_PASSWORD']}")
        connection.sendall(logon)
        for each in messages(connection):
            if each["35"] == "A":
                print(f"{user} is logged on", flush=True)
                connection.sendall(order())
            elif each["35"] == "8":
                state, traded, left = STATES.get(each["39"], each["39"]), each["14"], each["151"]
                print(f"{state}: {traded} traded, {left} open {each.get('58', '')}".rstrip(), flush=True)
                if left == "0":
                    connection.sendall(message("5"))
            else:
                print(f"{'logged out' if each['35'] == '5' else 'refused'} {each.get('58', '')}".rstrip(), flush=True)
except KeyError as error:
    sys.exit(f"set the variable {error.args[0]}")
except (OSError, ValueError) as error:
    sys.exit(f"{address}: {error}")
