"""Commands that wait for their effect in a venue with an entry delay, as JSON objects (rulebook section 10)."""

from typing import Any

from engine.interface import MarketEngine
from engine.names import unpack
from engine.records import CommandKind
from engine.row_bytes import ROW
from notation.print import row_text
from notation.words import iso_time

Object = dict[str, Any]


def waiting_objects(engine: MarketEngine) -> list[Object]:
    """Commands that wait, in the order in which it is due."""
    names, found = engine.directory, engine.waiting()
    return [
        {
            "seq": int(seq),
            "due_time": iso_time(int(due_ns)),
            "kind": CommandKind(int(row["kind"])).name.lower(),
            "participant": _name(names.participants, int(row["participant"])),
            "client_order_id": unpack(int(row["client_order_id"])) if row["client_order_id"] else None,
            "text": row_text(ROW.unpack(row.tobytes()), names),
        }
        for seq, due_ns, row in zip(found.seq, found.due_ns, found.commands, strict=True)
    ]


def _name(names: tuple[str, ...], number: int) -> str | None:
    return names[number - 1] if 0 < number <= len(names) else None
