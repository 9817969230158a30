"""The engine of another release, at work for a comparison: a program that the other release's interpreter runs.

It reads requests from standard input, each a line of JSON and then bytes, and answers in the same form. Of the release
it uses the interface of engines alone, which is older than what compares them.
"""

import io
import json
import sys
from typing import Any

import numpy as np


def main() -> int:
    """Serve requests until standard input ends."""
    from engine.capacity import Capacity
    from engine.interface import new_engine, restore_engine
    from engine.records import COMMAND, RULES_VERSION
    from engine.state import STATE_LAYOUT, STATE_VERSION

    engine: Any = None
    kept: dict[int, Any] = {}
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while line := source.readline():
        asked = json.loads(line)
        body = source.read(asked.get("bytes", 0))
        told: dict[str, Any] = {}
        given = b""
        match asked["do"]:
            case "form":
                told = {"rules": RULES_VERSION, "version": STATE_VERSION, "layout": STATE_LAYOUT.hex()}
            case "new":
                engine = new_engine("kernel", Capacity(**asked["capacity"]))
            case "restore":
                parts = parts_of(body)
                digest = bytes.fromhex(asked["digest"])
                engine = restore_engine("kernel", Capacity(**asked["capacity"]), asked["seq"], digest, parts)
            case "apply":
                rows = np.frombuffer(body, np.uint8).copy().view(COMMAND)
                given = engine.apply(rows).tobytes()
            case "digests":
                told = {"parts": {part: digest.hex() for part, digest in engine.part_digests().items()}}
            case "parts":
                given = bytes_of(engine.parts())
            case "views":
                names = ("open_orders", "instruments", "positions", "participants", "limits")
                given = bytes_of({"views": {name: getattr(engine, name)() for name in names}})
                told = {"digest": engine.event_digest.hex()}
            case "keep":
                copied = {part: {n: a.copy() for n, a in each.items()} for part, each in engine.parts().items()}
                kept[asked["number"]] = (engine.capacity, engine.seq, engine.event_digest, copied)
                for number in [number for number in kept if number not in asked["numbers"]]:
                    del kept[number]
            case "back":
                engine = restore_engine("kernel", *kept[asked["number"]])
        sink.write(json.dumps({**told, "bytes": len(given)}).encode() + b"\n" + given)
        sink.flush()
    return 0


def bytes_of(parts: Any) -> bytes:
    """Arrays of parts as the bytes of an archive of NumPy."""
    file = io.BytesIO()
    np.savez(file, **{f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()})
    return file.getvalue()


def parts_of(body: bytes) -> dict[str, dict[str, Any]]:
    """Parts of an archive of NumPy."""
    parts: dict[str, dict[str, Any]] = {}
    with np.load(io.BytesIO(body), allow_pickle=False) as found:
        for key in found.files:
            part, _, name = key.partition("/")
            parts.setdefault(part, {})[name] = found[key]
    return parts


if __name__ == "__main__":
    sys.exit(main())
