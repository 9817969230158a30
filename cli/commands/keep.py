"""Commands for upkeep: `lockstep checkpoint|journal|roll|upgrade|archive|doctor|bench|warmup|version`.

Each command imports the file that does its work only when it is called.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.options import (
    Directory,
    IdsFromNowOn,
    InstrumentsFromNowOn,
    Json,
    OrdersFromNowOn,
    ParticipantsFromNowOn,
)

PANEL: Final = "Look after it"
app = typer.Typer()
checkpoint = typer.Typer(
    help="Checkpoints of the state: list, create, verify, prune.\n\nExample: lockstep checkpoint create node1",
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
    """List the checkpoints of all slices, damaged ones too, and the images from which slices start.

    Example: lockstep checkpoint list node1
    """
    from cli.upkeep.checkpoint import list_checkpoints

    return list_checkpoints(directory, as_json=as_json)


@checkpoint.command("create")
def checkpoint_create(directory: Directory, as_json: Json = False) -> int:
    """Write a checkpoint of the state after the last durable command, so that later recoveries start there.

    Safe beside a running node: it only reads the journal, and writes a file of its own.

    Example: lockstep checkpoint create node1
    """
    from cli.upkeep.checkpoint import create

    return create(directory, as_json=as_json)


@checkpoint.command("verify")
def checkpoint_verify(directory: Directory, as_json: Json = False) -> int:
    """Read every checkpoint and check it, byte for byte.

    Example: lockstep checkpoint verify node1
    """
    from cli.upkeep.checkpoint import verify

    return verify(directory, as_json=as_json)


@checkpoint.command("prune")
def checkpoint_prune(
    directory: Directory,
    keep: Annotated[int, typer.Option(metavar="N", min=1, help="Number of the newest checkpoints to keep.")] = 3,
    as_json: Json = False,
) -> int:
    """Remove all but the newest checkpoints that recovery could use.

    The kept ones are verified first, and the newest good one always stays. Safe beside a running node, whose newer
    checkpoints are left alone. Checkpoints marked as damaged stay.

    Example: lockstep checkpoint prune node1 --keep 2
    """
    from cli.upkeep.checkpoint import prune

    return prune(directory, keep, as_json=as_json)


@journal.command("info")
def journal_info(directory: Directory, as_json: Json = False) -> int:
    """Summarize a journal without reading all of it.

    Example: lockstep journal info node1
    """
    from cli.upkeep.journal import info

    return info(directory, as_json=as_json)


@journal.command("check")
def journal_check(directory: Directory, as_json: Json = False) -> int:
    """Check each block of a journal: its checksum and its place in the chain.

    Example: lockstep journal check node1
    """
    from cli.upkeep.journal import check

    return check(directory, as_json=as_json)


@journal.command("index")
def journal_index(directory: Directory, as_json: Json = False) -> int:
    """Write the index of events that questions read, DIR/index, or add to it what is new.

    `events` and `commands` do it too where they need it; `order` reads it only. It may be removed at any time.

    Example: lockstep journal index node1
    """
    from cli.questions.index_events import index_events

    return index_events(directory, as_json=as_json)


@journal.command("keep-events")
def journal_keep_events(directory: Directory, as_json: Json = False) -> int:
    """Keep the events of closed slices beside them, compressed, so that later releases can read them.

    Each slice is replayed from its start and compared with the record. Repeat the command to continue after a kill.

    Example: lockstep journal keep-events node1
    """
    from cli.upkeep.archive import keep_events

    return keep_events(directory, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def archive(
    directory: Directory,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="Slices whose last command is older, as 30d or 12h.")
    ],
    to: Annotated[Path, typer.Option("--to", metavar="PATH", help="Folder that the slices move to; made if missing.")],
    without_events: Annotated[
        bool, typer.Option("--without-events", help="Also slices whose events are not kept.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Move closed slices of the journal away; a note in DIR says where each is.

    A slice is copied, synced and compared before it is removed. Repeat the command to continue after a kill. Commands
    read a slice in PATH as they read a data directory; copy its folder back to DIR/slices to undo the move.

    Example: lockstep archive node1 --older-than 30d --to /archive/node1
    """
    from cli.upkeep.archive import archive as command

    return command(directory, older_than, to, without_events=without_events, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def roll(
    directory: Directory,
    orders_max: OrdersFromNowOn = None,
    ids_max: IdsFromNowOn = None,
    instruments_max: InstrumentsFromNowOn = None,
    participants_max: ParticipantsFromNowOn = None,
    keep_events: Annotated[
        bool, typer.Option(help="Replay the closed slice, to verify it and to keep its events.")
    ] = True,
    as_json: Json = False,
) -> int:
    """Close the open slice of a journal and begin the next, so that a start reads no slice before it.

    The closed slice stays, read-only. The market goes on as it was, also with another capacity. No node may be running;
    `lockstep admin roll` has a running one begin a slice.

    Example: lockstep roll node1 --orders-max 2000000
    """
    from cli.capacity import CapacityOptions
    from cli.upkeep.roll import roll as command

    options = CapacityOptions(orders_max, ids_max, instruments_max, participants_max)
    return command(directory, options, events=keep_events, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def upgrade(
    directory: Directory,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    keep_events: Annotated[
        bool, typer.Option(help="Keep the events of the closed slice, where this release can replay it.")
    ] = True,
    orders_max: OrdersFromNowOn = None,
    ids_max: IdsFromNowOn = None,
    instruments_max: InstrumentsFromNowOn = None,
    participants_max: ParticipantsFromNowOn = None,
    as_json: Json = False,
) -> int:
    """Let the market of a directory that an earlier release wrote go on under this release.

    Verifies the directory, shows what will change and asks. Open orders, positions, limits, users, streams of messages
    and all numbers go on in a new slice; the old one stays, read-only. Stop the node first, and start it afterwards.

    Example: lockstep upgrade node1
    """
    from cli.capacity import CapacityOptions
    from cli.upkeep.upgrade import upgrade as command

    options = CapacityOptions(orders_max, ids_max, instruments_max, participants_max)
    return command(directory, options, yes=yes, events=keep_events, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def repair(
    directory: Directory,
    sources: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="HOST:PORT|DIR",
            help="Link of the primary, or another data directory; any number of these.",
        ),
    ],
    secret_file: Annotated[
        Path | None,
        typer.Option("--secret-file", metavar="FILE", help="Secret of the pair, for HOST:PORT.", show_default="none"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Repair a damaged data directory from copies, byte for byte; these may be damaged too.

    Blocks, records, images, kept events and checkpoints are checked, and only what is damaged or lost is fetched. The
    damaged files stay until the whole directory has been checked again. An empty DIR becomes a whole copy. What one
    copy cannot give comes from the next; what none has is named, and that slice stays as it is. Another journal and
    another history are refused. No node may be running on DIR. Repeat the command to continue after a kill.

    Example: lockstep repair node1 --from 10.0.0.2:9012 --secret-file secret

    Example: lockstep repair node1 --from /backup/node2 --from /backup/old
    """
    from cli.upkeep.repair import repair as command

    return command(directory, sources, secret_file, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def doctor(directory: Annotated[Path | None, typer.Argument(metavar="[DIR]")] = None, as_json: Json = False) -> int:
    """Check this machine, and a data directory, for faults, and say what to do.

    DIR may be a bundle, which a node writes at a divergence: it says whether that node was right.

    Example: lockstep doctor node1

    Example: lockstep doctor node1/divergence-3-90211.bundle
    """
    from cli.upkeep.doctor import doctor as command

    if directory is not None and directory.is_file():
        from cli.proofs.bundle_report import doctor as of_bundle

        return of_bundle(directory, as_json=as_json)
    return command(directory, as_json=as_json)


@bench.command("engine")
def bench_engine(as_json: Json = False) -> int:
    """Measure commands per second of the engine, by workload.

    Example: lockstep bench engine
    """
    from cli.upkeep.bench import engine

    return engine(as_json=as_json)


@bench.command("journal")
def bench_journal(as_json: Json = False) -> int:
    """Measure commands per second through journal and engine, durable.

    Example: lockstep bench journal
    """
    from cli.upkeep.bench import journal as command

    return command(as_json=as_json)


@bench.command("replay")
def bench_replay(as_json: Json = False) -> int:
    """Measure commands per second of a verified replay.

    Example: lockstep bench replay
    """
    from cli.upkeep.bench import replay

    return replay(as_json=as_json)


@bench.command("slices")
def bench_slices(as_json: Json = False) -> int:
    """Measure a start with a long history, and the wait of clients while a slice of the journal begins.

    Example: lockstep bench slices
    """
    from cli.upkeep.bench import slices

    return slices(as_json=as_json)


@app.command(rich_help_panel=PANEL)
def warmup(as_json: Json = False) -> int:
    """Compile the kernels before their first use (once for a machine and version).

    Example: lockstep warmup
    """
    from cli.warmup import warmup as command

    return command(as_json=as_json)


@app.command(rich_help_panel=PANEL)
def version(as_json: Json = False) -> int:
    """Show the versions of lockstep, of its rules and of its libraries.

    Example: lockstep version --json
    """
    from cli.warmup import version as command

    return command(as_json=as_json)
