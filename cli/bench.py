"""`lockstep bench engine|journal|replay`: the project's benchmarks, from the installed program."""

from importlib import import_module
from typing import Any

from cli import errors, screen
from cli.warmup import ready


def engine(*, as_json: bool) -> int:
    """Commands per second of the engine."""
    return _run("engine", as_json)


def journal(*, as_json: bool) -> int:
    """Commands per second through journal and engine."""
    return _run("journal", as_json)


def replay(*, as_json: bool) -> int:
    """Commands per second of a verified replay."""
    return _run("replay", as_json)


def _run(what: str, as_json: bool) -> int:
    ready()
    benchmark = import_module(f"benchmarks.{what}")
    rows: list[dict[str, Any]] = benchmark.run()
    for row in rows:
        if as_json:
            screen.say_json(row)
    if rows and not as_json:
        columns = list(rows[0])
        screen.table(columns, [[row.get(column, "") for column in columns] for row in rows], right=columns[1:])
    return errors.FINE
