"""Commands that look into a journal: `lockstep events|commands|tail|book|order|inspect|incident|state|stats`, and more.

Each command imports the file that does its work only when it is called.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.options import (
    At,
    Contra,
    Directory,
    Engine,
    EngineChoice,
    FromWhen,
    Json,
    OneSide,
    Participant,
    Price,
    Reasons,
    Symbol,
    ToWhen,
    WithEvents,
    WithoutSessions,
    WithSeq,
    WithTime,
)

if TYPE_CHECKING:
    from cli.questions.choice import Selection

PANEL: Final = "Look into a journal"
app = typer.Typer()


def _selection(
    span: tuple[int | None, int | None],
    symbol: str | None,
    participant: str | None,
    kinds: list[str] | None,
    contra: str | None,
    side: str | None,
    reasons: list[str] | None,
    price: str | None,
    without_sessions: bool,
    *,
    follows: bool = False,
) -> "Selection":
    """The selection that `events`, `commands` and `tail` share: a range, and their options as typer gives them."""
    from cli.questions.choice import Selection

    return Selection(
        *span,
        symbol,
        participant,
        tuple(kinds or ()),
        contra,
        side,
        tuple(reasons or ()),
        follows=follows,
        price=price,
        without_sessions=without_sessions,
    )


@app.command(rich_help_panel=PANEL)
def events(
    directory: Directory,
    begin: FromWhen = None,
    end: ToWhen = None,
    symbol: Symbol = None,
    participant: Participant = None,
    contra: Contra = None,
    side: OneSide = None,
    reason: Reasons = None,
    price: Price = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only events of this kind, such as trade; may be repeated.")
    ] = None,
    reports: Annotated[
        bool,
        typer.Option(
            "--reports", help="Print reports: each complete by itself, with sums, names and users. --kind takes theirs."
        ),
    ] = False,
    without_sessions: WithoutSessions = False,
    with_seq: WithSeq = False,
    with_time: WithTime = False,
    as_json: Json = False,
) -> int:
    """Print the events of a journal, in the rulebook's notation.

    Example: lockstep events node1 --symbol AAPL --kind trade --from 1000

    Example: lockstep events node1 --reports --participant ALPHA

    Example: lockstep events node1 --participant ALPHA --contra BETA --from 09:31 --to 09:32 --with-time
    """
    from cli.errors import FINE
    from cli.questions.choice import range_of
    from cli.questions.history import Look
    from cli.questions.history import events as command

    span = range_of(directory, begin, end)
    if span is None:
        return FINE
    chosen = _selection(span, symbol, participant, kind, contra, side, reason, price, without_sessions)
    look = Look(with_seq=with_seq, with_time=with_time, as_json=as_json)
    if reports:
        from cli.questions.reports import reports as print_reports

        return print_reports(directory, chosen, look)
    return command(directory, chosen, look)


@app.command(rich_help_panel=PANEL)
def commands(
    directory: Directory,
    begin: FromWhen = None,
    end: ToWhen = None,
    symbol: Symbol = None,
    participant: Participant = None,
    contra: Contra = None,
    side: OneSide = None,
    reason: Reasons = None,
    price: Price = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only commands of this kind, such as enter; may be repeated.")
    ] = None,
    quarantine: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Commands that were set aside at a takeover; `lockstep doctor` lists them."),
    ] = None,
    without_sessions: WithoutSessions = False,
    with_seq: WithSeq = False,
    with_time: WithTime = False,
    with_events: WithEvents = False,
    as_json: Json = False,
) -> int:
    """Print the commands of a journal, as a scenario that gives the same rows again.

    Example: lockstep commands node1 > day.txt && lockstep run day.txt --data node2

    Example: lockstep commands node1 --quarantine 1001-3fa2b1c4 --with-seq

    Example: lockstep commands node1 --symbol AAPL --side buy --price 187.25

    Example: lockstep commands node1 --participant ALPHA --reason max_order_qty --with-events --with-time
    """
    from cli.errors import FINE
    from cli.questions.choice import range_of
    from cli.questions.history import Look
    from cli.questions.history import commands as command

    span = range_of(directory, begin, end)
    if span is None:
        return FINE
    chosen = _selection(span, symbol, participant, kind, contra, side, reason, price, without_sessions)
    look = Look(with_seq=with_seq, with_time=with_time, with_events=with_events, as_json=as_json)
    return command(directory, chosen, look, quarantine=quarantine)


@app.command(rich_help_panel=PANEL)
def tail(
    directory: Directory,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="SEQ|TIME", help="First command, or time.", show_default="the next one that comes"
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="SEQ|TIME", help="End after this command, or past time.", show_default="never"),
    ] = None,
    symbol: Symbol = None,
    participant: Participant = None,
    contra: Contra = None,
    side: OneSide = None,
    reason: Reasons = None,
    price: Price = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only events of this kind, such as trade; may be repeated.")
    ] = None,
    commands: Annotated[bool, typer.Option("--commands", help="Print commands in place of events.")] = False,
    reports: Annotated[bool, typer.Option("--reports", help="Print reports in place of events.")] = False,
    with_events: WithEvents = False,
    without_sessions: WithoutSessions = False,
    with_seq: WithSeq = False,
    with_time: WithTime = False,
    as_json: Json = False,
) -> int:
    """Print what a running node does, as soon as its answers may leave, until Ctrl-C.

    It reads the node's tape in shared memory, and from the journal what the tape does not hold any more. The node
    neither stops nor waits for it. On a directory without a running node it waits for one.

    Example: lockstep tail node1 --symbol AAPL --kind trade

    Example: lockstep tail node1 --reports --json --from 1000

    Example: lockstep tail node1 --commands --with-events --participant ALPHA
    """
    from cli.errors import FINE, WrongUse
    from cli.questions.choice import range_of
    from cli.questions.history import Look
    from cli.questions.history import commands as print_commands
    from cli.questions.history import events as print_events
    from cli.questions.reports import reports as print_reports

    if commands and reports:
        raise WrongUse("--commands and --reports exclude each other; run two commands to have both")
    if with_events and not commands:
        raise WrongUse("--with-events prints the events of each command below it; give --commands too")
    span = range_of(directory, begin, end, follows=True)
    if span is None:
        return FINE
    chosen = _selection(span, symbol, participant, kind, contra, side, reason, price, without_sessions, follows=True)
    look = Look(with_seq=with_seq, with_time=with_time, with_events=with_events, as_json=as_json)
    if reports:
        return print_reports(directory, chosen, look)
    return print_commands(directory, chosen, look) if commands else print_events(directory, chosen, look)


@app.command(rich_help_panel=PANEL)
def book(
    directory: Directory,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="The instrument.")],
    at: At = None,
    depth: Annotated[int, typer.Option(metavar="N", min=1, help="Price levels a side.")] = 10,
    orders: Annotated[
        bool, typer.Option("--orders", help="List each open order, dormant and hidden ones too.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Show the book of an instrument, now or at any past moment: its ladder with what is not displayed, what an auction
    would give, its midpoint book, dormant stops, and the band of limit prices.

    Example: lockstep book node1 AAPL --at 09:31:07.25 --depth 5

    Example: lockstep book node1 AAPL --orders
    """
    from cli.questions.market import book as command

    return command(directory, symbol, at, depth, with_orders=orders, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def order(
    directory: Directory,
    order_id: Annotated[
        str | None, typer.Argument(metavar="ID|TOKEN", help="Client order id, order token of OUCH, or ClOrdID of FIX.")
    ] = None,
    number: Annotated[int | None, typer.Option(metavar="N", min=1, help="By order number.")] = None,
    trade: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Both orders of a trade, by its number.")
    ] = None,
    token: Annotated[str | None, typer.Option(metavar="TOKEN", help="By order token of OUCH alone.")] = None,
    participant: Participant = None,
    queue: Annotated[
        bool, typer.Option("--queue", help="Show who was ahead in the queue of its price, after each event.")
    ] = False,
    latency: Annotated[
        bool,
        typer.Option(
            "--latency",
            help="Show the latency of each of its commands: read, sequenced, applied, journaled, answered.",
        ),
    ] = False,
    as_json: Json = False,
) -> int:
    """Show the history of an order, event by event, through its replaces, and the rule behind each end or refusal.

    Example: lockstep order node1 a17 --participant ALPHA --queue

    Example: lockstep order node1 ORDER-20240115

    Example: lockstep order node1 --trade 1204

    Example: lockstep order node1 a17 --latency
    """
    from cli.questions.order import Asked
    from cli.questions.order import order as command

    asked = Asked(order_id, token, number, trade)
    return command(directory, asked, participant, with_queue=queue, with_latency=latency, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def why(
    directory: Directory,
    seq: Annotated[int | None, typer.Argument(metavar="SEQ", min=1, help="The command.")] = None,
    order: Annotated[
        str | None,
        typer.Option(metavar="ID|TOKEN", help="Explain the commands that began and ended this order."),
    ] = None,
    participant: Participant = None,
    as_json: Json = False,
) -> int:
    """Explain a command: its checks with limit and value, what followed by which rule, the book before and after.

    Example: lockstep why node1 120000

    Example: lockstep why node1 --order a17 --participant ALPHA
    """
    from cli.questions.why import why as command

    return command(directory, seq, order, participant, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def inspect(
    directory: Directory,
    other: Annotated[
        Path | None, typer.Argument(metavar="[DIR_B]", help="A second directory, shown beside the first.")
    ] = None,
    at: At = None,
    as_json: Json = False,
) -> int:
    """Look at a journal on a screen: the day as a timeline, and each command with its book, queue and events.

    Keys step forward and back, go to a time, search, and follow a running node, which neither stops nor waits; ? lists
    them. Two directories are compared first, and shown at the command at which they differ. It needs
    `pip install 'lockstep[inspect]'`; --json prints what the screen would show, and does not.

    Example: lockstep inspect node1

    Example: lockstep inspect node1 --at 09:31:07.25

    Example: lockstep inspect node1 node2
    """
    from cli.inspect.inspect import inspect as command

    return command(directory, other, at, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def incident(
    directory: Directory,
    out: Annotated[Path, typer.Option(metavar="FILE", help="New file: .html, or .md with its pictures beside it.")],
    begin: FromWhen = None,
    end: ToWhen = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYM",
            help="Instrument to draw a picture of; may be repeated.",
            show_default="halted ones and the busiest",
        ),
    ] = None,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Text and figures alone.")] = False,
    as_json: Json = False,
) -> int:
    """Write a report of a range, ready to be sent: what happened in order with its cause, figures and pictures.

    Pictures are of rates, price, volume, depth and latencies. Tables have the instruments, the participants concerned,
    refusals by reason, digests and versions. Equal ranges give equal reports. Pictures need `pip install
    'lockstep[incident]'`. A running node neither stops nor waits.

    Example: lockstep incident node1 --from 09:30 --to 09:45 --out report.html

    Example: lockstep incident node1 --from 1200 --to 5000 --symbol XYZ --out report.md
    """
    from cli.errors import WRONG
    from cli.questions.choice import range_of
    from cli.questions.incident import incident as command

    span = range_of(directory, begin, end)
    if span is None:
        return WRONG
    return command(directory, span, out, tuple(symbol or ()), with_pictures=not no_pictures, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def whatif(
    directory: Directory,
    data: Annotated[Path, typer.Option(metavar="NEW", help="New directory, for the market as it would have been.")],
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Leave out all orders of this participant; may be repeated."),
    ] = None,
    order: Annotated[
        list[str] | None, typer.Option(metavar="ID|TOKEN", help="Leave out this order; may be repeated.")
    ] = None,
    drop: Annotated[
        list[int] | None, typer.Option(metavar="SEQ", min=1, help="Leave out this command; may be repeated.")
    ] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="LIMITS", help="Set limits, as after `limits`: ALPHA max_order_qty=100; may be repeated."
        ),
    ] = None,
    insert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Put in the commands of a scenario file, by the times of its `at` lines."),
    ] = None,
    begin: FromWhen = None,
    end: ToWhen = None,
    participant: Annotated[str | None, typer.Option(metavar="NAME", help="With --order: only of this one.")] = None,
    engine: Engine = EngineChoice.kernel,
    as_json: Json = False,
) -> int:
    """Replay a journal with a change, and show what would have come of it: trades, prices, halts, positions, profit.

    The other commands stand as they were, with their times: nobody reacts to what is left out or put in. With --from
    and --to, --without applies in that range alone. --set applies from --from on, or once the names in it are defined;
    a later `limits` command of the journal counts after it.

    Example: lockstep whatif node1 --without ALPHA --data node2

    Example: lockstep whatif node1 --order a17 --participant ALPHA --data node2

    Example: lockstep whatif node1 --set "ALPHA max_order_qty=100" --from 09:31 --data node2

    Example: lockstep whatif node1 --drop 1204 --engine reference --data node2
    """
    from cli.errors import FINE
    from cli.proofs.whatif import Change
    from cli.proofs.whatif import whatif as command
    from cli.questions.choice import range_of

    span = range_of(directory, begin, end)
    if span is None:
        return FINE
    change = Change(tuple(without or ()), tuple(order or ()), tuple(drop or ()), tuple(limits or ()), insert, span)
    return command(directory, data, change, participant, engine.value, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def state(
    directory: Directory,
    at: At = None,
    participant: Participant = None,
    symbol: Symbol = None,
    as_json: Json = False,
) -> int:
    """Show the state: digests by part, counts, phases, positions, limits; of a participant also what it uses of them.

    Example: lockstep state node1 --at 120000

    Example: lockstep state node1 --participant ALPHA --symbol XYZ
    """
    from cli.questions.market import state as command

    return command(directory, at, participant, symbol, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def positions(
    directory: Directory,
    at: At = None,
    participant: Participant = None,
    symbol: Symbol = None,
    as_json: Json = False,
) -> int:
    """Show positions and open quantities, now or at any past moment, valued at the last trade price.

    Example: lockstep positions node1 --at 09:31:07.25 --participant ALPHA
    """
    from cli.questions.holdings import positions as command

    return command(directory, at, participant, symbol, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def limits(
    directory: Directory,
    at: At = None,
    participant: Participant = None,
    symbol: Symbol = None,
    as_json: Json = False,
) -> int:
    """Show the limits that are set, now or at any past moment.

    Example: lockstep limits node1 --at 120000 --participant ALPHA
    """
    from cli.questions.holdings import limits as command

    return command(directory, at, participant, symbol, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def stats(
    directory: Directory,
    by: Annotated[
        str, typer.Option(metavar="symbol|participant|symbol,participant", help="One line for each of these.")
    ] = "symbol",
    bars: Annotated[
        str | None, typer.Option(metavar="WIDTH", help="Print bars of this width instead, such as 1m.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Print levels of the index that a file defines.")
    ] = None,
    symbol: Symbol = None,
    participant: Participant = None,
    begin: FromWhen = None,
    end: ToWhen = None,
    as_json: Json = False,
) -> int:
    """Show volumes, prices, spreads and shares of participants, of a day or a range, and bars.

    All figures are exact. Trades at the midpoint and agreed crosses count for volume and not for prices. Open and
    close are those of the auctions where there were any. The spread is a mean over time, while there were a bid and an
    offer in continuous trading; "quoted" is how much of the time that was.

    Example: lockstep stats node1 --from 09:30 --to 16:00

    Example: lockstep stats node1 --symbol AAPL --bars 1m

    Example: lockstep stats node1 --by symbol,participant --participant ALPHA

    An index is a file such as {"name": "TOP2", "base": 1000, "members": {"AAPL": 4, "MSFT": 3}, "changes":
    [{"at": "2026-01-05T09:30", "split": {"AAPL": "4:1"}}]}: a change has members, or a split. Levels are exact.

    Example: lockstep stats node1 --index top2.json --bars 1m
    """
    from cli.errors import FINE, WrongUse
    from cli.questions.choice import Selection, range_of
    from cli.questions.statistics import index_levels, statistics, width_of

    width_ns = width_of(bars)
    if index is not None and (symbol, participant, by) != (None, None, "symbol"):
        raise WrongUse("an index is of its members; leave --symbol, --participant and --by out")
    span = range_of(directory, begin, end)
    if span is None:
        return FINE
    if index is not None:
        return index_levels(directory, Selection(*span), index, width_ns, as_json=as_json)
    return statistics(directory, Selection(*span, symbol, participant), by, width_ns, as_json=as_json)
