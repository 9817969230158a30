"""Commands for the operator of a running node: `lockstep admin` and `lockstep top`.

Each command imports the file that does its work only when it is called.
"""

from typing import Annotated, Final

import typer

from cli.options import Directory, Json

PANEL: Final = "Operate a node"
app = typer.Typer()
admin = typer.Typer(
    help="Command a running node, and show its state.\n\n"
    "Exit status 1 if the market rejects a command, and 75 if the node does not answer or cannot do it now.\n\n"
    "Example: lockstep admin status node1",
    no_args_is_help=True,
)
user = typer.Typer(
    help="Users that may log in: add, password.\n\nExample: lockstep admin user add node1 TRADER --participant ALPHA",
    no_args_is_help=True,
)
app.add_typer(admin, name="admin", rich_help_panel=PANEL)
admin.add_typer(user, name="user")

Symbol = Annotated[str, typer.Argument(metavar="SYM|*", help="Instrument, or * for all.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A participant.")]
NameOrEvery = Annotated[str, typer.Argument(metavar="NAME|*", help="Participant, or * for all.")]
User = Annotated[str, typer.Argument(metavar="NAME", help="1 to 6 characters of A-Z 0-9 . -")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from a line of standard input, not from a terminal.")
]
Generate = Annotated[
    bool, typer.Option("--generate", help="Have the node draw a password for a program of FIX, and show it once.")
]


