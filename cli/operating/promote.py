"""`lockstep promote`: make a copy primary that may lack acknowledged orders, after its operator has confirmed it."""

import sys
from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.errors import CheckFailed, WrongUse
from cli.operating.admin import connected

_UNFORCED: Final = (
    "a promotion by force may lose acknowledged orders; give --force and --reason TEXT, or hand over without loss with "
    "`lockstep switchover` on the primary"
)


def promote(directory: Path, *, force: bool, reason: str | None, yes: bool, as_json: bool) -> int:
    """Show what may be lost, ask for a confirmation, and make the copy on a directory primary."""
    if not force:
        raise WrongUse(_UNFORCED)
    if reason is None or not reason.strip():
        raise WrongUse("--force needs --reason TEXT, which the arbiter keeps on record")
    with connected(directory) as link:
        survey = link.ask("promotion")["promotion"]
        if survey["refused"]:
            raise WrongUse(f"not promoted: {survey['refused']}")
        _confirm(survey, yes=yes)
        done = link.ask("promote", reason=reason)["promote"]
    said = f"{done['node']} is primary in epoch {screen.count(done['epoch'])}, by force: {done['forced']}"
    with screen.answer(said):
        if as_json:
            unknown = {"primary": done["primary"] or None, "clock": done["clock"] or None, "refused": None}
            screen.print_json({**done, **unknown})
        else:
            screen.print_line(said)
    return errors.FINE


def _confirm(survey: dict[str, Any], *, yes: bool) -> None:
    """Show the losses, and ask on a terminal. Raises WrongUse, and CheckFailed without a yes."""
    name = survey["node"]
    before = f" after {survey['primary']}" if survey["primary"] else "; the arbiter's record names none before it"
    screen.notice(f"{name} becomes primary{before}, and has all up to command {survey['seq']}:")
    for sentence in survey["losses"]:
        screen.notice(f"- {sentence}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUse("nothing was done, as there is no terminal to ask on; give --yes to confirm")
    sys.stderr.write("Type yes to confirm: ")
    sys.stderr.flush()
    if sys.stdin.readline(100).strip().lower() != "yes":
        raise CheckFailed("nothing was done")
