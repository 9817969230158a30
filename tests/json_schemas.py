"""The schemas of docs/json, and what an object that a command writes with --json has against its own."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

FOLDER = Path(__file__).parent.parent / "docs" / "json"
#: Definitions that several schemas share; no command's schema.
SHARED = "shared"


def name_of(words: Sequence[str]) -> str:
    """The schema of a command: ``admin user add`` has docs/json/admin-user-add.json."""
    return "-".join(words)


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by its name."""
    return {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}


@cache
def validator(name: str) -> Draft202012Validator:
    """Validator of the objects of a command."""
    every = schemas()
    resources = [(f"{each}.json", Resource.from_contents(schema)) for each, schema in every.items()]
    return Draft202012Validator(every[name], registry=Registry().with_resources(resources))


def complaints(words: Sequence[str], told: Any) -> list[str]:
    """Faults of an object by the schema of the command that wrote it; none where it is as promised."""
    return [f"{error.json_path}: {error.message}" for error in validator(name_of(words)).iter_errors(told)]


def checked(words: Sequence[str], said: str) -> list[dict[str, Any]]:
    """The objects of a command's output, one a line, each of which has to be as its schema says."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    found = [json.loads(line, parse_constant=refuse) for line in said.splitlines()]
    wrong = [complaint for each in found for complaint in complaints(words, each)]
    assert not wrong, "\n".join(wrong[:10])
    return found
