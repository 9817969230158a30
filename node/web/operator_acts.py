"""Acts of operators on the page, with who did them: the journal has their commands, and no place for an operator.

They are in a file of the data directory, so a restart of the process forgets none, and all operators see all of them.
An act waits for no disk: the file follows, and a disk that takes nothing is told in the log.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from directory.small_file import write_whole
from notation.words import iso_time

#: Acts that are kept, the newest; and characters of what came of one.
ACTS_MAX: Final = 200
_RESULT_MAX: Final = 400
_FILE: Final = "acts.json"
#: Result of an act that was begun, and whose end nobody knows yet.
ASKED: Final = "no answer is known yet"


@dataclass
class Act:
    """An act: when it was asked for (the machine's clock), by whom, and what came of it. seq: of its command; 0: none
    is known."""

    time: str
    operator: str
    command: str
    seq: int = 0
    result: str = ASKED


class Acts:
    """Acts on the page of a data directory. on_failure: called with the reason for which the file was not written."""

    def __init__(self, directory: Path, on_failure: Callable[[str], None]) -> None:
        self._path = directory / "web" / _FILE
        self._on_failure = on_failure
        self._writing = ThreadPoolExecutor(1, "acts-file")
        self._acts = self._read()

    def _read(self) -> list[Act]:
        """Acts of the file; none where there is no whole one, which no start may depend on."""
        try:
            found = [Act(**each) for each in json.loads(self._path.read_bytes())["acts"]][-ACTS_MAX:]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._on_failure(f"{self._path} cannot be read, so the list begins anew: {error}")
            return []
        return found

    def begin(self, operator: str, command: str, time_ns: int) -> Act:
        """Note that an operator asks for a command. time_ns: since 1970."""
        act = Act(iso_time(time_ns) or "", operator, command)
        self._acts = [*self._acts, act][-ACTS_MAX:]
        self._write()
        return act

    def end(self, act: Act, result: str, seq: int = 0) -> None:
        """Note what came of an act."""
        act.result, act.seq = result[:_RESULT_MAX], seq
        self._write()

    def newest(self) -> list[dict[str, Any]]:
        """All that are kept, the newest first."""
        return [asdict(each) for each in reversed(self._acts)]

    def _write(self) -> None:
        self._writing.submit(self._save, json.dumps({"acts": [asdict(each) for each in self._acts]}))

    def _save(self, text: str) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._path, text)
        except OSError as error:
            self._on_failure(f"{self._path} was not written: {error.strerror or error}")

    def close(self) -> None:
        """Write what is not written yet."""
        self._writing.shutdown(wait=True)
