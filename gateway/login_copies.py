"""Records of logins that are damaged or lost, taken from copies of the data directory.

The files are named by the time of their first row in ns, so two nodes have none of the same name: a file of that name
in a copy is this node's own.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.login_log import LoginFile, checked_logins
from journal.slices import make_private, write_aside
from notation.words import time

FOLDER: Final = "logins"
_NAME_DIGITS: Final = 20


@dataclass
class LoginsTaken:
    """Result: ``sentences`` on what was taken, ``left`` on what is damaged still, ``notes`` on what was not had."""

    sentences: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def take_logins(directory: Path, copies: list[Path], journal_id: bytes, *, was_empty: bool) -> LoginsTaken:
    """Take damaged files of logins from the first copy that has them whole; into a directory that was empty, all files.

    copies: data directories; a node's link gives no logins. The caller has the directory's lock. Raises OSError.
    """
    own = checked_logins(directory / FOLDER, journal_id)
    others = [(copy, [each for each in checked_logins(copy / FOLDER, journal_id) if not each.fault]) for copy in copies]
    done = LoginsTaken()
    if not own:
        _take_all(directory, others, done, was_empty=was_empty)
    for at, each in enumerate(own):
        if each.fault:
            _take(each, own[at + 1 :], others, done)
    return done


def _take_all(
    directory: Path, others: list[tuple[Path, list[LoginFile]]], done: LoginsTaken, *, was_empty: bool
) -> None:
    """Take the files of the copy with the most rows, where the directory was empty."""
    folder = directory / FOLDER
    where, files = max(others, key=lambda other: sum(each.rows for each in other[1]), default=(directory, []))
    if files and was_empty:
        make_private(folder)
        for each in files:
            write_aside(folder / each.path.name, each.data)
        rows = sum(each.rows for each in files)
        done.sentences.append(f"{folder}: {rows} records of logins were taken from {where}, as its node had them")
    elif files:
        done.notes.append(
            f"{folder} has no records of logins, and {where} has: they do not say of which node they are; copy the "
            "folder where they are this node's"
        )
    elif was_empty and not others:
        done.notes.append(
            f"no records of logins were had for {folder}: they come only from a data directory (--from PATH)"
        )


def _take(
    damaged: LoginFile, behind: list[LoginFile], others: list[tuple[Path, list[LoginFile]]], done: LoginsTaken
) -> None:
    """Put the file of a copy in the place of a damaged one, which is kept beside it where it may have more rows."""
    path = damaged.path
    found = [(copy, each) for copy, files in others for each in files if each.path.name == path.name and each.rows]
    if not found:
        done.left.append(
            f"{path} {damaged.fault}; no data directory among the copies has it whole, so who was logged in "
            f"{_times(damaged, behind)} may not be known; move it away"
        )
        return
    where, taken = max(found, key=lambda pair: pair[1].rows)
    done.sentences.append(f"{path} {damaged.fault}; it was taken from {where}, with {taken.rows} records")
    if taken.rows < damaged.rows:
        kept = path.with_name(path.name + ".damaged")
        kept.unlink(missing_ok=True)
        os.link(path, kept)
        done.notes.append(
            f"{path} had {damaged.rows} records and its copy has {taken.rows}: the last "
            f"{damaged.rows - taken.rows} were not had; what is left of them is in {kept}"
        )
    write_aside(path, taken.data)


def _times(damaged: LoginFile, behind: list[LoginFile]) -> str:
    """The time that a file is about, by its name and that of the next one."""
    ends = [each.path.stem for each in (damaged, *behind[:1])]
    told = [time(int(end)) if end.isascii() and end.isdigit() and len(end) == _NAME_DIGITS else "?" for end in ends]
    return f"from {told[0]}" + (f" to {told[1]}" if len(told) > 1 else " on")