@app.command(rich_help_panel=PANEL)
def top(
    directory: Directory,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Time to watch, in seconds.", show_default="until ^C")
    ] = None,
    symbols: Annotated[
        list[str] | None,
        typer.Option(
            "--symbol", metavar="SYM", help="Instruments whose books are shown.", show_default="the first four"
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print all of it once: processes, agents, tape, rings and lines too.")
    ] = False,
    workings: Annotated[
        bool, typer.Option("--workings", help="On a terminal, show processes, agents, tape, rings and lines alone.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Watch a running node: rates, latencies by stage, journal, sessions, books and, where the terminal is tall enough,
    processes, agents, the tape and its readers, rings and lines; a line a second on a pipe.

    Example: lockstep top node1 --seconds 10

    Example: lockstep top node1 --once
    """
    from cli.operating.top import top as command

    return command(directory, seconds, symbols or [], as_json=as_json, once=once, workings=workings)


@admin.command("do")
def admin_do(
    directory: Directory,
    commands: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="Commands in scenario notation; - for standard input.")
    ],
    as_json: Json = False,
) -> int:
    """Send commands in the rulebook's scenario notation, and show their events.

    Example: lockstep admin do node1 "phase XYZ continuous" "halt ABC"
    """
    from cli.operating.admin import do

    return do(directory, commands, as_json=as_json)


@admin.command("instrument")
def admin_instrument(
    directory: Directory,
    symbol: Annotated[str, typer.Argument(metavar="SYM", help="1 to 8 characters of A-Z 0-9 . -")],
    tick: Annotated[str, typer.Option(help="Tick: smallest price step.")],
    reference: Annotated[str, typer.Option(help="Reference price before the first trade.")],
    lot: Annotated[int, typer.Option(help="Lot: smallest quantity step.")] = 1,
    adv: Annotated[int | None, typer.Option(metavar="SHARES", help="Average daily volume, for --adv limits.")] = None,
    midpoint: Annotated[bool, typer.Option("--midpoint", help="Have a midpoint book beside the lit one.")] = False,
    band: Annotated[
        str | None,
        typer.Option(
            metavar="5%|on", help="Furthest limit prices and trades of market orders from the last trade; on: 5%."
        ),
    ] = None,
    volatility: Annotated[
        str | None,
        typer.Option(
            metavar="10%/5m/5m|on",
            help="Halt after a trade that far from the price that long ago, and for that long; on: 10%/5m/5m.",
        ),
    ] = None,
    cancel_on_halt: Annotated[
        bool, typer.Option("--cancel-on-halt", help="Have a halt cancel all its orders.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Define an instrument; its first phase is closed.

    Example: lockstep admin instrument node1 XYZ --tick 0.01 --reference 10.00

    Example: lockstep admin instrument node1 XYZ --tick 0.01 --reference 10.00 --band 5% --volatility 10%/5m/5m
    """
    from cli.operating.admin import pair, send

    options = [*pair("tick", tick), *pair("lot", lot), *pair("reference", reference), *pair("adv", adv)]
    options += [*(["books=lit,midpoint"] if midpoint else []), *pair("band", band), *pair("volatility", volatility)]
    options += ["cancel_on_halt=yes"] if cancel_on_halt else []
    return send(directory, ["instrument", symbol, *options], as_json=as_json)


@admin.command("index")
def admin_index(
    directory: Directory,
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 8 characters of A-Z 0-9 . -")],
    members: Annotated[str, typer.Option(metavar="SYM:WEIGHT,…", help="1 to 64 instruments with weights 1 to 1,000.")],
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="FALL/TIME|close,…",
            help="Falls since the day's opening, and how long each halts the market.",
            show_default="7%/15m,13%/15m,20%/close",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Define an index whose falls halt the whole market, or close it.

    Example: lockstep admin index node1 ALL --members ABC:2,XYZ:1 --levels 7%/15m,20%/close
    """
    from cli.operating.admin import pair, send

    return send(directory, ["index", name, *pair("members", members), *pair("levels", levels)], as_json=as_json)


@admin.command("participant")
def admin_participant(
    directory: Directory,
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 8 characters of A-Z 0-9 . -")],
    group: Annotated[str | None, typer.Option(help="Group whose orders do not trade with each other.")] = None,
    allow: Annotated[
        str | None, typer.Option(metavar="market,stp_none|none", help="Permissions.", show_default="market")
    ] = None,
    as_json: Json = False,
) -> int:
    """Define a participant.

    Example: lockstep admin participant node1 ALPHA
    """
    from cli.operating.admin import pair, send

    return send(directory, ["participant", name, *pair("group", group), *pair("allow", allow)], as_json=as_json)


@user.command("add")
def admin_user_add(
    directory: Directory,
    name: User,
    participant: Annotated[str, typer.Option(help="Participant for which the user trades.")],
    firm: Annotated[str | None, typer.Option(help="1 to 4 characters of A-Z 0-9.")] = None,
    allow: Annotated[
        str | None,
        typer.Option(
            metavar="login,cancel_on_disconnect,newest_wins|none", help="What the user may do.", show_default="login"
        ),
    ] = None,
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
    as_json: Json = False,
) -> int:
    """Define a user and set the password; it is read without an echo, and stored as a salted hash only.

    Passwords have 1 to 10 characters; capital and small letters are the same (SoupBinTCP). An existing user is
    redefined. A generated password has 26 characters, which FIX carries; its first login costs little.

    Example: lockstep admin user add node1 TRADER --participant ALPHA --allow login,cancel_on_disconnect
    """
    from cli.operating.admin import add_user

    return add_user(directory, name, participant, firm, allow, password_stdin, generate, as_json=as_json)


@user.command("password")
def admin_user_password(
    directory: Directory,
    name: User,
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
    as_json: Json = False,
) -> int:
    """Set a user's password, read without an echo, or one that the node draws.

    Example: lockstep admin user password node1 TRADER
    """
    from cli.operating.admin import set_password

    return set_password(directory, name, password_stdin, generate, as_json=as_json)


@admin.command("phase")
def admin_phase(
    directory: Directory,
    symbol: Symbol,
    phase: Annotated[
        str,
        typer.Argument(
            metavar="PHASE", help="closed, pre_open, opening_auction, continuous, auction or closing_auction."
        ),
    ],
    as_json: Json = False,
) -> int:
    """Set the trading phase of an instrument, or of all.

    Example: lockstep admin phase node1 XYZ continuous
    """
    from cli.operating.admin import set_phase

    return set_phase(directory, symbol, phase, as_json=as_json)


@admin.command("schedule")
def admin_schedule(
    directory: Directory,
    calendar: Annotated[
        str,
        typer.Option(
            metavar="MIC|FILE",
            help="An exchange, such as XNYS, or a file with a line a session: 2026-11-27T14:30 2026-11-27T18:00.",
        ),
    ],
    days: Annotated[int, typer.Option(help="How many days.")] = 30,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="The first day.", show_default="today, UTC")
    ] = None,
    symbol: Annotated[str, typer.Option(metavar="SYM|*", help="Instrument, or * for all.")] = "*",
    pre_open: Annotated[str, typer.Option(metavar="1h", help="Entry begins that long before the opening.")] = "1h",
    opening: Annotated[str, typer.Option(metavar="5m", help="The opening call is that long; 0s: none.")] = "5m",
    closing: Annotated[str, typer.Option(metavar="5m", help="The closing call is that long; 0s: none.")] = "5m",
    only_print: Annotated[bool, typer.Option("--print", help="Print the commands, and send none.")] = False,
    as_json: Json = False,
) -> int:
    """Schedule the phases of coming days by a trading calendar, half days and holidays included.

    They are journaled, and happen by the market's clock; those whose time has passed are left out.

    Example: lockstep admin schedule node1 --calendar XNYS --days 30
    """
    from cli.operating.schedule import schedule

    plan = (pre_open, opening, closing)
    return schedule(directory, symbol, calendar, first, days, plan, only_print=only_print, as_json=as_json)


@admin.command("halt")
def admin_halt(
    directory: Directory,
    symbol: Symbol,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="5m", help="How long.", show_default="until a resume")
    ] = None,
    as_json: Json = False,
) -> int:
    """Halt an instrument, or all: cancels only. A call of a minute follows, then continuous trading.

    Example: lockstep admin halt node1 XYZ --for 5m
    """
    from cli.errors import WrongUse
    from cli.operating.admin import pair, send

    if duration is not None and duration.startswith("-"):
        raise WrongUse(f"--for is {duration}; give a time above 0, such as 5m, or leave it out to halt until `resume`")
    return send(directory, ["halt", symbol, *pair("for", duration)], as_json=as_json)


@admin.command("resume")
def admin_resume(directory: Directory, symbol: Symbol, as_json: Json = False) -> int:
    """End the halt of an instrument, or of all: a call of a minute follows, then continuous trading.

    Example: lockstep admin resume node1 XYZ
    """
    from cli.operating.admin import send

    return send(directory, ["resume", symbol], as_json=as_json)


@admin.command("kill")
def admin_kill(directory: Directory, name: NameOrEvery, as_json: Json = False) -> int:
    """Cancel all orders of a participant, or of all, and reject new ones until `unkill`.

    Example: lockstep admin kill node1 ALPHA
    """
    from cli.operating.admin import send

    return send(directory, ["kill", name], as_json=as_json)


@admin.command("unkill")
def admin_unkill(directory: Directory, name: NameOrEvery, as_json: Json = False) -> int:
    """Accept orders of a participant, or of all, again after `kill`.

    Example: lockstep admin unkill node1 ALPHA
    """
    from cli.operating.admin import send

    return send(directory, ["unkill", name], as_json=as_json)


@admin.command("emergency-close")
def admin_emergency_close(
    directory: Directory,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> int:
    """Close all instruments at once and cancel all orders, without an auction.

    Example: lockstep admin emergency-close node1 --yes
    """
    from cli.operating.admin import emergency_close

    return emergency_close(directory, yes, as_json=as_json)


@admin.command("mass-cancel")
def admin_mass_cancel(
    directory: Directory,
    name: NameOrEvery,
    symbol: Annotated[str | None, typer.Option(help="Only orders of this instrument.")] = None,
    side: Annotated[str | None, typer.Option(metavar="buy|sell", help="Only orders of this side.")] = None,
    as_json: Json = False,
) -> int:
    """Cancel all open orders of a participant, or of all: `halt` and this are the kill switch of an instrument.

    Example: lockstep admin mass-cancel node1 "*" --symbol XYZ
    """
    from cli.operating.admin import pair, send

    return send(directory, ["mass_cancel", name, *pair("symbol", symbol), *pair("side", side)], as_json=as_json)


@admin.command("limits")
def admin_limits(
    directory: Directory,
    name: Name,
    symbol: Annotated[str | None, typer.Option(help="Limit in this instrument only.")] = None,
    max_order_qty: Annotated[
        str | None, typer.Option(metavar="N|off", help="Largest quantity of an order, in shares.")
    ] = None,
    max_order_value: Annotated[str | None, typer.Option(metavar="MONEY|off", help="Largest value of an order.")] = None,
    order_rate: Annotated[
        str | None, typer.Option(metavar="100/1s|off", help="Entries in a time, rejected ones included.")
    ] = None,
    max_position: Annotated[
        str | None, typer.Option(metavar="N|off", help="Largest position, long or short, in shares.")
    ] = None,
    credit: Annotated[
        str | None, typer.Option(metavar="MONEY|off", help="Credit for open orders and the margin of positions.")
    ] = None,
    margin: Annotated[
        str | None, typer.Option(metavar="20%|off", help="Share of a position's value that credit covers.")
    ] = None,
    adv: Annotated[
        str | None, typer.Option(metavar="10%|off", help="Largest share of the daily volume in an order.")
    ] = None,
    restricted: Annotated[
        bool | None, typer.Option("--restricted/--not-restricted", help="No orders.", show_default="unchanged")
    ] = None,
    max_open_orders: Annotated[str | None, typer.Option(metavar="N|off", help="Open orders at one time.")] = None,
    max_ids: Annotated[str | None, typer.Option(metavar="N|off", help="Order ids used in a day.")] = None,
    as_json: Json = False,
) -> int:
    """Set limits of a participant; without any, show its limits, positions and open orders.

    --order-rate, --credit, --margin, --max-open-orders and --max-ids apply to all instruments together.

    Example: lockstep admin limits node1 ALPHA --credit 5000000 --order-rate 100/1s

    Example: lockstep admin limits node1 ALPHA --symbol XYZ --max-order-qty 1000

    Example: lockstep admin limits node1 ALPHA
    """
    from cli.operating.admin import limits, pair

    words = [
        *pair("max_order_qty", max_order_qty),
        *pair("max_order_value", max_order_value),
        *pair("order_rate", order_rate),
        *pair("max_position", max_position),
        *pair("credit", credit),
        *pair("margin", margin),
        *pair("adv", adv),
        *([] if restricted is None else ["restricted" if restricted else "restricted=no"]),
        *pair("max_open_orders", max_open_orders),
        *pair("max_ids", max_ids),
    ]
    return limits(directory, name, symbol, words, as_json=as_json)


@admin.command("checkpoint")
def admin_checkpoint(directory: Directory, as_json: Json = False) -> int:
    """Have the node write a checkpoint, so that a later start is quick.

    Example: lockstep admin checkpoint node1
    """
    from cli.operating.admin import checkpoint

    return checkpoint(directory, as_json=as_json)


@admin.command("roll")
def admin_roll(directory: Directory, as_json: Json = False) -> int:
    """Have the node begin a new slice of its journal: a later start reads no slice before it.

    Orders are taken and answered meanwhile.

    Example: lockstep admin roll node1
    """
    from cli.operating.admin import roll

    return roll(directory, as_json=as_json)


@admin.command("sessions")
def admin_sessions(directory: Directory, as_json: Json = False) -> int:
    """List the connections of clients.

    Example: lockstep admin sessions node1
    """
    from cli.operating.admin import sessions

    return sessions(directory, as_json=as_json)


@admin.command("status")
def admin_status(directory: Directory, as_json: Json = False) -> int:
    """Show the node's figures: sequence, digest, rates, latencies, memory, disk.

    Example: lockstep admin status node1
    """
    from cli.operating.admin import status

    return status(directory, as_json=as_json)


@admin.command("book")
def admin_book(
    directory: Directory,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="An instrument.")],
    depth: Annotated[int, typer.Option(metavar="N", min=1, max=200, help="Price levels a side.")] = 10,
    as_json: Json = False,
) -> int:
    """Show the current book of an instrument.

    Example: lockstep admin book node1 XYZ --depth 5
    """
    from cli.operating.admin import book

    return book(directory, symbol, depth, as_json=as_json)


@admin.command("disconnect")
def admin_disconnect(
    directory: Directory,
    name: Annotated[str, typer.Argument(metavar="USER", help="User whose connection is ended.")],
    as_json: Json = False,
) -> int:
    """End a user's connection; the user may log in again.

    Example: lockstep admin disconnect node1 TRADER
    """
    from cli.operating.admin import disconnect

    return disconnect(directory, name, as_json=as_json)


@admin.command("accept-clock")
def admin_accept_clock(directory: Directory, as_json: Json = False) -> int:
    """Accept the time of a clock that was refused because it jumped too far ahead.

    Example: lockstep admin accept-clock node1
    """
    from cli.operating.admin import simple

    return simple(directory, "accept_clock", "market time follows the machine's clock again", as_json=as_json)


@admin.command("drain")
def admin_drain(directory: Directory, as_json: Json = False) -> int:
    """Refuse logins and halt the market until the node is shut down: new orders are rejected, cancels work.

    The node restores the phases when it ends; after a kill, the next primary does, such as this node at its next start.

    Example: lockstep admin drain node1
    """
    from cli.operating.admin import simple

    return simple(
        directory,
        "drain",
        "the node drains: no logins, new orders are rejected, cancels work; end it with `lockstep admin shutdown`",
        as_json=as_json,
    )


@admin.command("shutdown")
def admin_shutdown(directory: Directory, as_json: Json = False) -> int:
    """End the node in order: all commands become durable and are answered, then the sessions end.

    Example: lockstep admin shutdown node1
    """
    from cli.operating.admin import simple

    return simple(directory, "shutdown", "the node ends", as_json=as_json)
