"""The project's benchmarks, from the installed program: `lockstep bench`."""

from collections.abc import Iterator
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


def slices(*, as_json: bool) -> int:
    """Start of a node with a long history, and waits of clients while a slice begins."""
    return _run("slices", as_json)


def wire(plan: dict[str, Any], existing: tuple[str, int, list[Any], str] | None, *, quick: bool, as_json: bool) -> int:
    """Orders per second and round trips over OUCH. existing: host, port, users and symbol of a running node.

    Exit status 1 if an answer was missing or wrong, which ends the benchmark.
    """
    ready(often=True)
    from benchmarks import wire as benchmark
    from benchmarks.wire_node import Node

    plans = benchmark.Plan(**plan)
    plans = plans.quick() if quick else plans
    node = Node(existing[0], existing[1], existing[2], [existing[3]]) if existing else None
    return _printed(benchmark.run_on(node, plans) if node else benchmark.run(plans), as_json=as_json)


def takeover(plan: dict[str, int], *, quick: bool, as_json: bool) -> int:
    """Seconds of takeovers, and what a standby costs. Exit status 1 if a pair did not do what it must."""
    ready(gateway=True)
    from benchmarks import takeover as benchmark

    plans = benchmark.Plan(**plan)
    return _printed(benchmark.run(plans.quick() if quick else plans), as_json=as_json)


def catch_up(plan: dict[str, Any], *, as_json: bool) -> int:
    """Commands a second of a standby that catches up. Exit status 1 if a pair did not do what it must."""
    ready(gateway=True)
    from benchmarks import catch_up as benchmark

    return _printed(benchmark.run(benchmark.Plan(**plan)), as_json=as_json)


def _printed(found: Iterator[dict[str, Any]], *, as_json: bool) -> int:
    """Print rows as they come, or a table at the end."""
    from benchmarks.measure import machine
    from load.lines import LoadError

    where = machine()
    if not as_json:
        screen.facts(where.items())
        screen.print_line()
    rows = []
    try:
        with screen.Bar("loading") as bar:
            for row in found:
                bar.text(str(row["name"]))
                rows.append(row)
                if as_json:
                    screen.print_json(row | {"machine": where})
                    screen.flush()
    except LoadError as error:
        raise errors.CheckFailed(str(error)) from None
    finally:
        if not as_json:
            _table(rows)
    return errors.FINE


def _table(rows: list[dict[str, Any]]) -> None:
    from benchmarks.measure import told

    if rows:
        said = [told(row) for row in rows]
        columns = list(said[0])
        screen.table(columns, [list(row.values()) for row in said], right=columns[1:])


def _run(what: str, as_json: bool) -> int:
    ready(often=True)
    from benchmarks.measure import machine

    where = machine()
    benchmark = import_module(f"benchmarks.{what}")
    rows: list[dict[str, Any]] = benchmark.run()
    for row in rows:
        if as_json:
            screen.print_json(row | {"machine": where})
    if not as_json:
        _table(rows)
    return errors.FINE
