"""Exit statuses: one table from known errors to statuses, one sentence for each.

0 fine; 1 a difference or failure was found; 2 wrong use or bad input; 70 a defect of lockstep itself; 75 the machine
cannot run it now (a port in use, no room, another writer, a failed disk), try again later; 130 interrupted; as shells
report them, 141 the reader of the output went away, and 143 terminated by SIGTERM. Errors are known by the name of
their class and the folder it comes from, so that this table loads none of them.

Damage of a journal or a checkpoint is bad input, 2, for a command that needs it to be whole; for a command that looks
for damage, it is a finding, 1 (``finding``). A disk without room is 75 for every command and whatever it writes, its
output too: the same line may go well once there is some.
"""

import contextlib
import errno
import hashlib
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TextIO

FINE: Final = 0
FOUND: Final = 1
WRONG: Final = 2
DEFECT: Final = 70
#: EX_TEMPFAIL of sysexits.h. A supervisor restarts on it, and not on ``WRONG``.
LATER: Final = 75
INTERRUPTED: Final = 130
TERMINATED: Final = 143
READER_GONE: Final = 141

#: Release of Numba whose compiler ``engine.compiler`` changes from within; another one may lack what is changed.
NUMBA: Final = "0.68.1"

#: (folder, class) whose message is a sentence for the user, and the exit status; subclasses count.
KNOWN: Final = {
    ("cli", "WrongUse"): WRONG,
    ("cli", "CheckFailed"): FOUND,
    ("cli", "OutputFailed"): WRONG,
    ("cli", "AnswerLost"): FOUND,
    ("cli", "NodeSilent"): LATER,
    ("journal", "JournalError"): WRONG,
    ("journal", "JournalBusy"): LATER,
    ("journal", "JournalFault"): LATER,
    ("checkpoints", "CheckpointError"): WRONG,
    ("tape", "TapeBusy"): LATER,
    ("tape", "TapeRoom"): LATER,
    ("tape", "TapeError"): WRONG,
    ("replay", "Divergence"): FOUND,
    ("replay", "IndexHasNoRoom"): LATER,
    ("directory", "DirectoryDiverged"): FOUND,
    ("replay", "ReplayError"): WRONG,
    ("attestation", "AttestationError"): WRONG,
    ("exports", "ExportError"): WRONG,
    ("notation", "ScenarioError"): WRONG,
    ("lobster", "LobsterError"): WRONG,
    ("sequencer", "StampError"): WRONG,
    ("sequencer", "PumpError"): WRONG,
    ("sequencer", "ReignRefused"): WRONG,
    ("client", "ConnectionLost"): FOUND,
    ("client", "NotConnected"): LATER,
    ("client", "ClientError"): WRONG,
    ("gateway", "SideFileError"): WRONG,
    ("gateway", "PasswordError"): WRONG,
    ("gateway", "SpoolError"): LATER,
    ("gateway", "TlsError"): WRONG,
    ("replication", "AddressError"): WRONG,
    ("replication", "HistoryError"): WRONG,
    ("replication", "HistoryLost"): LATER,
    ("replication", "SecretError"): WRONG,
    ("replication", "ArbiterError"): LATER,
    ("replication", "RegisterError"): WRONG,
    ("replication", "RegisterBusy"): LATER,
    ("replication", "RegisterFault"): LATER,
    ("replication", "PortInUse"): LATER,
    ("node", "GatewayRefused"): LATER,
    ("node", "CoreGone"): LATER,
    ("node", "GatewayStopped"): LATER,
    ("node", "AdminError"): WRONG,
    ("node", "RequestRefusedForNow"): LATER,
    ("node", "RequestUnfinished"): FOUND,
    ("node", "RequestRefused"): WRONG,
    ("node", "LinkError"): WRONG,
    ("node", "LinkLost"): FOUND,
    ("node", "NodeHangs"): LATER,
    ("node", "NodeStarts"): LATER,
    ("node", "PortInUse"): LATER,
    ("node", "FolderLocked"): LATER,
    ("node", "NoAddress"): WRONG,
    ("node", "NoNode"): LATER,
    ("node", "NoTape"): LATER,
    ("node", "OperationRefused"): LATER,
    ("node", "RoomGone"): LATER,
    ("node", "AuditForbidden"): WRONG,
    ("node", "AuditRefused"): LATER,
}

