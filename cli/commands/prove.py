"""Commands that verify journals: `lockstep verify|compare|audit`.

Each command imports the file that does its work only when it is called.
"""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.options import Directory, Engine, EngineChoice, FromSeq, Json, ToSeq

PANEL: Final = "Prove it"
app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def verify(
    directory: Directory,
    engine: Engine = EngineChoice.kernel,
    workers: Annotated[int, typer.Option(metavar="N", min=1, max=256, help="Processes.", show_default="one a core")] = (
        os.cpu_count() or 1
    ),
    from_seq: FromSeq = None,
    to_seq: ToSeq = None,
    as_json: Json = False,
) -> int:
    """Replay the journal and compare every digest with the one recorded.

    Example: lockstep verify node1 --engine reference
    """
    from cli.proofs.proof import verify as command

    return command(directory, engine, workers, from_seq, to_seq, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def compare(
    directory_a: Annotated[Path, typer.Argument(metavar="DIR_A", help="A node's data directory, or a bundle.")],
    directory_b: Annotated[
        Path | None, typer.Argument(metavar="[DIR_B]", help="Another's. Without it: DIR_A and a replay of its journal.")
    ] = None,
    engine: Engine = EngineChoice.kernel,
    state: Annotated[
        bool, typer.Option("--state", help="Find the command after which the states part, with part and row.")
    ] = False,
    outcome: Annotated[bool, typer.Option("--outcome", help="Show trades, positions and money that differ.")] = False,
    release: Annotated[
        Path | None,
        typer.Option(metavar="PYTHON", help="With DIR_A alone: compare with the release of this interpreter."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Find the first block, sequence number and part in which two nodes differ.

    Commands and recorded digests are compared first. If two digests differ, the engine replays the commands and says
    which is right. If all agree, each node's state is rebuilt from its own checkpoint and compared part by part. With
    the reference engine, open orders and instruments are also compared with its replay from command 1.

    With --state every checkpoint of both is compared with a replay. The first command after which the states differ is
    found by halving, with part, row, and the later commands that the difference touched. With DIR_A alone, its
    checkpoints and a replay are compared; with --engine reference, both engines on its journal; with --release, this
    release and another.

    Two bundles, which the nodes of a pair write at a divergence, are opened in the same way: each node's state is
    compared with a replay of its own journal.

    Example: lockstep compare node1 node2 --state --outcome

    Example: lockstep compare node1 --state --engine reference

    Example: lockstep compare node1 --release /opt/lockstep-1/.venv/bin/python

    Example: lockstep compare a/divergence-3-90211.bundle b/divergence-3-90211.bundle
    """
    from cli.proofs.parting import Closer
    from cli.proofs.proof import compare as command

    return command(directory_a, directory_b, engine, as_json=as_json, ask=Closer(state, outcome, release))


@app.command(rich_help_panel=PANEL)
def audit(
    directory: Directory,
    against: Annotated[str, typer.Option(metavar="HOST:PORT|DIR", help="Link of the primary, or a data directory.")],
    engine: Engine = EngineChoice.kernel,
    secret_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Secret of the pair.", show_default="none, for a directory"),
    ] = None,
    to_seq: ToSeq = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop after this time.", show_default="until Ctrl-C")
    ] = None,
    bundles: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for the bundle of a difference.", show_default="this folder")
    ] = Path(),
    as_json: Json = False,
) -> int:
    """Follow the primary with a third copy of the state, and compare every digest.

    The copy starts from DIR, which is only read: the directory of any node, running or not. Events and state are
    compared with either engine. At a difference the block, its first command and the part of the state are named, and
    a forensic bundle is written, which `lockstep doctor` and `lockstep compare` open. Exit status 0 where all is equal,
    1 at a difference.

    Example: lockstep audit node3 --against 127.0.0.1:9301 --secret-file secret --engine reference --seconds 60

    Example: lockstep audit node3 --against node4
    """
    from cli.proofs.audit import audit as command

    return command(
        directory,
        against,
        engine,
        secret_file=secret_file,
        bundles=bundles,
        to_seq=to_seq,
        seconds=seconds,
        as_json=as_json,
    )
