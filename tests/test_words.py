"""Docstrings and comments of constants begin with a noun phrase or an imperative, never with a question word."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_layers import RANK

ROOT = Path(__file__).parent.parent
FOLDERS = (*sorted(RANK), "examples", "tests")
QUESTION = re.compile(r"(What|Whatever|Whether|How|Where|Why|Who|Whom|Whose|Whoever)\b")
#: Sources of compiled kernels: an edit of a comment has every user compile for minutes, so it waits for another change.
KERNELS = {f"gateway/{name}.py" for name in ("answering", "arrivals", "fold", "writing")}


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text


def constants(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of the first line of each ``#:`` comment."""
    before = ""
    for number, line in enumerate(source.splitlines(), 1):
        text = line.strip()
        if text.startswith("#: ") and not before.startswith("#:"):
            yield number, text.removeprefix("#:").strip()
        before = text


def questions(path: str, source: str) -> list[str]:
    """Docstrings and constants' comments of a file that begin with a question word."""
    found = list(docstrings(source))
    if not path.startswith("engine/") and path not in KERNELS:
        found += constants(source)
    return [f"{path}:{line}: {text.splitlines()[0]}" for line, text in found if QUESTION.match(text)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_docstring_begins_with_a_question_word(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = [fault for file in files for fault in questions(file.relative_to(ROOT).as_posix(), file.read_text())]
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