_MACHINE: Final = {
    errno.ENOENT: ("there is no {path}", "check the path"),
    errno.EACCES: ("no permission for {path}", "run as the user who owns it, or change its mode"),
    errno.EPERM: ("no permission for {path}", "run as the user who owns it, or change its mode"),
    errno.EROFS: ("{path} is on a read-only file system", "name a directory that can be written, or remount it"),
    errno.ENOSPC: ("the disk of {path} is full", "free some space and run again; durable commands are safe"),
    errno.EDQUOT: ("the disk quota for {path} is used up", "free some space and run again"),
    errno.EISDIR: ("{path} is a directory, not a file", "name a file"),
    errno.ENOTDIR: ("{path} leads through a file, not a directory", "check the path"),
    errno.EEXIST: ("{path} exists already", "name another"),
    errno.ENAMETOOLONG: ("the name {path} is too long", "name a shorter one"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n) and run again"),
    errno.ENOMEM: ("the machine has no memory left", "stop something else, or use a smaller capacity"),
    errno.EIO: ("the disk of {path} failed", "look at the system's log; restore from a copy if the disk is broken"),
}
#: Complaint of typer about a path that this user may not read.
_UNREADABLE: Final = re.compile(r"(?:path|file|directory) '(.*)' is not readable", re.IGNORECASE)
#: Name of a file that an error does not name.
_NO_PATH: Final = "a file"
#: Errors of the machine that may be gone at the next attempt.
_PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO})


class WrongUse(ValueError):
    """Wrong use of a command; the message says what is wrong, then what to do."""


class CheckFailed(Exception):
    """A check failed: the command found a difference or a failure, which the message says."""


class OutputFailed(Exception):
    """Standard output takes no more; the message says why."""


class AnswerLost(Exception):
    """Something was done that must not be repeated, and standard output takes no answer; the message says so."""


