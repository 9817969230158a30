"""Data directories as earlier releases left them, for tests of upgrades; README.md says how they were made."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
#: Names of the directories, and the RULES_VERSION of each.
RELEASES: Final = {"release-0.1": 3, "release-rules-3": 3, "release-rules-4": 4, "release-rules-5": 5}


def release_copy(name: str, target: Path) -> Path:
    """A copy that may be written, at ``target``, which does not exist yet."""
    shutil.copytree(HERE / name, target)
    target.chmod(0o700)
    for path in target.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return target


def release_content(name: str) -> dict[str, Any]:
    """Content of the directory by the release that wrote it: numbers, digest, views as objects, streams by session and
    user number (messages, bytes, crc32 of the bytes)."""
    content: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return content
