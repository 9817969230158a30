"""The program `lockstep`: all commands, and their exit statuses. No work is done here.

The commands are defined in ``cli/commands``, a file for each panel of `lockstep --help`. Each command imports the
file that does its work only when it is called, so that the help needs neither NumPy nor Numba nor LMDB. How errors
become one sentence and an exit status is in ``cli.errors``.
"""

import contextlib
import functools
import gc
import inspect
import io
import itertools
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup, TyperOption

from cli import errors, interrupts, screen
from cli.commands import attest, keep, load, look, market, node, pair, prove, records, serve, take, trade

#: Release of Typer that is known within: what ``cli.plain_values`` shortens, and the values of options. Another one
#: does all by itself, and shows types on its help pages.
TYPER: Final = "0.29.2"
_IS_KNOWN_WITHIN: Final = typer.__version__ == TYPER
if _IS_KNOWN_WITHIN:
    from cli.plain_values import read_plainly

    read_plainly()

_ABOUT = """A deterministic, event-sourced stock exchange: every input journaled, every state provable by replay.

Exit status: 0 fine, 1 a difference or failure was found, 2 wrong use or bad input, 75 try again later.

Example: lockstep demo --seconds 5"""


#: Options that print a help page.
_HELP: Final = frozenset({"--help", "-h"})


class Group(TyperGroup):
    """Command group that passes interrupts and the end of a reader on to ``run_line``, which alone exits."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the words of a command line; the help is printed on the way."""
        with _reader(), errors.output():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the command."""
        with _reader():
            return super().invoke(ctx)


@contextlib.contextmanager
def _reader() -> Iterator[None]:
    """End in order if the reader of standard output goes away; typer and rich alone would give exit status 1."""
    try:
        yield
    except interrupts.Terminated:
        raise typer.Exit(errors.TERMINATED) from None
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        errors.close_output()
        raise typer.Exit(errors.READER_GONE) from None


def _program() -> typer.Typer:
    return typer.Typer(
        name="lockstep",
        help=_ABOUT,
        cls=Group,
        no_args_is_help=True,
        context_settings={"help_option_names": sorted(_HELP)},
    )


app = _program()
for commands in (market, serve, pair, node, trade, load, look, take, records, prove, attest, keep):
    app.add_typer(commands.app)


#: Text in brackets that rich would take for markup and omit from a help page.
_MARKUP: Final = re.compile(r"(\\*)(\[[a-z#/@][^[]*?])")


#: End of a line within a paragraph: the next begins with a word.
_LINE_END: Final = re.compile(r"(?<=[^\n])\n(?=[^\s\-*])")


def without_markup(command: Any) -> Any:
    """A command of typer and those below it, with help pages that show text in brackets as it is written.

    Lines of a paragraph are one: they end where the terminal does, and not where the source does too.
    """
    for each in (command, *command.params):
        for name in ("help", "short_help", "epilog"):
            if isinstance(text := getattr(each, name, None), str):
                whole = _LINE_END.sub(" ", inspect.cleandoc(text))
                setattr(each, name, _MARKUP.sub(r"\1\1\\\2", whole))
    for inner in getattr(command, "commands", {}).values():
        without_markup(inner)
    return command


def with_named_values(command: Any) -> Any:
    """A command of typer and those below it, whose help pages name the value of each option by a word: `--host HOST`.

    Typer shows the Python type, also of an option without a value, as if one were to follow it: `--json <bool>`.
    """
    for each in command.get_params(typer.Context(command, help_option_names=sorted(_HELP))):
        if isinstance(each, TyperOption) and each.metavar is None:
            each.metavar = "" if each.is_flag else _value_name(each)
    for inner in getattr(command, "commands", {}).values():
        with_named_values(inner)
    return command


def _value_name(option: TyperOption) -> str:
    choices = option.type_descriptor.choices
    if choices:
        return "|".join(str(getattr(each, "value", each)) for each in choices)
    if option.type_descriptor.annotation in {int, float}:
        return "N"
    return option.opts[0].lstrip("-").rpartition("-")[2].upper()


def _print_version(asked: bool) -> None:
    """Print the release and end; `lockstep version` prints more."""
    if asked:
        from importlib.metadata import version

        screen.print_line(f"lockstep {version('lockstep')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the release and exit.")
    ] = False,
) -> None:
    """Options of the program itself, before the command."""


app.callback(help=_ABOUT)(_options)


@functools.cache
def _commands(word: str = "") -> Any:
    """The program, put together once: with the command of this name alone, or with all if there is none.

    Typer reads every signature anew, which takes longer than most commands do.
    """
    alone = _program()
    alone.callback(help=_ABOUT)(_options)
    for panel in (group.typer_instance for group in app.registered_groups):
        if panel is not None:
            alone.registered_commands += [each for each in panel.registered_commands if _name(each) == word]
            alone.registered_groups += [each for each in panel.registered_groups if each.name == word]
    found = alone.registered_commands or alone.registered_groups
    whole = without_markup(typer.main.get_command(alone if found else app))
    return with_named_values(whole) if _IS_KNOWN_WITHIN else whole


def _name(command: Any) -> str:
    """Name of a command of typer."""
    return command.name or typer.main.get_command_name(command.callback.__name__)


#: Commands that answer from a journal or an export within seconds, and end.
_QUESTIONS: Final = frozenset(
    ("ask", "book", "commands", "events", "latency", "limits", "order", "positions", "sessions", "state", "why")
)
#: Objects that are made before a look for garbage among them, and looks before one among older ones, as ``gc`` has
#: them. Of itself it looks after each 700, among modules and rows that all stay: a tenth of a short question. A node
#: would wait too long for such a look.
_OBJECTS: Final = (500_000, 20, 100)


def run_line(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; errors are reported on standard error."""
    if screen.is_live(sys.stdout) and not screen.is_colored(sys.stdout):
        from typer import rich_utils

        rich_utils.COLOR_SYSTEM = None  # with NO_COLOR help pages would still have bold and dim text
    for place, (before, word) in enumerate(itertools.pairwise(arguments), 2):
        # As a directory it would be the current one. The value of an option is judged where it is read.
        if not word and not before.startswith("-"):
            _complain(f"word {place} of the command is empty: give a value; in a script, a variable may not be set")
            return errors.WRONG
    try:
        # A help page is printed by typer, which knows nothing of a full disk.
        with errors.output() if _HELP & set(arguments) else contextlib.nullcontext():
            status = _commands(*arguments[:1]).main(list(arguments), prog_name="lockstep", standalone_mode=False)
        screen.flush()
        if status == errors.INTERRUPTED:
            _tell_of_interrupt()
        elif status == errors.TERMINATED:
            _complain("terminated")
        return status if isinstance(status, int) else errors.FINE
    except typer.TyperException as error:
        if said := errors.usage(error):
            _complain(said)
        return errors.WRONG
    except SystemExit as ended:  # how typer ends after a completion script
        return ended.code if isinstance(ended.code, int) else errors.WRONG
    except KeyboardInterrupt as interrupt:
        return _interrupted(interrupt)
    except BrokenPipeError:
        errors.close_output()
        return errors.READER_GONE
    except Exception as error:  # nothing may pass here: an unforeseen error is reported as a defect
        if (within := interrupts.interrupt_in(error)) is not None:
            return _interrupted(within)
        if os.environ.get("LOCKSTEP_TRACEBACK") == "1":
            raise
        text, status = errors.sentence(error)
        _complain(text)
        return status