@contextlib.contextmanager
def output() -> Iterator[None]:
    """Context of writes to standard output: a failure raises OutputFailed, and further output is discarded.

    BrokenPipeError passes: a reader that went away is no failure.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        close_output()
        why = (error.strerror or str(error)).lower()
        # The cause says whether another attempt may go well.
        raise OutputFailed(f"the output cannot be written: {why}; make room there, or write it elsewhere") from error


@contextlib.contextmanager
def finding() -> Iterator[None]:
    """Context of commands that look for damage: JournalDamaged becomes CheckFailed."""
    try:
        yield
    except Exception as error:
        if any(cls.__name__ == "JournalDamaged" for cls in type(error).__mro__):
            raise CheckFailed(str(error)) from error
        raise


def usage(error: Exception) -> str:
    """Sentence about wrong arguments: which, and what to give instead; "" after a help text."""
    context = getattr(error, "ctx", None)
    hint = f"; see `{context.command_path} --help`" if context is not None else ""
    refused = getattr(error.__cause__, "errors", None)
    parameter = getattr(error, "param", None)
    if refused is None or parameter is None:
        said = error.format_message() if hasattr(error, "format_message") else str(error)
        if (found := _UNREADABLE.search(said)) is not None:
            what, then = _MACHINE[errno.EACCES]
            return _plain(f"{what.format(path=found[1])}; {then}")
        return _plain(said).rstrip(".") + hint if said else ""
    first = refused()[0]
    return f"{parameter.get_error_hint().strip(chr(39))} is {first['input']!r}; {_instead(first)}{hint}"


def _bound(number: float) -> str:
    """A bound in digits, never with an exponent where it is a whole number."""
    return f"{number:.0f}" if number == int(number) else f"{number:g}"


def _instead(refused: Mapping[str, Any]) -> str:
    """Advice on a value, from the words of the library that checks values."""
    bounds = refused.get("ctx", {})
    kind = str(refused["type"])
    if bounds and str(refused["input"]).strip().lower().lstrip("+-") == "nan":
        return "that is no number, give one"  # It passes every bound, whichever the library names.
    if kind.startswith("int"):
        return "give a whole number"
    if kind.startswith("float"):
        return "give a number"
    if "ge" in bounds:
        return f"give {_bound(bounds['ge'])} or more"
    if "le" in bounds:
        return f"give {_bound(bounds['le'])} or less"
    said = str(refused["msg"]).removeprefix("Value error, ").rstrip(".")
    _value, is_choice, choices = said.partition(" is not one of ")
    return f"give one of {choices.replace(chr(39), '')}" if is_choice else said


def sentence(error: BaseException) -> tuple[str, int]:
    """Message of an error on one line, and its exit status."""
    for cls in type(error).__mro__:
        status = KNOWN.get((cls.__module__.split(".", maxsplit=1)[0], cls.__name__))
        if status is not None:
            return _plain(str(error)), LATER if status == WRONG and _may_pass(error) else status
    if isinstance(error, OSError):
        path = error.filename if error.filename is not None else _NO_PATH
        name = os.fsdecode(path) if isinstance(path, str | bytes) else str(path)
        what, then = _MACHINE.get(
            error.errno or 0, ("{path} cannot be used: " + (error.strerror or str(error)), "see `lockstep doctor`")
        )
        what = what.replace(" of {path}", "") if path is _NO_PATH else what
        return _plain(f"{what.format(path=name)}; {then}"), LATER if _may_pass(error) else WRONG
    if isinstance(error, MemoryError):
        return "the machine has no memory left; stop something else, or use a smaller capacity", LATER
    return (other, WRONG) if (other := _other_numba(error)) else (defect(error), DEFECT)


def _other_numba(error: BaseException) -> str:
    """Sentence on an unexpected error beside another release of Numba than the engine's; "" beside that one."""
    found = getattr(sys.modules.get("numba"), "__version__", NUMBA)
    if found == NUMBA:
        return ""
    return f"{type(error).__name__}, perhaps since {other_numba(found)}"


def other_numba(found: str) -> str:
    """Sentence on a release of Numba that is not the engine's."""
    return (
        f"Numba {found} is installed: the engine changes the compiler of {NUMBA} from within; install that one, by the"
        f" setup of lockstep (`make run`) or pip install numba=={NUMBA}"
    )


def _may_pass(error: BaseException) -> bool:
    """True if the machine refused something that it may grant at the next attempt, whatever words say so."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _PASSING:
            return True
        cause = cause.__cause__
    return False


def _plain(text: str) -> str:
    """A text on one line, without control characters: names may have any bytes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))


def defect(error: BaseException) -> str:
    """Sentence about an unexpected error: a defect of lockstep, its place, and a reference for a report."""
    frames = traceback.extract_tb(error.__traceback__)
    root = Path(__file__).parent.parent
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(root) and ".venv" not in frame.filename]
    last = (ours or list(frames))[-1] if frames else None
    place = f"{os.path.relpath(last.filename, root)}:{last.lineno}" if last else "nowhere"
    reference = hashlib.sha256(f"{type(error).__name__} {place} {error}".encode()).hexdigest()[:8]
    return (
        f"this is a defect in lockstep: {type(error).__name__} at {place} (reference {reference}); "
        "please report it with what LOCKSTEP_TRACEBACK=1 prints for the same command"
    )


def close_output(stream: TextIO | None = None) -> None:
    """Discard further output of ``stream`` (standard output), so that the interpreter's last flush is silent."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, (stream or sys.stdout).fileno())
    os.close(nothing)
