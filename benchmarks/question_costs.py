"""`python -m benchmarks.question_costs DIR EXPORT [NAME...]`: processor time and memory of each question to a day.

DIR is a day of ``benchmarks.question_day``, of 10 M commands for the targets. EXPORT is an export of it in Parquet: if
it is not there, it is written first, and is a row of the table. NAME: only questions whose name begins so. Each is a
process of its own, with its start, as a user has it; its output goes nowhere.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.measure import machine

_LOCKSTEP: Final = (sys.executable, "-c", "from cli.start import main; main()")
_DAY: Final = "day=2024-01-15"
#: A command in the middle of two checkpoints that entered order ``_NUMBER`` of `S12`.
_SEQ: Final = 5_500_100
_NUMBER: Final = 3_439_431
_MEMORY_MAX_GB: Final = 2.0
#: Bytes that are flipped in the journal that is repaired.
_FLIPS: Final = 16


class Question(NamedTuple):
    """A command, its words, and the processor time that it may take (s), or None. prepare: called before it."""

    name: str
    words: tuple[str, ...]
    target_s: float | None
    prepare: Callable[[], object] = lambda: None


class Cost(NamedTuple):
    """Cost of a process: time in the program and in the system (s), memory (GB), and its status."""

    user_s: float
    system_s: float
    resident_gb: float
    status: int


def questions(day: str, export: str, new: Path) -> Iterator[Question]:
    """All questions, to a day and its export. ``new``: a folder for what they write.

    The index of events is made first where there is none: the first filter would make it, and have its cost.
    """
    if not any(Path(day, "index").glob("*.events")):
        yield Question("journal index", ("journal", "index", day), None)
    if not Path(export).exists():
        yield Question("export --format parquet", ("export", day, "--format", "parquet", "--out", export), 30.0)
    for name, values in _NAMED.items():
        given = [word for value in values for word in ("--with", value)]
        yield Question(f"ask {name}", ("ask", export, name, *given), 2.0)
    at = ("--at", str(_SEQ))
    yield Question("book --at", ("book", day, "S12", *at), 1.0)
    yield Question("state --at", ("state", day, *at), 1.0)
    yield Question("positions --at, of one", ("positions", day, *at, "--participant", "P142"), 1.0)
    yield Question("positions --at, of all", ("positions", day, *at), 1.0)
    yield Question("limits --at", ("limits", day, *at), 1.0)
    yield Question("why SEQ", ("why", day, str(_SEQ)), 1.0)
    yield Question("order --number", ("order", day, "--number", str(_NUMBER)), 1.0)
    yield Question("order --number --queue", ("order", day, "--number", str(_NUMBER), "--queue"), 1.0)
    yield Question("order --trade", ("order", day, "--trade", "1000000"), 1.0)
    yield Question("commands --symbol", ("commands", day, "--symbol", "S12"), 5.0)
    yield Question("commands --participant", ("commands", day, "--participant", "P142"), 5.0)
    yield Question("events --symbol", ("events", day, "--symbol", "S12"), 5.0)
    yield Question("events --reports", ("events", day, "--reports", "--participant", "P142"), 5.0)
    yield Question("whatif --without", ("whatif", day, "--without", "P142", "--data", str(new / "whatif")), 30.0)
    yield Question("compare --state", ("compare", day, "--state"), 60.0)
    incident = ("incident", day, "--from", "5000000", "--to", "5500000", "--out", str(new / "incident.html"))
    yield Question("incident of 500,000 commands", incident, None)
    yield Question("inspect --json", ("inspect", day, *at, "--json"), None)
    signed = ("attest", "sign", day, "--key", str(new / "key"), "--out", str(new / "attestation"))
    yield Question("attest sign", signed, None, lambda: cost(("attest", "key", str(new / "key"))))
    copy = new / "damaged"
    repair = ("repair", str(copy), "--from", day)
    yield Question("repair", repair, None, lambda: damaged(Path(day), copy))


def damaged(day: Path, copy: Path) -> None:
    """Copy a day's journal, and flip a byte of each of its ``_FLIPS`` parts."""
    copy.mkdir(mode=0o700)
    shutil.copytree(day / "journal", copy / "journal")
    data = copy / "journal" / "data.mdb"
    with data.open("r+b") as file:
        size = data.stat().st_size
        for number in range(_FLIPS):
            at = (2 * number + 1) * size // (2 * _FLIPS)
            file.seek(at)
            (octet,) = file.read(1)
            file.seek(at)
            file.write(bytes([octet ^ 1]))


_NAMED: Final = {
    "order": (f"order={_NUMBER}",),
    "participant": ("participant=P142",),
    "symbol": ("symbol=S12", _DAY),
    "book": ("symbol=S12", f"seq={_SEQ}"),
    "ahead": (f"order={_NUMBER}",),
    "between": ("a=P142", "b=P479"),
    "cancels": ("participant=P142",),
    "otr": (),
    "halts": (),
    "bars": (),
    "closing": ("symbol=S12", _DAY),
    "counts": (),
}


def cost(words: Sequence[str]) -> Cost:
    """Run `lockstep` with these words; gives its cost."""
    process = subprocess.Popen([*_LOCKSTEP, *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(used.ru_utime, used.ru_stime, used.ru_maxrss / 2**20, process.returncode)


def main(day: str, export: str, names: Sequence[str]) -> int:
    """Print the machine and a row for each question; 1 where a target is missed or a question fails."""
    for key, value in machine().items():
        print(f"{key:8} {value}")
    missed = 0
    with tempfile.TemporaryDirectory(prefix="questions-", dir=Path(day).parent) as folder:
        for each in questions(day, export, Path(folder)):
            if names and not each.name.startswith(tuple(names)):
                continue
            each.prepare()
            took = cost(each.words)
            fits = each.target_s is None or took.user_s + took.system_s <= each.target_s
            verdict = "" if each.target_s is None else f"<= {each.target_s:g}: {'yes' if fits else 'NO'}"
            verdict += "" if took.resident_gb < _MEMORY_MAX_GB else " memory NO"
            verdict += "" if took.status == 0 else f" status {took.status}"
            load = os.getloadavg()[0]
            print(
                f"{each.name:30} {took.user_s:6.2f} + {took.system_s:5.2f} s {took.resident_gb:5.2f} GB "
                f"load {load:4.1f} {verdict}".rstrip(),
                flush=True,
            )
            missed += not fits or took.status != 0 or took.resident_gb >= _MEMORY_MAX_GB
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
