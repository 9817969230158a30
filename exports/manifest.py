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
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ExportError(f"{folder} has no {MANIFEST}, so it is no whole export; export again") from error
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} cannot be read: {error}") from error
    except RecursionError as error:
        raise ExportError(f"{path} cannot be read: its objects and lists are nested too deeply") from error
    if not isinstance(manifest, dict):
        raise ExportError(f"{path} is no manifest of an export; export again")
    if manifest.get("version") != VERSION or manifest.get("format") not in FORMATS:
        raise ExportError(f"{path} is of another version than this release reads ({VERSION})")
    if wrong := [key for key, kind in _FORM.items() if not _is(manifest.get(key), kind)]:
        raise ExportError(f"{path} is damaged: it has no {wrong[0]} in the form of a manifest; export again")
    return manifest


def _is(value: Any, kind: type) -> bool:
    """True if a value is of a kind; of an object all values are, and of a list all members are text."""
    if kind is list:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if kind in (dict, _Digests):
        inner = int if kind is dict else str
        return isinstance(value, dict) and all(type(each) is inner for each in value.values())
    return type(value) is kind


class _Digests:
    """Kind of an object whose values are text."""


#: Kinds of the values that every manifest has.
_FORM: Final[dict[str, type]] = {
    "journal_id": str, "last_seq": int, "event_digest": str, "symbols": list, "participants": list, "rows": dict,
    "digests": _Digests,
}  # fmt: skip


def table_names(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the tables that an export has, by its manifest; events in any case, since they are its proof."""
    return tuple(name for name in COLUMNS if name == "events" or name in manifest["rows"])
