"""Print requirements.lock: what pip would install for pyproject.toml, pinned by version and by hash.

The hash is of the wheel, or of the source of what is in ``SOURCES``, which is published without one.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

HEADER = """\
# Every package that lockstep and its tests are built with, pinned by version and by the hash of its wheel for
# CPython 3.11 on Linux x86_64 (other platforms are refused: pin them here first). asn1tools, of which the tests'
# nasdaq-protocols says that it needs it, is published as source only.
# `make lock` writes this file again from pyproject.toml.
"""

#: Packages without a wheel, built on installation.
SOURCES = ("asn1tools",)


def main() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    options = ["--dry-run", "--ignore-installed", "--only-binary=:all:", "--quiet", "--report", "-"]
    options += [f"--no-binary={name}" for name in SOURCES]
    report = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, *wanted], stdout=subprocess.PIPE, check=True
    )
    pins = {}
    for package in json.loads(report.stdout)["install"]:
        name = package["metadata"]["name"].lower().replace("_", "-")
        pins[name] = (package["metadata"]["version"], package["download_info"]["archive_info"]["hashes"]["sha256"])
    lines = [f"{name}=={version} \\\n    --hash=sha256:{digest}" for name, (version, digest) in sorted(pins.items())]
    print(HEADER + "\n".join(lines))


if __name__ == "__main__":
    main()
