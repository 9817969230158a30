"""Commands of an operator to a pair of nodes: `lockstep status`, `promote` and `switchover`.

Each command imports the file that does its work only when it is called.
"""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.serve import PANEL
from cli.options import Json

app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def status(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Data directory of a running node of a pair.")],
    is_primary: Annotated[
        bool,
        typer.Option(
            "--is-primary",
            help="Only the exit status: 0 if this node is primary, 1 if it is not; 2 if none runs, and 75 if it starts "
            "or does not answer, with a sentence on standard error.",
        ),
    ] = False,
    as_json: Json = False,
) -> int:
    """Show a pair of nodes: who is primary, how far the standby is, and whether it can take over.

    Exit status 1 if a node has diverged. A node that is not of a pair shows its state.

    Example: lockstep status a

    Example: lockstep status a --is-primary
    """
    from cli.operating.pair_report import status as command

    return command(directory, is_primary=is_primary, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def promote(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Data directory of a running copy.")],
    force: Annotated[bool, typer.Option("--force", help="Promote though acknowledged orders may be lost.")] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Reason, kept on record by the arbiter.", show_default="none")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm without a question.")] = False,
    as_json: Json = False,
) -> int:
    """Make a copy primary by force, after the loss of the primary: a follower, or a standby that is not in sync.

    It says first what may be lost, and asks. A primary that holds its lease is never replaced.

    Example: lockstep promote c --force --reason "both nodes of the pair are lost"
    """
    from cli.operating.promote import promote as command

    return command(directory, force=force, reason=reason, yes=yes, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def switchover(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Data directory of the running primary.")],
    as_json: Json = False,
) -> int:
    """Hand the market from the primary to its standby, without loss: for maintenance and upgrades.

    Exit status 75 if it cannot be done now, and nothing was done; 1 if the reign was given up and the standby was not
    seen to take it.

    Example: lockstep switchover a
    """
    from cli.operating.pair_report import switch_over

    return switch_over(directory, as_json=as_json)
