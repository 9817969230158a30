"""Commands that take a journal to other programs: `lockstep export|replay|ask`.

Each command imports the file that does its work only when it is called.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.options import (
    Directory,
    ExportForm,
    FeedForm,
    FromWhen,
    Json,
    ReplayFeed,
    ToWhen,
)

PANEL: Final = "Take it to other programs"
app = typer.Typer()


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
            help="Also all price levels, once in each interval of market time in which a command came, as 1m.",
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
        ReplayFeed,
        typer.Option(help="itch: every order of the book, as ITCH 5.0; ws: messages of the WebSocket channels."),
    ] = ReplayFeed.itch,
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
        typer.Option(min=0, max=65_535, help="Send ws to clients of this port; 0: any free port.", show_default="none"),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(
            metavar="1x|10x|max", help="Speed of --group and --port; 1x: as fast as it was.", show_default="1x"
        ),
    ] = None,
    day: Annotated[str | None, typer.Option(metavar="DATE", help="Only this trading day, as 2024-01-15.")] = None,
    begin: FromWhen = None,
    end: ToWhen = None,
    second_group: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP:PORT", help="Multicast group of the B feed, with the same packets.", show_default="none"
        ),
    ] = None,
    interface: Annotated[
        str | None,
        typer.Option(help="Address of the network interface to send from, or to listen on.", show_default="127.0.0.1"),
    ] = None,
    ttl: Annotated[
        int | None, typer.Option(min=0, max=255, help="TTL of the multicast packets.", show_default="1")
    ] = None,
    requests: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", min=0, max=65_535, help="UDP port for re-requests; 0: any free port.", show_default="0"
        ),
    ] = None,
    snapshots: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", min=0, max=65_535, help="TCP port for snapshots; 0: any free port.", show_default="0"
        ),
    ] = None,
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
    from cli.servers.replay_outputs import again

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
