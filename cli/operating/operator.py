"""`lockstep operator`: who may sign in to the operator's view of the page."""

import sys
from pathlib import Path

from cli import errors, screen
from cli.confirmation import hidden
from cli.errors import WrongUse


def operator(file: Path, name: str, *, password_stdin: bool, remove: bool, as_json: bool) -> int:
    """Write an operator with a new password to a file, or remove one. Raises WrongUse, OSError."""
    from node.web.operators import OperatorFileError, check_name, remove_operator, set_operator

    if remove and password_stdin:
        raise WrongUse("--password-stdin is of a new password, and --remove needs none; give one of them")
    try:
        check_name(name)
        if remove:
            remove_operator(file, name)
            done = "removed"
        else:
            done = "added" if set_operator(file, name, _password(password_stdin)) else "changed"
    except OperatorFileError as error:
        raise WrongUse(str(error)) from None
    if as_json:
        screen.print_json({"operator": name, "file": str(file), "done": done})
    else:
        screen.print_line(f"{done} {name} in {file}; a node reads it at its start")
    return errors.FINE


def _password(from_stdin: bool) -> str:
    """Read a new password: twice from the terminal without an echo, or one line of standard input."""
    if from_stdin:
        return sys.stdin.readline(1_024).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise WrongUse("standard input is no terminal to ask for a password; give --password-stdin and a line with it")
    given = hidden("Password: ")
    if hidden("The same again: ") != given:
        raise WrongUse("the two passwords differ; try again")
    return given
