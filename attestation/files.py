"""Files of attestations and proofs: a JSON object that names its form and the form's version."""

import json
from pathlib import Path
from typing import Any

from attestation.errors import AttestationError


def read(path: Path, form: str, version: int, article: str, noun: str) -> dict[str, Any]:
    """Read a file of a form. ``article``, ``noun``: its words in sentences. Raises AttestationError for another."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise AttestationError(f"there is no {path}; check the path") from error
    except (OSError, ValueError) as error:
        raise AttestationError(f"{path} cannot be read as {article} {noun}: {error}") from error
    except RecursionError as error:
        raise AttestationError(
            f"{path} cannot be read as {article} {noun}: its objects and lists are nested too deeply"
        ) from error
    if not isinstance(found, dict) or found.get("format") != form or found.get("version") != version:
        raise AttestationError(f"{path} is no {noun} of a form that this release reads ({version})")
    return found
