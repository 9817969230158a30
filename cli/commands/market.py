"""Commands that run a market: `lockstep demo|run|scenario`.

Each command imports the file that does its work only when it is called.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.options import Durability, Engine, EngineChoice, EngineOrBoth, Files, Format, InstrumentsMax, Json, OrdersMax

PANEL: Final = "Run a market"
app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def demo(
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Trading time, in seconds.")] = 8.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated traders.")] = 1,
    data: Annotated[Path | None, typer.Option(help="Keep the data here.", show_default="a temporary directory")] = None,
    as_json: Json = False,
) -> int:
    """Show an exchange in a minute: a pair of nodes under traders, an opening auction, a breaker's halt and its
    reopening, a kill, a takeover, a flipped bit that is found, and the proof that nothing was lost.

    Example: lockstep demo --seconds 5 --seed 7
    """
    from cli.demo.demo import demo as command

    return command(seconds, seed, data, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def run(
    files: Files,
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Data directory: new, or one that begins with the commands of these files."),
    ],
    append: Annotated[
        bool, typer.Option("--append", help="Recover DIR, which has other commands, and add the files after them.")
    ] = False,
    form: Annotated[Format, typer.Option("--format", help="Format of the files.")] = Format.scenario,
    books: Annotated[
        list[Path] | None,
        typer.Option(
            "--book", metavar="BOOK", help="LOBSTER order book that seeds the opening book, one for each message file."
        ),
    ] = None,
    checks: Annotated[
        list[Path] | None,
        typer.Option("--check", metavar="BOOK", help="LOBSTER order book to compare with, one for each message file."),
    ] = None,
    symbols: Annotated[
        list[str] | None,
        typer.Option(
            "--symbol",
            help="Symbol of a LOBSTER file whose name has none, in the order of the files; a stock of an ITCH file.",
        ),
    ] = None,
    date: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Date of LOBSTER and ITCH files whose names have none.")
    ] = None,
    tick: Annotated[str, typer.Option(metavar="PRICE", help="Price step of LOBSTER, ITCH files, as 0.0001.")] = "0.01",
    engine: Engine = EngineChoice.kernel,
    durability: Annotated[
        Durability, typer.Option(help="none is for measurements: a crash may lose published events.")
    ] = (Durability.fsync),
    checkpoint_every: Annotated[
        int, typer.Option(metavar="N", min=0, help="Write a checkpoint each N commands; 0: none.")
    ] = 0,
    block_rows: Annotated[int, typer.Option(metavar="N", min=1, max=8191, help="Commands in a journal block.")] = 1024,
    orders_max: OrdersMax = None,
    ids_max: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Order ids a day in a new directory.", show_default="2097152"),
    ] = None,
    instruments_max: InstrumentsMax = None,
    participants_max: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Participants in a new directory.", show_default="1024")
    ] = None,
    as_json: Json = False,
) -> int:
    """Feed scenario, LOBSTER or ITCH 5.0 files through sequencer, journal and engine, without a network.

    After a kill, repeat the command to resume where the journal ends. But --append would add the files once more: after
    a kill, give all files from the first on, without --append.

    Several LOBSTER files of one day are merged by time; --book and --check apply to the file of the same symbol, else
    to the files in order.

    Example: lockstep run day.txt --data node1

    Example: lockstep run afternoon.txt --data node1 --append

    Example: lockstep run messages.csv --format lobster --book book50.csv --check top1.csv --data node1

    Example: lockstep run A_2012-06-21_m.csv B_2012-06-21_m.csv --format lobster --book A.csv --book B.csv --data day

    Example: lockstep run 06212012.NASDAQ_ITCH50 --format itch --symbol AAPL --tick 0.0001 --data day
    """
    from cli.capacity import CapacityOptions
    from cli.runs.begin import RunOptions
    from cli.runs.run import run as command

    options = RunOptions(
        *(files, data, form, books or [], checks or [], engine, durability, checkpoint_every, block_rows),
        *(symbols or [], date, append, tick),
        CapacityOptions(orders_max, ids_max, instruments_max, participants_max),
    )
    return command(options, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def scenario(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|DIR...", help="Scenario files, or folders of *.txt.")],
    engine: Annotated[EngineOrBoth, typer.Option(help="Engine to run; both compares them.")] = EngineOrBoth.both,
    as_json: Json = False,
) -> int:
    """Run acceptance scenarios; where one fails, show expected and actual events side by side.

    Example: lockstep scenario scenarios/ --engine both
    """
    from cli.runs.scenario import scenario as command

    return command(paths, engine, as_json=as_json)
