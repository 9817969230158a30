"""requirements.lock holds what pyproject.toml asks for, with the wheels of every Python that is allowed."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Libraries with compiled code for just one version of Python in a wheel.
COMPILED = ("lmdb", "llvmlite", "msgpack", "numba", "numpy", "uvloop", "xxhash")


def test_every_pin_of_the_project_is_in_the_lock_at_the_same_version() -> None:
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", LOCK, re.MULTILINE))
    wanted = dict(each.split("==") for each in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
    assert {name: pins.get(name) for name in wanted} == wanted


def test_compiled_libraries_have_a_hash_for_each_allowed_python() -> None:
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    hashes = {
        name: block.count("--hash=") for name, block in re.findall(r"^([\w-]+)==((?:.*\\\n)+.*)$", LOCK, re.MULTILINE)
    }
    assert {name: hashes[name] for name in COMPILED} == dict.fromkeys(COMPILED, 3)
