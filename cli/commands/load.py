"""Commands that load a node: `lockstep simulate`, `lockstep bench wire|takeover|catch-up`.

Each command imports the file that does its work only when it is called.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.commands.keep import bench
from cli.options import Durability, Json, Tls, TlsCa

PANEL: Final = "Load"
app = typer.Typer()

Users = Annotated[
    Path | None,
    typer.Option(
        "--users", metavar="FILE", help="Users that log in: name and password, one a line.", show_default=False
    ),
]
UserNames = Annotated[
    list[str] | None,
    typer.Option("--user", metavar="NAME", help="User that logs in; may be repeated.", show_default=False),
]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password of --user from standard input.")
]


@app.command(rich_help_panel=PANEL)
def simulate(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the node for OUCH.")] = 9_001,
    host: Annotated[
        str, typer.Option(help="Host of the node, or HOST:PORT of each node of a pair, with a comma.")
    ] = "127.0.0.1",
    users: Users = None,
    names: UserNames = None,
    password_stdin: PasswordStdin = False,
    symbols: Annotated[
        list[str] | None,
        typer.Option(
            "--symbol",
            metavar="NAME=PRICE",
            help="Instrument to trade, with its price; may be repeated.",
            show_default="those of `demo`",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=86_400, help="Duration, in seconds.")] = 10.0,
    rate: Annotated[
        float, typer.Option(min=0.1, max=20_000, help="Requests a second of all traders together.")
    ] = 1_000.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the traders.")] = 1,
    tls: Tls = False,
    tls_ca: TlsCa = None,
    as_json: Json = False,
) -> int:
    """Trade on a node with simulated traders: market makers around a drifting price, and takers.

    One line a second, and a summary. Lost connections reconnect. Exit status 1 if an order got no answer.

    Example: lockstep simulate --port 9001 --users traders.txt --seconds 30
    """
    from cli.trading.simulate import check_users
    from cli.trading.simulate import simulate as command
    from cli.who import symbols_of, tls_of, users_of
    from load.simulation import SimulateOptions
    from load.traders import SYMBOLS

    who = check_users(users_of(users, names or [], password_stdin=password_stdin))
    traded = symbols_of(symbols) if symbols else SYMBOLS
    options = SimulateOptions(host, port, who, traded, seconds, rate, seed, tls_of(tls, tls_ca))
    return command(options, as_json=as_json)


@bench.command("wire")
def bench_wire(
    connections: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N", min=1, max=1_000, help="Number of connections; may be repeated.", show_default="1, 100, 1000"
        ),
    ] = None,
    orders: Annotated[int, typer.Option(min=100, help="Requests in a measurement.")] = 500_000,
    rate: Annotated[float, typer.Option(min=0, help="Requests a second of the open loop; 0: none.")] = 20_000.0,
    durability: Annotated[
        list[Durability] | None,
        typer.Option(help="Durability of the node; may be repeated.", show_default="none and fsync"),
    ] = None,
    symbols: Annotated[int, typer.Option(metavar="N", min=1, max=256, help="Instruments.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Rough figures in a fraction of the time.")] = False,
    host: Annotated[
        str | None, typer.Option(help="Load an existing node instead of new ones.", show_default=False)
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of that node for OUCH.")] = 9_001,
    users: Users = None,
    names: UserNames = None,
    password_stdin: PasswordStdin = False,
    symbol: Annotated[str, typer.Option(help="Instrument to trade on an existing node, around 100.00.")] = "S0",
    as_json: Json = False,
) -> int:
    """Measure orders a second and round trips over OUCH, client included; each answer is checked.

    Starts a node for each measurement, on this machine. With --host it loads a running node: --symbol must trade around
    100.00, and its users must not be logged in.

    Example: lockstep bench wire --quick

    Example: lockstep bench wire --connections 1 --durability none
    """
    from cli.upkeep.bench import wire

    plan = {
        "connections": tuple(connections or (1, 100, 1_000)),
        "orders": orders,
        "rate": rate,
        "durability": tuple(each.value for each in durability or (Durability.none, Durability.fsync)),
        "symbols": symbols,
    }
    existing = None
    if host is not None:
        from cli.who import users_of

        existing = (host, port, users_of(users, names or [], password_stdin=password_stdin), symbol)
    return wire(plan, existing, quick=quick, as_json=as_json)


@bench.command("takeover")
def bench_takeover(
    kills: Annotated[int, typer.Option(min=1, help="Kills of a supervised primary.")] = 100,
    witness: Annotated[int, typer.Option(min=1, help="Kills of a primary without a supervisor, with a witness.")] = 30,
    etcd: Annotated[int, typer.Option(min=0, help="The same with etcd, which must be installed; 0: none.")] = 20,
    switchovers: Annotated[int, typer.Option(min=1, help="Planned switchovers.")] = 30,
    quick: Annotated[bool, typer.Option("--quick", help="Rough figures in a fraction of the time.")] = False,
    as_json: Json = False,
) -> int:
    """Measure takeovers of a pair of nodes, from the death of the primary to the first answer of the new one.

    Starts pairs with their arbiters on this machine, and also measures what a standby costs.

    Example: lockstep bench takeover --quick
    """
    from cli.upkeep.bench import takeover

    plan = {"supervised": kills, "witness": witness, "etcd": etcd, "switchovers": switchovers}
    return takeover(plan, quick=quick, as_json=as_json)


@bench.command("catch-up")
def bench_catch_up(
    commands: Annotated[int, typer.Option(min=1, help="Commands that the standby misses.")] = 5_000_000,
    rate: Annotated[float, typer.Option(min=1, help="Orders a second that the primary takes meanwhile.")] = 1_000.0,
    load_s: Annotated[float, typer.Option("--load-s", min=1, help="Seconds for which these orders come.")] = 20.0,
    runs: Annotated[int, typer.Option(min=1, help="Runs, each with a pair of its own.")] = 3,
    as_json: Json = False,
) -> int:
    """Measure a standby that was stopped for a while and catches up, while the primary takes orders.

    Starts pairs with their witnesses on this machine. The clients' orders must not end before the standby has caught
    up: give them more seconds on a slow machine.

    Example: lockstep bench catch-up --commands 1000000 --runs 1
    """
    from cli.upkeep.bench import catch_up

    return catch_up({"commands": commands, "rate": rate, "load_s": load_s, "runs": runs}, as_json=as_json)
