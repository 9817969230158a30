"""Phases to come by schedules, as JSON objects (rulebook section 13, 37)."""

from typing import Any

from engine.interface import MarketEngine
from engine.records import Phase
from notation.words import iso_time

Object = dict[str, Any]


def schedule_objects(engine: MarketEngine, first: int = 0, most: int | None = None) -> list[Object]:
    """Schedules that wait, in the order of their times, ``most`` at most from number ``first`` (0, 1, …) on."""
    symbols = engine.directory.symbols
    return [
        {
            "time": iso_time(int(row["due_ns"])),
            "symbol": symbols[int(row["instrument"]) - 1] if row["instrument"] else "*",
            "phase": Phase(int(row["phase"])).name.lower(),
        }
        for row in engine.schedules()[first:][:most]
    ]
