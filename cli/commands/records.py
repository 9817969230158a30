"""Commands that show what a node recorded of its clients: `lockstep sessions|fix|latency|arrivals`.

Each command imports the file that does its work only when it is called.
"""

from typing import Annotated, Final

import typer

from cli.options import (
    At,
    Directory,
    FromSeq,
    FromWhen,
    Json,
    OnOff,
    Participant,
    ToSeq,
    ToWhen,
)

PANEL: Final = "Look at what a node recorded"
app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def sessions(directory: Directory, at: At = None, as_json: Json = False) -> int:
    """Show who was logged in, and the connections that had sent messages, now or at any past moment.

    Logins come from DIR/logins, messages from DIR/arrivals: the node that takes orders writes both, its copies do not.

    Example: lockstep sessions node1 --at 09:31:07.25
    """
    from cli.questions.sessions import sessions as command

    return command(directory, at, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def fix(
    directory: Directory,
    session: Annotated[
        str | None, typer.Option(metavar="USER", help="Print the last messages of this user's sessions.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, max=1_000, help="Messages each way.")] = 20,
    log: Annotated[
        OnOff | None,
        typer.Option(help="Have the running gateways log each message of the session, or not any more."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Show the FIX sessions of a node, running or not: their numbers, and the last messages of one.

    Numbers and messages come from the journal; passwords are in neither.

    Example: lockstep fix node1 --session ALICE
    """
    from cli.operating.fix import fix as command

    return command(directory, session, last, None if log is None else log.value, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def latency(
    directory: Directory,
    begin: FromWhen = None,
    end: ToWhen = None,
    participant: Participant = None,
    every: Annotated[
        int | None, typer.Option(metavar="SECONDS", min=1, help="Also summarize each interval of so many seconds.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Show how long orders, cancels and replaces took, by stage, participant and time, from DIR/latencies.

    The time begins when the node received the bytes of a command, and ends when all its answers were given to sockets,
    lines and gateway processes. What came in one turn of the node shares the later moments.

    Example: lockstep latency node1 --from 09:30 --to 09:31 --every 10

    Example: lockstep latency node1 --participant ALPHA
    """
    from cli.errors import FINE
    from cli.questions.choice import range_of
    from cli.questions.latency import latency as command

    span = range_of(directory, begin, end)
    return FINE if span is None else command(directory, span, participant, every, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def arrivals(
    directory: Directory,
    from_seq: FromSeq = None,
    to_seq: ToSeq = None,
    user: Annotated[
        str | None, typer.Option(metavar="NAME|N", help="Only messages of this user, by name or number.")
    ] = None,
    connection: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only messages of this connection.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check that connections took turns; exit status 1 if not.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Print the times and the order in which a node received messages, from DIR/arrivals.

    Messages that are read together make a turn. In a turn no message waits for more than one message of each other
    connection.

    Example: lockstep arrivals node1 --from 1000 --user TRADER

    Example: lockstep arrivals node1 --check
    """
    from cli.questions.arrivals import Choice
    from cli.questions.arrivals import arrivals as command

    return command(directory, Choice(from_seq, to_seq, user, connection), check=check, as_json=as_json)
