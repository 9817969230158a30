"""`lockstep`: the commands together, and how each of them ends. No work is done here.

The commands are defined in ``cli.commands_*``, a file for each panel of `lockstep --help`. Each imports the file that
does its work only when it is called, so that the help needs neither NumPy nor Numba nor LMDB. How errors become one
sentence and an exit status is in ``cli.errors``.
"""

import os
import sys
from collections.abc import Sequence

import typer
from typer.core import TyperGroup

from cli import commands_keep, commands_look, commands_market, commands_prove, errors

_ABOUT = """A deterministic, event-sourced stock exchange: every input journaled, every state provable by replay.

Exit status: 0 fine, 1 a difference or failure was found, 2 wrong use or bad input."""


class Group(TyperGroup):
    """Lets the end of a reader and an interrupt through to ``run``, which ends the program in one place."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            errors.close_output()
            raise typer.Exit(errors.READER_GONE) from None


app = typer.Typer(name="lockstep", help=_ABOUT, cls=Group, no_args_is_help=True, add_completion=False)
for commands in (commands_market, commands_look, commands_prove, commands_keep):
    app.add_typer(commands.app)


def run_line(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; whatever goes wrong has been said on standard error."""
    command = typer.main.get_command(app)
    try:
        status = command.main(list(arguments), prog_name="lockstep", standalone_mode=False)
        sys.stdout.flush()
        if status == errors.INTERRUPTED:
            _complain("interrupted")
        return status if isinstance(status, int) else errors.FINE
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f"; see `{context.command_path} --help`" if context is not None else ""
        _complain(error.format_message().rstrip(".") + hint)
        return errors.WRONG
    except KeyboardInterrupt:
        _complain("interrupted")
        return errors.INTERRUPTED
    except BrokenPipeError:
        errors.close_output()
        return errors.READER_GONE
    except Exception as error:  # the one place where nothing may pass: what nobody foresaw is named as a defect
        if os.environ.get("LOCKSTEP_TRACEBACK") == "1":
            raise
        text, status = errors.sentence(error)
        _complain(text)
        return status


def _complain(text: str) -> None:
    sys.stderr.write(f"lockstep: {text}\n")


def main() -> None:
    """The console script."""
    if sys.flags.optimize:
        _complain("python -O (or PYTHONOPTIMIZE) strips checks that lockstep relies on; start it without")
        sys.exit(errors.WRONG)
    sys.exit(run_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
