"""Docstrings and comments of constants begin with a noun phrase or an imperative, not with a question word or a third
person."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import facts, paths, text
from tests.test_layers import RANK

FOLDERS = (*sorted(RANK), "examples", "tests")
QUESTION = re.compile(r"(What|Whatever|Whether|How|Where|Why|Who|Whom|Whose|Whoever)\b")
#: Verbs in the third person; what follows tells them from nouns such as "Answers to" and "Cancels, one and many".
THIRD_PERSON = re.compile(
    r"(Acts|Adds|Allows|Answers|Applies|Asks|Begins|Builds|Calls|Cancels|Checks|Clears|Closes|Compares|Connects|Cuts|"
    r"Decides|Defines|Deletes|Drops|Ends|Fails|Finds|Forgets|Frees|Gives|Goes|Has|Holds|Judges|Keeps|Lets|Loads|Looks|"
    r"Makes|Matches|Merges|Moves|Opens|Prefetches|Prints|Puts|Raises|Reads|Remembers|Removes|Replaces|Reports|"
    r"Returns|Runs|Says|Sends|Sequences|Serves|Sets|Shows|Stops|Takes|Tells|Waits|Warns|Writes)"
    r"(?! (of|on|to|by|for|from|in|and|that|since|under|without|between) | [A-Z]|[,:;.])(?= )"
)


def constants(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of the first line of each ``#:`` comment."""
    before = ""
    for number, line in enumerate(source.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#: ") and not before.startswith("#:"):
            yield number, stripped.removeprefix("#:").strip()
        before = stripped


def faults(path: str, source: str) -> list[str]:
    """Docstrings and constants' comments of a file that begin with a question word or a third person."""
    found = [*facts(source).docstrings, *constants(source)]
    wrong = [(line, said) for line, said in found if QUESTION.match(said) or THIRD_PERSON.match(said)]
    return [f"{path}:{line}: {said.splitlines()[0]}" for line, said in wrong]


@pytest.mark.parametrize("folder", [*FOLDERS[:-1], pytest.param(FOLDERS[-1], marks=pytest.mark.slow)])
def test_no_docstring_begins_with_a_question_word_or_a_third_person(folder: str) -> None:
    files = paths(folder)
    assert files
    found = [fault for path in files for fault in faults(path, text(path))]
    assert not found, "begin with a noun phrase or an imperative:\n" + "\n".join(found)


def test_planted_question_words_and_third_persons_are_found() -> None:
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

    def h(self):
        """Returns rows."""

    def i(self):
        """Cancels of orders."""
'''
    assert faults("cli/a.py", source.replace("@:", "#:")) == [
        "cli/a.py:1: What this is.",
        "cli/a.py:9: Whether.",
        "cli/a.py:12: Where",
        "cli/a.py:18: Returns rows.",
        "cli/a.py:3: How long it waits.",
    ]


def test_facts_that_were_kept_are_those_of_the_source_and_torn_ones_are_found_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.sources._KEPT", tmp_path)
    find = facts.__wrapped__
    found = find('"""A source."""\nimport re\n')
    (kept,) = tmp_path.iterdir()
    octets = kept.read_bytes()
    for torn in (b"", octets[:-1], octets):
        kept.write_bytes(torn)
        assert find('"""A source."""\nimport re\n') == found
        assert kept.read_bytes() == octets
    kept.write_bytes(pickle.dumps(tuple(find('"""Another."""\n'))))
    assert find('"""A source."""\nimport re\n').docstrings == ((1, "Another."),), "the control: the file is read"