def _interrupted(interrupt: KeyboardInterrupt) -> int:
    is_end = isinstance(interrupt, interrupts.Terminated)
    if is_end:
        _complain("terminated")
    else:
        _tell_of_interrupt()
    return errors.TERMINATED if is_end else errors.INTERRUPTED


def _tell_of_interrupt() -> None:
    screen.notice(f"{interrupts.after_echo()}lockstep: interrupted")


def _complain(text: str) -> None:
    screen.notice(f"lockstep: {text}")


def main() -> None:
    """Run the program, once its modules are loaded."""
    interrupts.run(_status)


def _status() -> int:
    """Exit status of the command line that the process was started with."""
    if sys.stderr is None or sys.stdout is None:
        # If a standard stream is closed, the next opened file would get its number, and the output.
        if sys.stderr is not None:
            _complain("standard output is closed; redirect it, such as > /dev/null")
        return errors.WRONG
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name may be any bytes
    screen.write_whole()
    if sys.flags.optimize:
        _complain("python -O (or PYTHONOPTIMIZE) strips checks that lockstep relies on; start it without")
        return errors.WRONG
    if _QUESTIONS.intersection(sys.argv[1:2]):
        gc.set_threshold(*_OBJECTS)
    status = run_line(sys.argv[1:])
    try:
        screen.flush()  # output from before another error; left over, it would fail once more at the end
    except errors.OutputFailed as error:
        _complain(str(error))
    except BrokenPipeError:
        errors.close_output()
    return status


if __name__ == "__main__":
    main()
