"""Write requirements.lock and requirements-run.lock: what pip would install, pinned by version and by hash.

The second holds what lockstep runs with, the first that and what its tests need. The versions are those that pip
chooses for the Python that runs this. A hash is of a wheel, one for each Python of ``OTHERS`` too, or of the source of
what is in ``SOURCES``, which is published without one.
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HEADER = """\
# Every package that lockstep{}, pinned by version and by the hashes of its wheels for CPython
# 3.11, 3.12 and 3.13 on Linux x86_64 (other platforms are refused: pin them here first).{}
# `make lock` writes this file again from pyproject.toml.
"""
SOURCE_ONLY = """ asn1tools, of which the tests' nasdaq-protocols says
# that it needs it, is published as source only."""

#: Packages without a wheel, built on installation.
SOURCES = ("asn1tools",)

#: Versions of Python whose wheels are pinned beside those of the one that runs this.
OTHERS = ("3.12", "3.13")


def chosen(*arguments: str) -> list[dict[str, Any]]:
    """Packages that pip would install, as its report has them."""
    options = ["--dry-run", "--ignore-installed", "--only-binary=:all:", "--quiet", "--report", "-"]
    report = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, *arguments], stdout=subprocess.PIPE, check=True
    )
    packages: list[dict[str, Any]] = json.loads(report.stdout)["install"]
    return packages


def hash_of(package: dict[str, Any]) -> str:
    """The hash of the file that pip would install."""
    return str(package["download_info"]["archive_info"]["hashes"]["sha256"])


def name_of(requirement: str) -> str:
    """The name in a requirement, as in the lock.

    >>> name_of("Typing_Extensions>=4.8; python_version < '3.12'")
    'typing-extensions'
    """
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def needed(wanted: Iterable[str], packages: dict[str, dict[str, Any]]) -> set[str]:
    """Names of the wanted packages and of all that they need."""
    found: set[str] = set()
    left = [name_of(each) for each in wanted]
    while left:
        name = left.pop()
        if name in packages and name not in found:
            found.add(name)
            requirements = packages[name]["metadata"].get("requires_dist", [])
            left += [name_of(each) for each in requirements if "extra ==" not in each]
    return found


def lines(names: Iterable[str], packages: dict[str, dict[str, Any]], hashes: dict[str, set[str]]) -> str:
    """The pins of packages, in order of their names."""
    return "".join(
        " \\\n    --hash=sha256:".join((f"{name}=={packages[name]['metadata']['version']}", *sorted(hashes[name])))
        + "\n"
        for name in sorted(names)
    )


def main() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    runs_with = project["project"]["dependencies"] + project["build-system"]["requires"]
    wanted = runs_with + project["project"]["optional-dependencies"]["dev"]
    found = chosen(*(f"--no-binary={name}" for name in SOURCES), *wanted)
    packages = {name_of(each["metadata"]["name"]): each for each in found}
    hashes = {name: {hash_of(each)} for name, each in packages.items()}
    exact = [f"{name}=={each['metadata']['version']}" for name, each in packages.items() if name not in SOURCES]
    for python in OTHERS:
        with tempfile.TemporaryDirectory() as target:
            for each in chosen("--no-deps", "--python-version", python, "--target", target, *exact):
                hashes[name_of(each["metadata"]["name"])].add(hash_of(each))
    Path("requirements.lock").write_text(
        HEADER.format(" and its tests are built with", SOURCE_ONLY) + lines(packages, packages, hashes)
    )
    Path("requirements-run.lock").write_text(
        HEADER.format(" runs with", "") + lines(needed(runs_with, packages), packages, hashes)
    )


if __name__ == "__main__":
    main()
