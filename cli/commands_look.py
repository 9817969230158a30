"""Commands that read a journal: `lockstep events|commands|tail|book|order|state|arrivals`.

Each command imports the file that does its work only when it is called.
"""

from typing import Annotated, Final

import typer

from cli.options import At, Directory, FromSeq, Json, Participant, Symbol, ToSeq, WithSeq

PANEL: Final = "Look into a journal"
app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def events(
    directory: Directory,
    from_seq: FromSeq = None,
    to_seq: ToSeq = None,
    symbol: Symbol = None,
    participant: Participant = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only events of this kind, such as trade; may be repeated.")
    ] = None,
    reports: Annotated[
        bool,
        typer.Option(
            "--reports", help="Print reports: each complete by itself, with sums, names and users. --kind takes theirs."
        ),
    ] = False,
    with_seq: WithSeq = False,
    as_json: Json = False,
) -> int:
    """Print the events of a journal, in the rulebook's notation.

    Example: lockstep events node1 --symbol AAPL --kind trade --from 1000

    Example: lockstep events node1 --reports --participant ALPHA
    """
    from cli.choice import Selection
    from cli.history import events as command

    chosen = Selection(from_seq, to_seq, symbol, participant, tuple(kind or ()))
    if reports:
        from cli.reports import reports as print_reports

        return print_reports(directory, chosen, with_seq=with_seq, as_json=as_json)
    return command(directory, chosen, with_seq=with_seq, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def commands(
    directory: Directory,
    from_seq: FromSeq = None,
    to_seq: ToSeq = None,
    symbol: Symbol = None,
    participant: Participant = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only commands of this kind, such as enter; may be repeated.")
    ] = None,
    quarantine: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Commands that were set aside at a takeover; `lockstep doctor` lists them."),
    ] = None,
    with_seq: WithSeq = False,
    with_events: Annotated[
        bool, typer.Option("--with-events", help="Print the events of each command below it.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Print the commands of a journal, as a scenario that gives the same rows again.

    Example: lockstep commands node1 > day.txt && lockstep run day.txt --data node2

    Example: lockstep commands node1 --quarantine 1001-3fa2b1c4 --with-seq
    """
    from cli.choice import Selection
    from cli.history import commands as command

    chosen = Selection(from_seq, to_seq, symbol, participant, tuple(kind or ()))
    return command(
        directory, chosen, quarantine=quarantine, with_seq=with_seq, with_events=with_events, as_json=as_json
    )


@app.command(rich_help_panel=PANEL)
def tail(
    directory: Directory,
    from_seq: Annotated[
        int | None,
        typer.Option("--from", metavar="SEQ", min=1, help="First command.", show_default="the next one that comes"),
    ] = None,
    to_seq: Annotated[
        int | None, typer.Option("--to", metavar="SEQ", min=1, help="End after this command.", show_default="never")
    ] = None,
    symbol: Symbol = None,
    participant: Participant = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only events of this kind, such as trade; may be repeated.")
    ] = None,
    commands: Annotated[bool, typer.Option("--commands", help="Print commands in place of events.")] = False,
    reports: Annotated[bool, typer.Option("--reports", help="Print reports in place of events.")] = False,
    with_seq: WithSeq = False,
    as_json: Json = False,
) -> int:
    """Print what a running node does, as soon as it is on its disk, until Ctrl-C.

    It reads the journal beside the node, which neither stops nor waits for it. On a directory without a running node
    it waits for one.

    Example: lockstep tail node1 --symbol AAPL --kind trade

    Example: lockstep tail node1 --reports --json --from 1000
    """
    from cli.choice import Selection
    from cli.errors import WrongUse
    from cli.history import commands as print_commands
    from cli.history import events as print_events
    from cli.node import next_seq
    from cli.reports import reports as print_reports

    if commands and reports:
        raise WrongUse("--commands and --reports exclude each other; run two commands to have both")
    begin = next_seq(directory) if from_seq is None else from_seq
    chosen = Selection(begin, to_seq, symbol, participant, tuple(kind or ()), follows=True)
    if reports:
        return print_reports(directory, chosen, with_seq=with_seq, as_json=as_json)
    if commands:
        return print_commands(directory, chosen, with_seq=with_seq, with_events=False, as_json=as_json)
    return print_events(directory, chosen, with_seq=with_seq, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def book(
    directory: Directory,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="The instrument.")],
    at: At = None,
    depth: Annotated[int, typer.Option(metavar="N", min=1, help="Price levels a side.")] = 10,
    as_json: Json = False,
) -> int:
    """Show the book of an instrument as a ladder, now or at any past moment.

    Example: lockstep book node1 AAPL --at 09:31:07.25 --depth 5
    """
    from cli.market import book as command

    return command(directory, symbol, at, depth, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def order(
    directory: Directory,
    order_id: Annotated[str, typer.Argument(metavar="ID|TOKEN", help="Client order id, or order token of OUCH.")],
    participant: Participant = None,
    as_json: Json = False,
) -> int:
    """Show the history of an order, event by event, through its replaces.

    Example: lockstep order node1 a17 --participant ALPHA

    Example: lockstep order node1 ORDER-20240115
    """
    from cli.order import order as command

    return command(directory, order_id, participant, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def state(directory: Directory, at: At = None, as_json: Json = False) -> int:
    """Show the state: digests by part, counts, phases, positions, limits.

    Example: lockstep state node1 --at 120000
    """
    from cli.market import state as command

    return command(directory, at, as_json=as_json)


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
    from cli.arrivals import Choice
    from cli.arrivals import arrivals as command

    return command(directory, Choice(from_seq, to_seq, user, connection), check=check, as_json=as_json)
