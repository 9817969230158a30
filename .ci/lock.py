"""Write requirements.lock and requirements-run.lock: what pip would install, pinned by version and by hash.

The second holds what lockstep runs with, the first that and what its tests need. The hash is of the wheel, or of the
source of what is in ``SOURCES``, which is published without one.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HEADER = """\
# Every package that lockstep{}, pinned by version and by the hash of its wheel for CPython 3.11
# on Linux x86_64 (other platforms are refused: pin them here first).{}
# `make lock` writes this file again from pyproject.toml.
"""
SOURCE_ONLY = """ asn1tools, of which the tests' nasdaq-protocols says
# that it needs it, is published as source only."""

#: Packages without a wheel, built on installation.
SOURCES = ("asn1tools",)


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


def lines(names: Iterable[str], packages: dict[str, dict[str, Any]]) -> str:
    """The pins of packages, in order of their names."""
    return "".join(
        f"{name}=={packages[name]['metadata']['version']} \\\n"
        f"    --hash=sha256:{packages[name]['download_info']['archive_info']['hashes']['sha256']}\n"
        for name in sorted(names)
    )


def main() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    runs_with = project["project"]["dependencies"] + project["build-system"]["requires"]
    wanted = runs_with + project["project"]["optional-dependencies"]["dev"]
    options = ["--dry-run", "--ignore-installed", "--only-binary=:all:", "--quiet", "--report", "-"]
    options += [f"--no-binary={name}" for name in SOURCES]
    report = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, *wanted], stdout=subprocess.PIPE, check=True
    )
    packages = {name_of(each["metadata"]["name"]): each for each in json.loads(report.stdout)["install"]}
    Path("requirements.lock").write_text(
        HEADER.format(" and its tests are built with", SOURCE_ONLY) + lines(packages, packages)
    )
    Path("requirements-run.lock").write_text(
        HEADER.format(" runs with", "") + lines(needed(runs_with, packages), packages)
    )


if __name__ == "__main__":
    main()
