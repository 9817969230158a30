"""Compilation of the kernels, once for a machine and version, with a progress display."""

import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version as version_of

from cli import errors, screen


def ready(*, gateway: bool = False) -> None:
    """Compile the kernels that are not in the cache, with one progress display.

    gateway: load those of the gateway too, as a node does before it opens a port. Two processes compile the two sets
    side by side.
    """
    import engine

    if not gateway:
        if not engine.is_compiled():
            _show_progress(engine.compile_kernels)
        return
    from gateway.ouch import kernels

    if engine.is_compiled() and kernels.is_compiled():
        kernels.compile_kernels()
    elif engine.is_compiled():
        _show_progress(kernels.compile_kernels)
    elif kernels.is_compiled():
        _show_progress(engine.compile_kernels)
        kernels.compile_kernels()
    else:
        _show_progress(_compile_both)


def _compile_both() -> None:
    """Compile the engine's kernels here and the gateway's in a child; if the child fails, its rest is compiled here."""
    import engine
    from gateway.ouch import kernels

    child = subprocess.Popen(
        [sys.executable, "-m", "gateway.ouch.kernels", "--while-stdin"],
        stdin=subprocess.PIPE,  # the other end closes when this process ends, however that happens
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        engine.compile_kernels()
        child.wait()
    finally:
        child.kill()
        child.wait()
    kernels.compile_kernels()


def _show_progress(compile_kernels: Callable[[], None]) -> None:
    if not screen.is_live(sys.stderr):
        screen.notice("compiling the kernels: once for this machine and version; one to four minutes")
        compile_kernels()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("once, about a minute"))
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        progress.add_task("compiling the kernels", total=None)
        compile_kernels()


def warmup(*, as_json: bool) -> int:
    """`lockstep warmup`: compile the kernels, and print where they are."""
    import engine
    from engine.kernel_cache import cache_directory

    began_s = time.monotonic()
    from gateway.ouch import kernels
    from reports import projection

    was_warm = engine.is_compiled() and kernels.is_compiled() and projection.is_compiled()
    ready(gateway=True)
    if not projection.is_compiled():
        _show_progress(projection.compile_kernels)
    seconds = time.monotonic() - began_s
    if as_json:
        screen.print_json({"compiled": not was_warm, "elapsed_s": round(seconds, 3), "cache": str(cache_directory())})
    elif was_warm:
        screen.print_line(f"the kernels are compiled already ({cache_directory()})")
    else:
        screen.print_line(f"compiled the kernels in {seconds:.1f} s ({cache_directory()})")
    return errors.FINE


def version(*, as_json: bool) -> int:
    """`lockstep version`: print the versions of lockstep, rules, kernels and libraries."""
    from engine.kernel_cache import SOURCE_DIGEST
    from engine.records import RULES_VERSION

    libraries = {name: version_of(name) for name in ("numpy", "numba", "lmdb", "msgpack", "xxhash")}
    if as_json:
        known = {"lockstep": version_of("lockstep"), "rules_version": RULES_VERSION, "source_digest": SOURCE_DIGEST}
        screen.print_json(known | {"python": platform.python_version(), "libraries": libraries})
        return errors.FINE
    screen.print_line(f"lockstep {version_of('lockstep')}")
    listed = [
        ("rules version", RULES_VERSION),
        ("kernel sources", SOURCE_DIGEST),
        ("python", platform.python_version()),
    ]
    screen.facts([*listed, *libraries.items()])
    return errors.FINE
