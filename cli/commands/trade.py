"""The command for a trader: `lockstep trade`.

It imports the file that does its work only when it is called.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.options import Json, Tls, TlsCa

PANEL: Final = "Trade"
app = typer.Typer()


@app.command(rich_help_panel=PANEL)
def trade(
    user: Annotated[str, typer.Option(help="User that logs in.")],
    host: Annotated[
        str, typer.Option(help="Host of the node, or HOST:PORT of each node of a pair, with a comma.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the node, or of a gateway.")] = 9_001,
    protocol: Annotated[str, typer.Option(metavar="ouch|native", help="Protocol of that port.")] = "ouch",
    password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the password in its first line.",
            show_default="the variable LOCKSTEP_PASSWORD, else a prompt",
        ),
    ] = None,
    resend: Annotated[
        bool, typer.Option(help="Send a request again that was lost with its connection; else only report the loss.")
    ] = True,
    tls: Tls = False,
    tls_ca: TlsCa = None,
    as_json: Json = False,
) -> int:
    """Enter, replace and cancel orders, by hand or from a file of lines; events are printed as they come.

    Lines: `buy 100 XYZ @ 10.05`, `sell ...`, `short ...`, `cancel TOKEN [QTY]`, `replace TOKEN QTY @ PRICE`, `orders`,
    `fills`, `help`, `quit`. After the price: `ioc`, `post_only`, `hidden`, `token=TOKEN`; a line with another word is
    refused, and no order is entered. At a port of native order entry (`lockstep serve --gateway native:9002`) also
    `gtc`, `gtd until=TIME`, `fok`, `stop=PRICE`, `display=N`, `midpoint` and others of the scenario notation, and
    `mass_cancel`. With lines from a pipe or file, exit status 1: a request was not done; 2: a line is wrong.

    Example: lockstep trade --user ALICE --port 9001

    Example: lockstep trade --user ALICE --password-file secret.txt --json

    Example: lockstep trade --user ALICE --port 9002 --protocol native
    """
    from cli.trading.trade import TradeOptions
    from cli.trading.trade import trade as command
    from cli.who import tls_of

    options = TradeOptions(host, port, user, password_file, resend, tls_of(tls, tls_ca), protocol)
    return command(options, as_json=as_json)
