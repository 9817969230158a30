"""Docstrings and comments of constants begin with a noun phrase or an imperative, never with a question word."""

import re
from collections.abc import Iterator

import pytest

from tests.sources import facts, paths, text
from tests.test_layers import RANK

FOLDERS = (*sorted(RANK), "examples", "tests")
QUESTION = re.compile(r"(What|Whatever|Whether|How|Where|Why|Who|Whom|Whose|Whoever)\b")
#: Sources of compiled kernels: an edit of a comment has every user compile for minutes, so it waits for another change.
KERNELS = {f"gateway/{name}.py" for name in ("answering", "arrivals", "fold", "writing")}


def constants(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of the first line of each ``#:`` comment."""
    before = ""
    for number, line in enumerate(source.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#: ") and not before.startswith("#:"):
            yield number, stripped.removeprefix("#:").strip()
        before = stripped


def questions(path: str, source: str) -> list[str]:
    """Docstrings and constants' comments of a file that begin with a question word."""
    found = list(facts(source).docstrings)
    if not path.startswith("engine/") and path not in KERNELS:
        found += constants(source)
    return [f"{path}:{line}: {said.splitlines()[0]}" for line, said in found if QUESTION.match(said)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_docstring_begins_with_a_question_word(folder: str) -> None:
    files = paths(folder)
    assert files
    found = [fault for path in files for fault in questions(path, text(path))]
    assert not found, "begin with a noun phrase or an imperative:\n" + "\n".join(found)


def test_planted_question_words_are_found() -> None:
    source = '''"""What this is."""
WAIT_S = 1  #: inline
@: How long it waits.
@: Who knows.
LATE_S = 1


class A:
    """Whether."""

    async def f(self):
        """Where\\n\\nit is."""

    def g(self):
        """Whole rows."""
'''
    assert questions("cli/a.py", source.replace("@:", "#:")) == [
        "cli/a.py:1: What this is.",
        "cli/a.py:9: Whether.",
        "cli/a.py:12: Where",
        "cli/a.py:3: How long it waits.",
    ]
