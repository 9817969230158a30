"""The commands that run a server: `lockstep serve`, a node; `lockstep witness`, an arbiter.

Each command imports the file that does its work only when it is called.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.options import Durability, InstrumentsMax, Json, OrdersMax

PANEL: Final = "Operate a node"
app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def serve(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Data directory, new or existing.")],
    host: Annotated[str, typer.Option(help="Address on which clients connect.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port for OUCH over SoupBinTCP; 0: any free port.")
    ] = 9_001,
    admin_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help="Port for operators over TCP, on loopback, with a token; 0: any.",
            show_default="only DIR/operator.sock",
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port for Prometheus and health, on loopback.", show_default="none"),
    ] = None,
    durability: Annotated[
        Durability, typer.Option(help="none is for measurements: a crash may lose answered orders.")
    ] = Durability.fsync,
    orders_max: OrdersMax = None,
    ids_max: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Order ids a day in a new directory.", show_default="8388608"),
    ] = None,
    instruments_max: InstrumentsMax = None,
    participants_max: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Participants in a new directory.", show_default="2048")
    ] = None,
    checkpoint_every: Annotated[
        int, typer.Option(metavar="N", min=1, help="Write a checkpoint each N commands.")
    ] = 4_000_000,
    connections_max: Annotated[
        int, typer.Option(metavar="N", min=1, max=4_096, help="Connections of clients at most.")
    ] = 1_024,
    connections_per_address_max: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Connections of one address at most.", show_default="all")
    ] = None,
    waiting_per_address_max: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Connections of one address without a login at most.",
            show_default="a quarter of connections-max",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TLS for order entry: certificate chain, PEM.", show_default="no TLS"),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Key of the certificate, PEM.", show_default="no TLS")
    ] = None,
    arrivals: Annotated[
        bool, typer.Option(help="Record receive time, connection and turn of each order in DIR/arrivals.")
    ] = True,
    password_cost: Annotated[
        int, typer.Option(min=4, max=20, help="Cost of hashing new passwords: log2 of scrypt's N; low only for tests.")
    ] = 14,
    busy_poll_us: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Polling time after an order before the loop sleeps; 0: none.")
    ] = 200,
    clock_error_max_ms: Annotated[
        float | None,
        typer.Option(min=0, help="Refuse to open a phase while the clock may be wrong by more.", show_default="none"),
    ] = None,
    past_days: Annotated[
        int, typer.Option(metavar="N", min=0, max=366, help="Past days whose streams clients can request.")
    ] = 5,
    roll_at_gb: Annotated[
        float | None,
        typer.Option(
            metavar="GB", min=0.001, help="Begin a new slice of the journal at this size.", show_default="never"
        ),
    ] = None,
    roll_daily: Annotated[
        bool, typer.Option("--roll-daily", help="Begin a new slice once the market has closed for the day.")
    ] = False,
    keep_events: Annotated[
        bool, typer.Option(help="Keep the events of closed slices, by a process of low priority.")
    ] = True,
    clock_ahead_max_s: Annotated[
        float, typer.Option(min=1, max=1e9, help="Refuse a clock that jumps ahead by more, until it is accepted.")
    ] = 3_600.0,
    accept_clock: Annotated[
        bool, typer.Option("--accept-clock", help="Accept the clock at this start though it was refused before.")
    ] = False,
    default_order_rate: Annotated[
        str,
        typer.Option(metavar="N/TIME|off", help="Order rate limit of participants defined from now on."),
    ] = "4000/1s",
    default_share: Annotated[
        str,
        typer.Option(metavar="PERCENT|off", help="Share of the room for open orders and order ids, as their limits."),
    ] = "25%",
    as_json: Json = False,
) -> int:
    """Run a node that traders connect to, until SIGTERM or Ctrl-C; it ends with a checkpoint.

    Example: lockstep serve --data node1 --port 9001
    """
    from cli.capacity import CapacityOptions
    from cli.serve import serve as command
    from cli.serve import tls_of
    from node.defaults import checked_rate, checked_share
    from node.node import NodeOptions
    from node.roll_policy import GB

    try:
        order_rate, share_bps = checked_rate(default_order_rate), checked_share(default_share)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    options = NodeOptions(
        data,
        host,
        port,
        durability.value,
        checkpoint_every=checkpoint_every,
        connections_max=connections_max,
        connections_per_address_max=connections_per_address_max,
        waiting_per_address_max=waiting_per_address_max,
        arrivals=arrivals,
        tls=tls_of(tls_cert, tls_key),
        busy_poll_us=busy_poll_us,
        clock_error_max_ns=None if clock_error_max_ms is None else round(clock_error_max_ms * 1e6),
        past_days=past_days,
        roll_at_bytes=None if roll_at_gb is None else round(roll_at_gb * GB),
        roll_daily=roll_daily,
        keep_events=keep_events,
        clock_ahead_max_ns=round(clock_ahead_max_s * 1e9),
        accept_clock=accept_clock,
        default_order_rate=order_rate,
        default_share_bps=share_bps,
    )
    return command(
        options,
        CapacityOptions(orders_max, ids_max, instruments_max, participants_max),
        admin_port=admin_port,
        metrics_port=metrics_port,
        password_cost=password_cost,
        as_json=as_json,
    )


@app.command(rich_help_panel=PANEL)
def witness(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Directory of its registers, new or existing.")],
    host: Annotated[str, typer.Option(help="Address on which nodes connect.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port for nodes; 0: any free port.")] = 9_010,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            "--secret-file",
            metavar="FILE",
            help="Secret that nodes have to know, mode 0600.",
            show_default="DIR/secret, made if missing",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Run a witness, which decides which of two nodes is primary, until SIGTERM or Ctrl-C.

    It has a register for each market: the primary, its epoch, and the nodes that may follow it. Run it on a third
    machine, or beside the nodes; use etcd instead where you have it.

    Example: lockstep witness --data witness1 --port 9010
    """
    from cli.witness import witness as command

    return command(data, host, port, secret_file, as_json=as_json)
