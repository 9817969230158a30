"""`lockstep`: what the commands are called, what they take, and how they end. No work is done here.

Each command imports the file that does its work only when it is called, so that `lockstep --help` needs neither
NumPy nor Numba nor LMDB. How errors become one sentence and an exit status is in ``cli.errors``.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from cli import errors
from cli.options import (
    At,
    Directory,
    Durability,
    Engine,
    EngineChoice,
    EngineOrBoth,
    Files,
    Format,
    FromSeq,
    Json,
    Participant,
    Symbol,
    ToSeq,
    WithSeq,
)

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
checkpoint = typer.Typer(help="Images of the state: list, create, verify, prune.", no_args_is_help=True)
journal = typer.Typer(help="The append-only log of commands: info, check.", no_args_is_help=True)
bench = typer.Typer(help="Measure this machine against the targets.", no_args_is_help=True)
app.add_typer(checkpoint, name="checkpoint", rich_help_panel="Look after it")
app.add_typer(journal, name="journal", rich_help_panel="Look after it")
app.add_typer(bench, name="bench", rich_help_panel="Look after it")

_MARKET = "Run a market"
_LOOK = "Look into a journal"
_PROVE = "Prove it"
_KEEP = "Look after it"


@app.command(rich_help_panel=_MARKET)
def demo(
    seconds: Annotated[float, typer.Option(min=1, max=600, help="How long the market trades.")] = 8.0,
    seed: Annotated[int, typer.Option(help="Seed of the simulated traders.")] = 1,
    data: Annotated[Path | None, typer.Option(help="Keep the data here.", show_default="a temporary directory")] = None,
    as_json: Json = False,
) -> int:
    """A market in a minute: simulated traders, live; then a kill, a recovery, and the proof that replay agrees.

    Example: lockstep demo --seconds 5 --seed 7
    """
    from cli.demo import demo as command

    return command(seconds, seed, data, as_json=as_json)


@app.command(rich_help_panel=_MARKET)
def run(
    files: Files,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Data directory; created, or recovered and continued.")],
    form: Annotated[Format, typer.Option("--format", help="What the files are.")] = Format.scenario,
    book: Annotated[
        Path | None, typer.Option(metavar="BOOK50", help="LOBSTER order book that seeds the opening.")
    ] = None,
    check: Annotated[Path | None, typer.Option(metavar="TOP1", help="LOBSTER best prices to compare with.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Of a LOBSTER file whose name does not tell it.")] = None,
    date: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Likewise.")] = None,
    engine: Engine = EngineChoice.kernel,
    durability: Annotated[
        Durability, typer.Option(help="none is for measurements: a crash may lose what was seen.")
    ] = (Durability.fsync),
    checkpoint_every: Annotated[int, typer.Option(metavar="N", min=0, help="Checkpoint each N commands; 0: none.")] = 0,
    block_rows: Annotated[int, typer.Option(metavar="N", min=1, max=8191, help="Commands in a journal block.")] = 1024,
    as_json: Json = False,
) -> int:
    """Feed scenario or LOBSTER files through sequencer, journal and engine, without a network.

    Example: lockstep run day.txt --data node1

    Example: lockstep run messages.csv --format lobster --book book50.csv --check top1.csv --data node1
    """
    from cli.run import RunOptions
    from cli.run import run as command

    options = RunOptions(files, data, form, book, check, engine, durability, checkpoint_every, block_rows, symbol, date)
    return command(options, as_json=as_json)


@app.command(rich_help_panel=_MARKET)
def scenario(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|DIR...", help="Scenario files, or folders of *.txt.")],
    engine: Annotated[EngineOrBoth, typer.Option(help="Which engine answers.")] = EngineOrBoth.both,
    as_json: Json = False,
) -> int:
    """Run acceptance scenarios; where one fails, show what was expected beside what came.

    Example: lockstep scenario scenarios/ --engine both
    """
    from cli.scenario import scenario as command

    return command(paths, engine, as_json=as_json)


@app.command(rich_help_panel=_LOOK)
def events(
    directory: Directory,
    from_seq: FromSeq = 1,
    to_seq: ToSeq = None,
    symbol: Symbol = None,
    participant: Participant = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind, as trade; may be repeated.")] = None,
    with_seq: WithSeq = False,
    as_json: Json = False,
) -> int:
    """Print what happened, in the rulebook's notation.

    Example: lockstep events node1 --symbol AAPL --kind trade --from 1000
    """
    from cli.history import Selection
    from cli.history import events as command

    chosen = Selection(from_seq, to_seq, symbol, participant, tuple(kind or ()))
    chosen = Selection(from_seq, to_seq, symbol, participant, tuple(kind or ()))
    return command(directory, chosen, with_seq=with_seq, as_json=as_json)


@app.command(rich_help_panel=_LOOK)
def commands(
    directory: Directory,
    from_seq: FromSeq = 1,
    to_seq: ToSeq = None,
    symbol: Symbol = None,
    participant: Participant = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind, as enter; may be repeated.")] = None,
    with_seq: WithSeq = False,
    with_events: Annotated[bool, typer.Option("--with-events", help="Put under each command what it caused.")] = False,
    as_json: Json = False,
) -> int:
    """Print what was asked, as a scenario that runs again to the same rows.

    Example: lockstep commands node1 > day.txt && lockstep run day.txt --data node2
    """
    from cli.history import Selection
    from cli.history import commands as command

    chosen = Selection(from_seq, to_seq, symbol, participant, tuple(kind or ()))
    chosen = Selection(from_seq, to_seq, symbol, participant, tuple(kind or ()))
    return command(directory, chosen, with_seq=with_seq, with_events=with_events, as_json=as_json)


@app.command(rich_help_panel=_LOOK)
def book(
    directory: Directory,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="The instrument.")],
    at: At = None,
    depth: Annotated[int, typer.Option(metavar="N", min=1, help="Price levels of each side.")] = 10,
    as_json: Json = False,
) -> int:
    """Show an instrument's book as a ladder, now or at any moment of its past.

    Example: lockstep book node1 AAPL --at 09:31:07.25 --depth 5
    """
    from cli.market import book as command

    return command(directory, symbol, at, depth, as_json=as_json)


@app.command(rich_help_panel=_LOOK)
def order(
    directory: Directory,
    order_id: Annotated[str, typer.Argument(metavar="ID", help="A client order id.")],
    participant: Participant = None,
    as_json: Json = False,
) -> int:
    """Tell the life of an order, event by event, through its replaces.

    Example: lockstep order node1 a17 --participant ALPHA
    """
    from cli.order import order as command

    return command(directory, order_id, participant, as_json=as_json)


@app.command(rich_help_panel=_LOOK)
def state(directory: Directory, at: At = None, as_json: Json = False) -> int:
    """Show the state: digests by part, counts, phases.

    Example: lockstep state node1 --at 120000
    """
    from cli.market import state as command

    return command(directory, at, as_json=as_json)


@app.command(rich_help_panel=_PROVE)
def verify(
    directory: Directory,
    engine: Engine = EngineChoice.kernel,
    workers: Annotated[int, typer.Option(metavar="N", min=1, max=256, help="Processes.", show_default="one a core")] = (
        os.cpu_count() or 1
    ),
    from_seq: FromSeq = 1,
    to_seq: ToSeq = None,
    as_json: Json = False,
) -> int:
    """Replay the journal and compare every digest with the one recorded.

    Example: lockstep verify node1 --engine reference
    """
    from cli.proof import verify as command

    return command(directory, engine, workers, from_seq, to_seq, as_json=as_json)


@app.command(rich_help_panel=_PROVE)
def compare(
    directory_a: Annotated[Path, typer.Argument(metavar="DIR_A", help="A node's data directory.")],
    directory_b: Annotated[Path, typer.Argument(metavar="DIR_B", help="Another's.")],
    as_json: Json = False,
) -> int:
    """Find the first block, sequence number and part in which two nodes differ.

    Example: lockstep compare node1 node2
    """
    from cli.proof import compare as command

    return command(directory_a, directory_b, as_json=as_json)


@checkpoint.command("list")
def checkpoint_list(directory: Directory, as_json: Json = False) -> int:
    """List the checkpoints, damaged ones too.

    Example: lockstep checkpoint list node1
    """
    from cli.checkpoint import list_checkpoints

    return list_checkpoints(directory, as_json=as_json)


@checkpoint.command("create")
def checkpoint_create(directory: Directory, as_json: Json = False) -> int:
    """Write an image of the state after the last durable command, so that later recoveries start there.

    Example: lockstep checkpoint create node1
    """
    from cli.checkpoint import create

    return create(directory, as_json=as_json)


@checkpoint.command("verify")
def checkpoint_verify(directory: Directory, as_json: Json = False) -> int:
    """Read every checkpoint and check it, byte for byte.

    Example: lockstep checkpoint verify node1
    """
    from cli.checkpoint import verify

    return verify(directory, as_json=as_json)


@checkpoint.command("prune")
def checkpoint_prune(
    directory: Directory,
    keep: Annotated[int, typer.Option(metavar="N", min=1, help="How many of the newest to keep.")] = 3,
    as_json: Json = False,
) -> int:
    """Remove all but the newest checkpoints.

    Example: lockstep checkpoint prune node1 --keep 2
    """
    from cli.checkpoint import prune

    return prune(directory, keep, as_json=as_json)


@journal.command("info")
def journal_info(directory: Directory, as_json: Json = False) -> int:
    """Say what a journal holds, without reading all of it.

    Example: lockstep journal info node1
    """
    from cli.journal import info

    return info(directory, as_json=as_json)


@journal.command("check")
def journal_check(directory: Directory, as_json: Json = False) -> int:
    """Read every block and check its checksum and its place in the chain.

    Example: lockstep journal check node1
    """
    from cli.journal import check

    return check(directory, as_json=as_json)


@app.command(rich_help_panel=_KEEP)
def doctor(directory: Annotated[Path | None, typer.Argument(metavar="[DIR]")] = None, as_json: Json = False) -> int:
    """Say what is wrong with this machine or a data directory, and what to do about it.

    Example: lockstep doctor node1
    """
    from cli.doctor import doctor as command

    return command(directory, as_json=as_json)


@bench.command("engine")
def bench_engine(as_json: Json = False) -> int:
    """Commands per second of the engine, by workload.

    Example: lockstep bench engine
    """
    from cli.bench import engine

    return engine(as_json=as_json)


@bench.command("journal")
def bench_journal(as_json: Json = False) -> int:
    """Commands per second through journal and engine, durable.

    Example: lockstep bench journal
    """
    from cli.bench import journal as command

    return command(as_json=as_json)


@bench.command("replay")
def bench_replay(as_json: Json = False) -> int:
    """Commands per second of a verified replay.

    Example: lockstep bench replay
    """
    from cli.bench import replay

    return replay(as_json=as_json)


@app.command(rich_help_panel=_KEEP)
def warmup(as_json: Json = False) -> int:
    """Compile the engine ahead of its first use (once a machine and version).

    Example: lockstep warmup
    """
    from cli.warmup import warmup as command

    return command(as_json=as_json)


@app.command(rich_help_panel=_KEEP)
def version(as_json: Json = False) -> int:
    """Say which lockstep this is, which rules it plays and with which kernels.

    Example: lockstep version --json
    """
    from cli.warmup import version as command

    return command(as_json=as_json)


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
