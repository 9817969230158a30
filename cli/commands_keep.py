"""Commands for upkeep: `lockstep checkpoint|journal|doctor|bench|warmup|version`.

Each command imports the file that does its work only when it is called.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.options import Directory, Json

PANEL: Final = "Look after it"
app = typer.Typer()
checkpoint = typer.Typer(
    help="Images of the state: list, create, verify, prune.\n\nExample: lockstep checkpoint create node1",
    no_args_is_help=True,
)
journal = typer.Typer(
    help="The append-only log of commands: info, check.\n\nExample: lockstep journal check node1", no_args_is_help=True
)
bench = typer.Typer(
    help="Measure this machine against the targets.\n\nExample: lockstep bench engine", no_args_is_help=True
)
app.add_typer(checkpoint, name="checkpoint", rich_help_panel=PANEL)
app.add_typer(journal, name="journal", rich_help_panel=PANEL)
app.add_typer(bench, name="bench", rich_help_panel=PANEL)


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

    Beside a running node it disturbs nothing: it reads, and writes a file of its own.

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
    """Remove all but the newest checkpoints that recovery could use.

    Each that is kept is read first, every byte; the newest good one always stays. Safe beside a running node, whose
    newer checkpoints are not looked at. Those marked as damaged stay too.

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


@app.command(rich_help_panel=PANEL)
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


@app.command(rich_help_panel=PANEL)
def warmup(as_json: Json = False) -> int:
    """Compile the engine ahead of its first use (once a machine and version).

    Example: lockstep warmup
    """
    from cli.warmup import warmup as command

    return command(as_json=as_json)


@app.command(rich_help_panel=PANEL)
def version(as_json: Json = False) -> int:
    """Say which lockstep this is, which rules it plays and with which kernels.

    Example: lockstep version --json
    """
    from cli.warmup import version as command

    return command(as_json=as_json)
