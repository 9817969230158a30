"""The two lock files: what `make run` installs is part of what `make test` does, in the same versions."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def pins(name: str) -> dict[str, str]:
    """Version and hashes of each package of a lock file."""
    return dict(re.findall(r"^([a-z0-9-]+)==((?:.*\\\n)+.*)$", (ROOT / name).read_text(), re.M))


def test_what_lockstep_runs_with_is_pinned_as_it_is_for_the_tests() -> None:
    runs, all_of_them = pins("requirements-run.lock"), pins("requirements.lock")
    assert runs.items() < all_of_them.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for pin in project["project"]["dependencies"] + project["build-system"]["requires"]:
        name, version = pin.split("==")
        assert runs[name].startswith(f"{version} "), pin
