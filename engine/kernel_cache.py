"""Place of the compiled kernels on this machine, found without loading Numba.

Numba's own cache does not see an edit in a function that a cached one calls, so a stale kernel could answer. The
cache folder is therefore named by a digest of every source file of the engine and of the versions that compile
them. Kernels of another folder, which may call these and each other, have a cache folder beside it. A digest of their
sources too names it, and of all that they import of this program: what they take from it is in the machine code.
"""

import hashlib
import os
import platform
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent


def _source_digest() -> str:
    hasher = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
        hasher.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return hasher.hexdigest()[:32]


#: Digest (32 hexadecimal digits) of the engine's sources: which kernels these are.
SOURCE_DIGEST: Final = _source_digest()


def cache_directory() -> Path:
    """Folder of the compiled kernels: one per user, sources, versions, processor and mode."""
    base = os.environ.get("LOCKSTEP_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "lockstep"
    )
    mode = "boundscheck" if os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0") else "plain"
    return Path(base) / "kernels" / f"{SOURCE_DIGEST[:16]}-{_compiler()}-{mode}"


@cache
def _compiler() -> str:
    return "-".join((platform.python_version(), _release("numba"), _release("numpy"), platform.machine()))


def _release(package: str) -> str:
    """Release of an installed package, by the folder beside it that is named by it: the catalogue of all packages takes
    30 ms to load, and is asked where there is no such folder.
    """
    found = find_spec(package)
    beside = Path(found.origin).parents[1] if found is not None and found.origin is not None else None
    named = [] if beside is None else list(beside.glob(f"{package}-*.dist-info"))
    if len(named) == 1:
        return named[0].name.removeprefix(f"{package}-").removesuffix(".dist-info")
    from importlib.metadata import version

    return version(package)


def cache_directory_of(folder: Path) -> Path:
    """Folder of the compiled kernels of a folder of sources: of the engine's own, or one beside it."""
    if folder == _HERE:
        return cache_directory()
    return cache_directory().with_name(f"{cache_directory().name}-{folder.name}-{_kernels_digest(folder)}")


@cache
def _kernels_digest(folder: Path) -> str:
    hasher = hashlib.sha256()
    for path, source in sorted(kernel_sources(folder).items()):
        hasher.update(path.relative_to(_root_of(folder)).as_posix().encode() + b"\0" + source + b"\0")
    return hasher.hexdigest()[:16]


def _root_of(folder: Path) -> Path:
    """Folder from which the sources in a folder import each other."""
    root = _HERE.parent
    return root if root in folder.parents else folder.parent


_KERNEL: Final = re.compile(rb"^@(?:called|inlined|rare)$", re.MULTILINE)
_IMPORT: Final = re.compile(rb"^\s*(?:from ([\w.]+) import (\([^)]*\)|[^\n]*)|import ([\w.]+))", re.MULTILINE)


def kernel_sources(folder: Path) -> dict[Path, bytes]:
    """Content of each file with kernels in a folder, and of each file of ours that they import, but for the engine."""
    left = [path for path in folder.glob("*.py") if _KERNEL.search(path.read_bytes())]
    found: dict[Path, bytes] = {}
    while left:
        path = left.pop()
        if path not in found and _HERE not in path.parents:
            found[path] = path.read_bytes()
            left += _imported(found[path], _root_of(folder))
    return found


def _imported(source: bytes, root: Path) -> list[Path]:
    """Files below ``root`` that a source imports."""
    found = []
    for module, names, alone in _IMPORT.findall(source):
        place = root.joinpath(*(module or alone).decode().split("."))
        inside = [place / f"{name.decode()}.py" for name in re.findall(rb"\w+", names)]
        found += [path for path in (place.with_suffix(".py"), place / "__init__.py", *inside) if path.is_file()]
    return found
