"""The engine of another release as a side of a comparison: a process of its interpreter applies the same commands.

Its state is compared part by part where its form is ours. Where it is not, what any engine shows is compared: open
orders, instruments, positions, participants and limits, and the event digest.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from weakref import WeakSet

import numpy as np

from engine.interface import MarketEngine
from engine.names import Directory
from engine.records import EVENT, RULES_VERSION
from replay import release_worker
from replay.errors import ReplayError
from replay.sides import VIEWS_FORM, Played, Replayed, Tables, digest_rows

_WORKER: Final = Path(release_worker.__file__)


@dataclass(frozen=True, eq=False)
class _Kept:
    """A copy of the state in the process."""

    number: int
    seq: int


class ReleaseSide:
    """Side of another release, which follows ``guide``: it applies the commands that this one reads, to the same end.

    ``python``: the interpreter of the other release's environment. ``is_same_form``: its state can be compared part by
    part. Raises ReplayError where it is no release that can be asked, or of other rules.
    """

    def __init__(self, guide: Replayed, python: Path) -> None:
        self.name = f"the release of {python}"
        self.seq = guide.seq
        self._guide, self._python = guide, python
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 -- it is closed with the process
        self._number = 0
        self._kept: WeakSet[_Kept] = WeakSet()
        # Not the folder that the command runs in, nor that of the worker: only the other release.
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
        try:
            self._process = subprocess.Popen(
                [str(python), "-P", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=environment,
                cwd=python.absolute().parent,
            )
        except OSError as error:
            raise ReplayError(
                f"{python} cannot be started: {error.strerror}; give the path to the interpreter of the other "
                "release's environment, such as /opt/lockstep-1/.venv/bin/python"
            ) from error
        try:
            self._begin(guide.engine)
        except BaseException:
            self.close()
            raise

    def _begin(self, engine: MarketEngine) -> None:
        from engine.state import STATE_LAYOUT, STATE_VERSION

        told, _ = self._ask("form")
        if told["rules"] != RULES_VERSION:
            raise ReplayError(
                f"the release of {self._python} plays rules version {told['rules']} and this one version "
                f"{RULES_VERSION}; they give other events by rule"
            )
        self.is_same_form = (told["version"], told["layout"]) == (STATE_VERSION, STATE_LAYOUT.hex())
        self._guide.shows_views = not self.is_same_form
        self._capacity = engine.capacity
        if engine.seq == 0:
            self._ask("new", capacity=asdict(engine.capacity))
            return
        if not self.is_same_form:
            raise ReplayError(
                f"the journal begins with an image, whose form the release of {self._python} does not read"
            )
        parts = release_worker.bytes_of(self._guide.arrays())
        self._ask("restore", parts, capacity=asdict(engine.capacity), seq=engine.seq, digest=engine.event_digest.hex())

    def _ask(self, do: str, body: bytes = b"", **more: Any) -> tuple[dict[str, Any], bytes]:
        """One request; gives the answer and its bytes. Raises ReplayError where the process has ended."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": do, "bytes": len(body), **more}).encode() + b"\n" + body)
            process.stdin.flush()
            told = json.loads(process.stdout.readline())
            return told, process.stdout.read(told["bytes"])
        except (OSError, ValueError) as error:
            raise ReplayError(f"the release of {self._python} cannot be asked: {self._last_words()}") from error

    def _last_words(self) -> str:
        """Last line of what the process said before it ended."""
        self._process.kill()
        self._process.communicate()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it ended without a word"

    @property
    def form(self) -> bytes:
        """Form of its state: ours, or its own."""
        return self._guide.form if self.is_same_form else VIEWS_FORM

    @property
    def directory(self) -> Directory:
        """Names defined so far, as the guide knows them."""
        return self._guide.directory

    def play(self, to_seq: int) -> Played:
        """Apply the commands up to ``to_seq``. Raises ReplayError at a slice of another capacity."""
        if to_seq <= self.seq:
            return Played(np.zeros(0, EVENT), np.zeros(0, EVENT))
        commands = self._guide.commands(self.seq + 1, to_seq)
        if self._guide.engine.capacity != self._capacity:
            raise ReplayError("the journal goes on in another capacity; compare the releases on a slice alone")
        _, events = self._ask("apply", commands.tobytes())
        self.seq = to_seq
        return Played(commands, np.frombuffer(bytearray(events), EVENT))

    def digests(self) -> Mapping[str, bytes]:
        """Digest of each part."""
        told, _ = self._ask("digests")
        return {part: bytes.fromhex(digest) for part, digest in told["parts"].items()}

    def tables(self, *, without: Collection[str] = ()) -> Tables:
        """The rows that any engine can show; of a state in our form by its parts."""
        from engine.reference.image_rows import image_rows
        from engine.reference.rows_by_part import with_names

        if self.is_same_form:
            return with_names(image_rows(self._capacity, self.arrays(), without=without))
        told, body = self._ask("views")
        return {**release_worker.parts_of(body), "events": {"digest": digest_rows(bytes.fromhex(told["digest"]))}}

    def arrays(self) -> Tables:
        """The arrays of the state; none of another form."""
        return release_worker.parts_of(self._ask("parts")[1]) if self.is_same_form else {}

    def keep(self) -> object:
        """Have the process keep a copy of its state, as long as what this gives is held."""
        self._number += 1
        kept = _Kept(self._number, self.seq)
        self._kept.add(kept)
        self._ask("keep", number=kept.number, numbers=[each.number for each in self._kept])
        return kept

    def back(self, kept: Any) -> None:
        """Begin again at a copy."""
        self.seq = kept.seq
        self._ask("back", number=kept.number)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def __enter__(self) -> "ReleaseSide":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
