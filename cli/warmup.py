"""Compilation of the kernels, once for a machine and version, with a progress display."""

import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from cli import errors, kernel_sets, screen


def ready(
    *,
    often: bool = False,
    gateway: bool = False,
    native: bool = False,
    reports: bool = False,
    feed: bool = False,
    web: bool = False,
) -> None:
    """Compile the kernels that are not in the cache, with one progress display.

    Without any of the options: those of the engine, for a program that calls them seldom, without Numba. often: the
    same by Numba, whose start takes longer and whose calls are shorter (ADR 94).
    gateway: load those of the gateway too, as a node does before it opens a port. native, reports: in their place those
    of native order entry, or of FIX, and of reports, for a gateway of it. feed: compile those of the market data feed,
    and load them. web: those of market data for web clients.
    """
    if web:
        _compile_missing(kernel_sets.ENGINE, kernel_sets.REPORTS, kernel_sets.LADDERS)
        kernel_sets.kernel_set(kernel_sets.LADDERS).compile_kernels()
        return
    if feed:
        _compile_missing(kernel_sets.ENGINE, kernel_sets.REPORTS, kernel_sets.ITCH, kernel_sets.FEED)
        kernel_sets.kernel_set(kernel_sets.ITCH).compile_kernels()
        kernel_sets.kernel_set(kernel_sets.FEED).compile_kernels()
        return
    if not gateway:
        _compile_missing(kernel_sets.ENGINE)
        if not often:
            from engine.jit import call_stored_code

            call_stored_code()
        return
    with_reports = (kernel_sets.REPORTS, kernel_sets.NATIVE if native else kernel_sets.FIX)
    beside = with_reports if native or reports else ()
    _compile_missing(kernel_sets.ENGINE, kernel_sets.GATEWAY, *beside)
    # A gateway of FIX or native order entry uses no kernel of OUCH: loaded, they would take 20 MB.
    for name in beside or (kernel_sets.GATEWAY,):
        kernel_sets.kernel_set(name).compile_kernels()


def _compile_missing(*names: str) -> bool:
    """Compile the sets that are not in the cache; False if all are. Raises WrongUse where that cannot be."""
    missing = [name for name in names if not kernel_sets.kernel_set(name).is_compiled()]
    if missing:
        _check_compiler()
        _check_place()
        _show_progress(lambda: _compile(missing))
    return bool(missing)


def _check_compiler() -> None:
    """Refuse another release of Numba, which may have all that is changed in it, and compile something else."""
    from importlib.metadata import version as version_of

    found = version_of("numba")
    if found != errors.NUMBA:
        raise errors.WrongUse(errors.other_numba(found))


def _check_place() -> None:
    """Refuse a cache that cannot be written, before minutes of work that each program of a node would do again."""
    from engine.kernel_cache import cache_directory

    place = cache_directory()
    try:
        place.mkdir(parents=True, exist_ok=True)
        for folder in (place, place.parent):
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise errors.WrongUse(
            f"the kernels have to be compiled, and {place} cannot be written ({error.strerror}); set LOCKSTEP_CACHE_DIR"
            " to a directory that can, or run `lockstep warmup` as a user who may write there"
        ) from error


def _compile(names: list[str]) -> None:
    """Compile the engine's kernels here and the others in a child; what the child leaves is compiled here."""
    others = [name for name in names if name != kernel_sets.ENGINE]
    if others and len(others) < len(names):
        child = subprocess.Popen(
            [sys.executable, "-m", "cli.kernel_sets", *others],
            stdin=subprocess.PIPE,  # the other end closes when this process ends, however that happens
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            kernel_sets.kernel_set(kernel_sets.ENGINE).compile_kernels()
            child.wait()
        finally:
            child.kill()
            child.wait()
    for name in names:
        kernel_sets.kernel_set(name).compile_kernels()


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
    from engine.kernel_cache import cache_directory

    began_s = time.monotonic()
    was_warm = not _compile_missing(*kernel_sets.EACH)
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
    from importlib.metadata import version as version_of  # it takes 30 ms to load

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
