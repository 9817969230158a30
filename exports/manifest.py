"""The manifest of an export: what is in its folder, for all who read it, without what writes and proves it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from exports.columns import COLUMNS
from exports.errors import ExportError

MANIFEST: Final = "manifest.json"
VERSION: Final = 6
#: Formats of an export; ``exports.formats`` writes and reads each.
FORMATS: Final = ("csv", "sqlite", "parquet", "arrow", "sql")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Manifest of an export. Raises ExportError where there is none that this release reads."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise ExportError(f"{folder} has no {MANIFEST}, so it is no whole export; export again") from error
    except (OSError, ValueError) as error:
        raise ExportError(f"{folder / MANIFEST} cannot be read: {error}") from error
    if manifest.get("version") != VERSION or manifest.get("format") not in FORMATS:
        raise ExportError(f"{folder / MANIFEST} is of another version than this release reads ({VERSION})")
    return manifest


def table_names(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the tables that an export has, by its manifest; events in any case, since they are its proof."""
    return tuple(name for name in COLUMNS if name == "events" or name in manifest["rows"])
