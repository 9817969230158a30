"""Commands that read a journal: `lockstep events|commands|tail|book|order|inspect|incident|state|stats`, and more.

Each command imports the file that does its work only when it is called.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.options import (
    At,
    Contra,
    Directory,
    Engine,
    EngineChoice,
    ExportForm,
    FeedForm,
    FromSeq,
    FromWhen,
    Json,
    OneSide,
    OnOff,
    Participant,
    PastFeed,
    Price,
    Reasons,
    Symbol,
    ToSeq,
    ToWhen,
    WithEvents,
    WithSeq,
    WithTime,
)

PANEL: Final = "Look into a journal"
app = typer.Typer()


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
    from cli.questions.choice import Selection, range_of
    from cli.questions.history import Look
    from cli.questions.history import events as command

    span = range_of(directory, begin, end)
    if span is None:
        return FINE
    chosen = Selection(*span, symbol, participant, tuple(kind or ()), contra, side, tuple(reason or ()), price=price)
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
    from cli.questions.choice import Selection, range_of
    from cli.questions.history import Look
    from cli.questions.history import commands as command

    span = range_of(directory, begin, end)
    if span is None:
        return FINE
    chosen = Selection(*span, symbol, participant, tuple(kind or ()), contra, side, tuple(reason or ()), price=price)
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
    from cli.questions.choice import Selection, range_of
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
    chosen = Selection(
        *span,
        symbol,
        participant,
        tuple(kind or ()),
        contra,
        side,
        tuple(reason or ()),
        follows=True,
        price=price,
    )
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
        str | None, typer.Argument(metavar="ID|TOKEN", help="Client order id, or order token of OUCH.")
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
            help="Show how long each of its commands took: read, sequenced, applied, journaled, answered.",
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
        Path | None, typer.Argument(metavar="[DIR_B]", help="Another directory, to be seen beside the first.")
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
            help="Picture of this instrument; may be repeated.",
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

    The other commands stand as they were, with their times: nobody reacts to what is left out or put in. --from and
    --to say where --without applies. --set applies from --from on, or once the names in it are defined; a later
    `limits` command of the journal counts after it.

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
def export(
    directory: Directory,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the export; it must not exist yet.")],
    form: Annotated[
        ExportForm,
        typer.Option("--format", help="CSV files, one SQLite database, Parquet, Arrow, or SQL for PostgreSQL."),
    ] = ExportForm.csv,
    only: Annotated[
        str | None,
        typer.Option(metavar="TABLES", help="Only these tables, as trades,orders; events are always there."),
    ] = None,
    snapshots: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="All levels of the books too, at each TIME of the market's clock in which a command came, as 1m.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: prove an export that is there against the journal.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Export events, trades, reports, orders and positions as tables, and prove them by the event digest.

    Parquet has a folder a day; it and Arrow need `pip install 'lockstep[parquet]'`. SQL has a partition a day, and is
    loaded by `psql -f load.sql` in its folder.

    The files are read back: their events must give the event digest of the journal, or the exit status is 1.

    Example: lockstep export node1 --format sqlite --out day1

    Example: lockstep export node1 --format parquet --only trades,orders --out day1

    Example: lockstep export node1 --format parquet --snapshots 1m --out day1

    Example: lockstep export node1 --out day1 --check
    """
    from cli.questions.export import export as command

    return command(directory, out, form.value, only, snapshots, check=check, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def replay(
    directory: Directory,
    feed: Annotated[
        PastFeed, typer.Option(help="itch: every order of the book, as ITCH 5.0; ws: what web clients are told.")
    ] = PastFeed.itch,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write files here, one a day; it must be empty.", show_default="none"),
    ] = None,
    form: Annotated[
        FeedForm | None,
        typer.Option(
            "--format",
            help="ITCH 5.0 as Nasdaq's files are, a capture of MoldUDP64 packets, a table of messages, lines of text; "
            "of ws: lines of JSON.",
            show_default="itch, or json",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP:PORT",
            help="Send itch to this multicast group, such as 239.192.0.1:26400.",
            show_default="none",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Tell ws to clients of this port; 0: any free port.", show_default="none"),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(metavar="1x|10x|max", help="Times as fast as it was, for --group and --port.", show_default="1x"),
    ] = None,
    day: Annotated[str | None, typer.Option(metavar="DATE", help="Only this trading day, as 2024-01-15.")] = None,
    begin: FromWhen = None,
    end: ToWhen = None,
    second_group: Annotated[
        str | None,
        typer.Option(metavar="GROUP:PORT", help="Group of the same packets again, the B feed.", show_default="none"),
    ] = None,
    interface: Annotated[
        str, typer.Option(help="Address of the interface that packets leave by, or that clients connect to.")
    ] = "127.0.0.1",
    ttl: Annotated[int, typer.Option(min=0, max=255, help="Networks that packets may cross.")] = 1,
    requests: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65_535, help="UDP port for lost messages; 0: any free port.")
    ] = 0,
    snapshots: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65_535, help="TCP port for snapshots; 0: any free port.")
    ] = 0,
    as_json: Json = False,
) -> int:
    """Make the market data of past days again, out of the journal, to files or to sockets.

    A file has the same bytes on every node, whenever it is made, and needs no other: it begins with every order that is
    still shown; with --from it begins so at that command or time. What is sent is what the feed sent, or web clients
    were told, as fast as it came (--speed 1x) or faster. The time between two dates is not waited for.

    Example: lockstep replay node1 --out days

    Example: lockstep replay node1 --out capture --format pcap --day 2024-01-15

    Example: lockstep replay node1 --out morning --format parquet --from 2024-01-15T09:30 --to 2024-01-15T10:00

    Example: lockstep replay node1 --group 239.192.0.1:26400 --requests 26401 --speed 10x --from 09:30

    Example: lockstep replay node1 --feed ws --port 8080 --speed max
    """
    from cli.servers.past_days import again

    to = (group, second_group, interface, ttl, requests, snapshots)
    return again(directory, feed.value, out, form and form.value, to, port, speed, day, begin, end, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def ask(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Export in Parquet, or a data directory, which is exported for it."),
    ] = None,
    question: Annotated[
        str | None, typer.Argument(metavar="[QUESTION]", help="SQL, or a named question; without one they are listed.")
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--with", metavar="NAME=VALUE", help="Value of a question; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Ask the tables of an export in SQL, by DuckDB, or one of the named questions.

    The tables are events, reports, trades, orders and positions. It needs `pip install 'lockstep[ask]'`.

    Example: lockstep ask day1 "SELECT symbol, sum(qty) FROM trades GROUP BY symbol"

    Example: lockstep ask day1 order --with order=17

    Example: lockstep ask day1 participant --with participant=ALPHA --with from=09:31 --with to=09:32:07.25
    """
    from cli.questions.ask import ask as command

    return command(directory, question, tuple(values or ()), as_json=as_json)


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
def stats(
    directory: Directory,
    by: Annotated[
        str, typer.Option(metavar="symbol|participant|symbol,participant", help="One line for each of these.")
    ] = "symbol",
    bars: Annotated[
        str | None, typer.Option(metavar="WIDTH", help="Print bars of this width instead, such as 1m.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Print levels of an index: its members, weights and changes.")
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


@app.command(rich_help_panel=PANEL)
def latency(
    directory: Directory,
    begin: FromWhen = None,
    end: ToWhen = None,
    participant: Participant = None,
    every: Annotated[
        int | None, typer.Option(metavar="SECONDS", min=1, help="Summarize each so many seconds too.")
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
