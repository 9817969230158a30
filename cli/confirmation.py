"""Questions to a person on a terminal: confirmations and passwords.

The message that follows begins on its own line, also after Ctrl-C and Ctrl-D.
"""

import getpass
import sys

from cli import screen
from cli.errors import CheckFailed, WrongUse


def confirm(question: str, otherwise: str) -> None:
    """Ask a question whose answer must be yes. Raises CheckFailed with the sentence ``otherwise`` for any other."""
    screen.flush()
    sys.stderr.write(f"{question} ")
    sys.stderr.flush()
    answer = ""
    try:
        answer = sys.stdin.readline(100)
    finally:
        if not answer.endswith("\n"):
            sys.stderr.write("\n")
    if answer.strip().lower() != "yes":
        raise CheckFailed(otherwise)


def hidden(question: str) -> str:
    """Ask for a password, without an echo. Raises WrongUse where the input ends instead, as by Ctrl-D."""
    try:
        return getpass.getpass(question)
    except EOFError:
        sys.stderr.write("\n")
        raise WrongUse("no password was given") from None
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        raise
