"""Commands that verify journals: `lockstep verify|compare`.

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
    from cli.proof import verify as command

    return command(directory, engine, workers, from_seq, to_seq, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def compare(
    directory_a: Annotated[Path, typer.Argument(metavar="DIR_A", help="A node's data directory.")],
    directory_b: Annotated[Path, typer.Argument(metavar="DIR_B", help="Another's.")],
    engine: Engine = EngineChoice.kernel,
    as_json: Json = False,
) -> int:
    """Find the first block, sequence number and part in which two nodes differ.

    Commands and recorded digests are compared first. If two digests differ, the engine replays the commands and says
    which is right. If all agree, each node's state is rebuilt from its own checkpoint and compared part by part. With
    the reference engine, open orders and instruments are also compared with its replay from command 1.

    Example: lockstep compare node1 node2

    Example: lockstep compare node1 node2 --engine reference
    """
    from cli.proof import compare as command

    return command(directory_a, directory_b, engine, as_json=as_json)
