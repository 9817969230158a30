"""Image of a gateway process: the tables of its streams after a command, so that its next start need not begin at
command 1.

The file is no part of a checkpoint and proves nothing: it names the block of the journal up to which it goes, and its
projection looks at the spools that it speaks of. One that cannot be used is left, and the streams are made from the
journal again.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from checkpoints import Projection
from replay.feed import block_at

_NAME: Final = "streams.image"
_HEAD: Final = "head"


def folder_of(directory: Path, gateway: str) -> Path:
    """Folder of a gateway in a data directory: its spools and its image."""
    return directory / "gateways" / gateway


def save(folder: Path, directory: Path, projection: Projection, seq: int) -> bool:
    """Write the image after command ``seq``, whose block must be in the journal; False if it is not. Raises OSError."""
    checksum = block_at(directory, seq)
    if not checksum:
        return False
    projection.flush()
    head = {"seq": seq, "block": checksum.hex(), "version": projection.version, "digest": projection.digest().hex()}
    aside = folder / f".{_NAME}.new"
    with aside.open("wb") as file:
        arrays: dict[str, Any] = {_HEAD: np.frombuffer(json.dumps(head).encode(), np.uint8), **projection.image()}
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    aside.chmod(0o600)
    aside.replace(folder / _NAME)
    return True


def restore(folder: Path, directory: Path, projection: Projection) -> tuple[int, str]:
    """Restore a projection that stands before the first command; gives the command behind which it stands, and why not
    behind a later one."""
    path = folder / _NAME
    if not path.exists():
        return 0, "there is no image yet"
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name] for name in file.files}
        head = json.loads(arrays.pop(_HEAD).tobytes())
        seq, block = int(head["seq"]), bytes.fromhex(head["block"])
        if head["version"] != projection.version:
            return 0, "its image is of another release"
        if block_at(directory, seq) != block:
            return 0, f"the journal has not kept the commands up to {seq} that its image has"
        projection.restore(arrays, seq)
        if projection.digest().hex() == head["digest"]:
            return seq, ""
        why = "its image has another digest than it says"
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        why = f"its image cannot be used: {error}"
    projection.clear()
    return 0, why
