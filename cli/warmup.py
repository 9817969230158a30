"""The compiled engine, made ready: compiled once a machine and version, with something to look at meanwhile."""

import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version as version_of

from cli import errors, screen


def ready(*, gateway: bool = False) -> None:
    """Compile the kernels if they are not cached: a progress display on a terminal, one line elsewhere.

    gateway: those of the gateway too, which a node needs before it opens a port.
    """
    import engine

    if not engine.warm():
        _compile("the engine", engine.compile_kernels)
    if gateway:
        from gateway import kernels

        if kernels.warm():
            kernels.compile_kernels()
        else:
            _compile("the gateway", lambda _step: kernels.compile_kernels())


def _compile(what: str, compile_kernels: Callable[[Callable[[str], None]], None]) -> None:
    if not screen.is_live(sys.stderr):
        screen.notice(f"compiling {what}: once for this machine and version, up to a minute")
        compile_kernels(lambda _step: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("once, up to a minute"))
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        task = progress.add_task(f"compiling {what}", total=None)
        compile_kernels(lambda step: progress.update(task, description=step))


def warmup(*, as_json: bool) -> int:
    """`lockstep warmup`: compile, then say where the kernels are."""
    import engine
    from engine.jit import cache_directory

    began_s = time.monotonic()
    from gateway import kernels

    was_warm = engine.warm() and kernels.warm()
    ready(gateway=True)
    seconds = time.monotonic() - began_s
    if as_json:
        screen.say_json({"compiled": not was_warm, "seconds": round(seconds, 3), "cache": str(cache_directory())})
    elif was_warm:
        screen.say(f"the engine is compiled already ({cache_directory()})")
    else:
        screen.say(f"compiled the engine in {seconds:.1f} s ({cache_directory()})")
    return errors.FINE


def version(*, as_json: bool) -> int:
    """`lockstep version`: lockstep, rules, kernels and the libraries that decide how fast and where."""
    from engine.jit import SOURCE_DIGEST
    from engine.records import RULES_VERSION

    libraries = {name: version_of(name) for name in ("numpy", "numba", "lmdb", "msgpack", "xxhash")}
    if as_json:
        known = {"lockstep": version_of("lockstep"), "rules_version": RULES_VERSION, "source_digest": SOURCE_DIGEST}
        screen.say_json(known | {"python": platform.python_version(), "libraries": libraries})
        return errors.FINE
    screen.say(f"lockstep {version_of('lockstep')}")
    listed = [
        ("rules version", RULES_VERSION),
        ("kernel sources", SOURCE_DIGEST),
        ("python", platform.python_version()),
    ]
    screen.facts([*listed, *libraries.items()])
    return errors.FINE
