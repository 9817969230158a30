"""The commands that run a server: `lockstep serve`, a node; `gateway`, clients beside it; `witness`, an arbiter.

Each command imports the file that does its work only when it is called.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.options import Alone, FixAccounts, InstrumentsMax, Json, OrdersMax, Release, Threads, WhenFull

PANEL: Final = "Operate a node"
PAIR: Final = "A pair of nodes"
#: Name of the gateway of --port where it has a process of its own.
OUCH: Final = "ouch"
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
        Release | None,
        typer.Option(
            help="Answers leave once an order is on this disk (fsync), in the standby's memory (replica), on both "
            "disks (both), or at once (none: for measurements, a crash may lose answered orders).",
            show_default="fsync, in a pair both",
        ),
    ] = None,
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
        int, typer.Option(metavar="N", min=1, max=4_096, help="Maximum number of client connections.")
    ] = 1_024,
    connections_per_address_max: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Maximum number of connections from one address.", show_default="all"),
    ] = None,
    waiting_per_address_max: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Maximum number of connections from one address that have not logged in.",
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
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Require client certificates of these CAs, PEM.", show_default="none required"
        ),
    ] = None,
    arrivals: Annotated[
        bool,
        typer.Option(
            help="Record receive time, connection and turn of each order in DIR/arrivals, and its latency in "
            "DIR/latencies; and logins and logouts in DIR/logins."
        ),
    ] = True,
    password_cost: Annotated[
        int, typer.Option(min=4, max=20, help="Cost of hashing new passwords: log2 of scrypt's N; low only for tests.")
    ] = 14,
    busy_poll_us: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1_000_000,
            help="Polling time after an order before the node sleeps: five times that where gateways have their own "
            "processes, ten times where answers wait for a disk or another node, while no other program waits for the "
            "processor; 0: none.",
            show_default="200, with --threads dedicated 1000000",
        ),
    ] = None,
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
    attest_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Sign each closed slice by this private key (`lockstep attest key`), by a process of low priority.",
            show_default="slices are not signed",
        ),
    ] = None,
    clock_ahead_max_s: Annotated[
        float, typer.Option(min=1, max=1e9, help="Refuse a clock that jumps ahead by more, until it is accepted.")
    ] = 3_600.0,
    accept_clock: Annotated[
        bool, typer.Option("--accept-clock", help="Accept the clock at this start though it was refused before.")
    ] = False,
    tape_mb: Annotated[
        int,
        typer.Option(
            metavar="MB",
            min=0,
            max=1 << 20,
            help="Shared memory for `lockstep tail` and other programs of this user beside the node; 0: none.",
        ),
    ] = 4,
    gateway: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]PROTOCOL:PORT[,when-full=refuse]",
            help="A gateway in a process of its own, such as ouch:9101; may be repeated. It has the node's bounds of "
            "connections and past days; with when-full=refuse it ends clients that send while the core takes nothing.",
            show_default="none",
        ),
    ] = None,
    fix_accounts: FixAccounts = None,
    feed: Annotated[
        list[str] | None,
        typer.Option(
            metavar="itch:GROUP:PORT[,WORD=VALUE...]",
            help="Market data by multicast, from a process of its own, such as itch:239.192.0.1:26400; may be "
            "repeated. Words: interface=, ttl=, b=GROUP:PORT (B feed), requests=PORT, snapshots=PORT, name=, and "
            "spin=yes (as --spin of `lockstep feed`).",
            show_default="none",
        ),
    ] = None,
    web: Annotated[
        str | None,
        typer.Option(
            "--web",
            "--web-port",
            metavar="[HOST:]PORT",
            help="A page, REST and WebSocket for web clients, from a process of its own, such as 127.0.0.1:8080. "
            "Without HOST it is on 127.0.0.1.",
            show_default="none",
        ),
    ] = None,
    web_keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Users who may trade on --web, and their keys; their orders go through the first gateway of native "
            "order entry.",
            show_default="market data alone",
        ),
    ] = None,
    web_operators: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of operators who may sign in to the page of --web; `lockstep operator` writes it.",
            show_default="nobody",
        ),
    ] = None,
    web_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Trusted proxy before --web: client addresses are those of its X-Forwarded-For; may be repeated.",
            show_default="none",
        ),
    ] = None,
    nats: Annotated[
        str | None,
        typer.Option(
            metavar="URL[,WORD=VALUE]",
            help="Publish blocks and ITCH messages through a NATS server, such as nats://127.0.0.1:4222, from a "
            "process of its own. Words: venue=, requests=HOST:PORT (re-requests of lost messages), login=FILE.",
            show_default="none",
        ),
    ] = None,
    fix_data: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Market data by FIX (4.2, 4.4, 5.0 SP2), from a process of its own, such as 127.0.0.1:9300.",
            show_default="none",
        ),
    ] = None,
    threads: Annotated[
        Threads,
        typer.Option(
            help="shared: the market serves the clients of --port itself; dedicated: it keeps one processor busy, "
            "and a gateway process serves those clients.",
        ),
    ] = Threads.shared,
    pin: Annotated[
        str,
        typer.Option(
            metavar="NAME=CPU,...",
            help="Processors for the core, gateways, feeds, web, nats and fix-data by name, such as core=0,web=1.",
            show_default="any",
        ),
    ] = "",
    default_order_rate: Annotated[
        str,
        typer.Option(metavar="N/TIME|off", help="Order rate limit of participants defined from now on."),
    ] = "4000/1s",
    default_share: Annotated[
        str,
        typer.Option(metavar="PERCENT|off", help="Share of the room for open orders and order ids, as their limits."),
    ] = "25%",
    arbiter: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Arbiter of a pair of nodes: witness://HOST:PORT, or etcd://HOST:PORT,...",
            show_default="no pair",
            rich_help_panel=PAIR,
        ),
    ] = None,
    node: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of this node.", show_default="host name", rich_help_panel=PAIR),
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address on which copies of this node connect.",
            show_default="127.0.0.1:0",
            rich_help_panel=PAIR,
        ),
    ] = None,
    peer: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of the other node's --link, until the arbiter names the primary.",
            show_default="none",
            rich_help_panel=PAIR,
        ),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Secret that both nodes and a witness share.",
            show_default="none",
            rich_help_panel=PAIR,
        ),
    ] = None,
    arbiter_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Certificates to trust for etcds://, in PEM.",
            show_default="those of the system",
            rich_help_panel=PAIR,
        ),
    ] = None,
    alone: Annotated[
        Alone | None,
        typer.Option(
            help="Without a standby: continue once the arbiter has recorded it, or stop.",
            show_default="continue",
            rich_help_panel=PAIR,
        ),
    ] = None,
    follower: Annotated[
        bool,
        typer.Option("--follower", help="Copy the primary, and never take over by itself.", rich_help_panel=PAIR),
    ] = False,
    lease_ms: Annotated[
        int | None,
        typer.Option(
            metavar="MS",
            min=200,
            max=60_000,
            help="Lease of the primary at the arbiter; a takeover without notice takes longer.",
            show_default="600, with etcd 2000",
            rich_help_panel=PAIR,
        ),
    ] = None,
    standby_timeout_ms: Annotated[
        int | None,
        typer.Option(
            metavar="MS",
            min=50,
            max=60_000,
            help="Silence after which a standby is taken out, and the primary goes on without it.",
            show_default="500",
            rich_help_panel=PAIR,
        ),
    ] = None,
    leave_pair: Annotated[
        bool,
        typer.Option(
            "--leave-pair",
            help="Dissolve the pair of this directory: a market of its own from now on. Never start the other again.",
            rich_help_panel=PAIR,
        ),
    ] = False,
    as_json: Json = False,
) -> int:
    """Run a node that traders connect to, until SIGTERM or Ctrl-C; it ends with a checkpoint.

    Example: lockstep serve --data node1 --port 9001

    Example: lockstep serve --data b --node B --arbiter witness://10.0.0.3:9010 --secret-file s --peer 10.0.0.1:9301
    """
    from cli.capacity import CapacityOptions
    from cli.servers.nats import check_can_publish
    from cli.servers.pair import PairArguments, plan_of
    from cli.servers.serve import serve as command
    from cli.servers.serve import tls_files, tls_of
    from cli.servers.serve_programs import Programs, check_accounts, check_can_sign, check_programs
    from cli.servers.web import check_can_serve
    from node.core.roll_policy import GB
    from node.feeds.fix_data_programs import fix_data_option
    from node.feeds.programs import feed_options
    from node.gateways.programs import gateway_options
    from node.nats.programs import nats_option
    from node.node import NodeOptions
    from node.operator.defaults import checked_rate, checked_share
    from node.programs.pinning import check_names, pins
    from node.programs.process_names import CORE
    from node.web.programs import web_option

    try:
        order_rate, share_bps = checked_rate(default_order_rate), checked_share(default_share)
        gateways, feeds, pinned = gateway_options(gateway or []), feed_options(feed or []), pins(pin)
        dedicated = threads is Threads.dedicated
        on_web = None if web is None else web_option(web, web_keys, web_proxy or [], web_operators)
        published = None if nats is None else nats_option(nats)
        on_fix_data = None if fix_data is None else fix_data_option(fix_data)
        check_names(pinned, {CORE, *Programs(gateways, feeds, on_web, published, on_fix_data, dedicated).names})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if web is None and (web_proxy or (web_keys, web_operators) != (None, None)):
        raise typer.BadParameter("--web-keys, --web-operators and --web-proxy are of --web; give --web HOST:PORT too")
    if web_keys is not None and all(each.protocol != "native" for each in gateways):
        raise typer.BadParameter("--web-keys needs a gateway of native order entry; give --gateway native:PORT too")
    if fix_accounts is not None:
        check_accounts(fix_accounts, gateways)
    if attest_key is not None:
        check_can_sign(attest_key)
    if on_web is not None:
        check_can_serve(web_keys, web_operators, on_web.host, tls=tls_cert is not None)
    if published is not None:
        check_can_publish(published)
    check_programs(
        Programs(gateways, feeds, on_web, published, on_fix_data, dedicated),
        tape_mb=tape_mb,
        ports=(port, admin_port, metrics_port),
    )
    policy = durability or (Release.fsync if arbiter is None else Release.both)
    pair = plan_of(
        PairArguments(
            arbiter,
            node,
            link,
            peer,
            secret_file,
            None if alone is None else alone.value,
            follower,
            lease_ms,
            standby_timeout_ms,
            arbiter_ca,
            leave_pair,
        ),
        policy.value,
        host,
        port,
    )
    options = NodeOptions(
        data,
        host,
        port,
        "none" if policy is Release.none else "fsync",
        checkpoint_every=checkpoint_every,
        connections_max=connections_max,
        connections_per_address_max=connections_per_address_max,
        waiting_per_address_max=waiting_per_address_max,
        arrivals=arrivals,
        tls=tls_of(tls_cert, tls_key, tls_client_ca),
        tls_files=tls_files(tls_cert, tls_key, tls_client_ca),
        busy_poll_us=busy_poll_us if busy_poll_us is not None else 1_000_000 if dedicated else 200,
        clock_error_max_ns=None if clock_error_max_ms is None else round(clock_error_max_ms * 1e6),
        past_days=past_days,
        fix_accounts=fix_accounts,
        roll_at_bytes=None if roll_at_gb is None else round(roll_at_gb * GB),
        roll_daily=roll_daily,
        keep_events=keep_events,
        attest_key=attest_key,
        clock_ahead_max_ns=round(clock_ahead_max_s * 1e9),
        accept_clock=accept_clock,
        tape_bytes=tape_mb << 20,
        gateways=gateways,
        feeds=feeds,
        web=on_web,
        nats=published,
        fix_data=on_fix_data,
        dedicated=dedicated,
        pins=pinned,
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
        pair=pair,
        leave_pair=leave_pair,
    )


@app.command(rich_help_panel=PANEL)
def gateway(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Data directory of a running node.")],
    name: Annotated[str, typer.Option(help="Name of this gateway; letters, digits and hyphens.")],
    protocol: Annotated[str, typer.Option(help="Protocol of its clients.")] = "ouch",
    host: Annotated[str, typer.Option(help="Address on which clients connect.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port for clients; 0: any free port.")] = 0,
    fd: Annotated[
        int | None,
        typer.Option(min=3, help="Descriptor of a socket that listens already.", show_default="--host and --port"),
    ] = None,
    when_full: Annotated[
        WhenFull,
        typer.Option(help="While the core takes nothing: leave orders in the sockets, or end clients that send."),
    ] = WhenFull.wait,
    connections_max: Annotated[
        int, typer.Option(min=1, max=16_384, help="Maximum number of client connections.")
    ] = 1_024,
    connections_per_address_max: Annotated[
        int | None, typer.Option(min=1, help="Maximum number from one address.", show_default="all")
    ] = None,
    waiting_per_address_max: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Maximum number from one address that have not logged in.",
            show_default="a quarter of connections-max",
        ),
    ] = None,
    past_days: Annotated[int, typer.Option(min=0, max=366, help="Past days whose streams clients can request.")] = 5,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TLS: certificate chain, PEM.", show_default="no TLS")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Key of the certificate, PEM.", show_default="no TLS")
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Require client certificates of these CAs, PEM.", show_default="none required"
        ),
    ] = None,
    fix_accounts: FixAccounts = None,
    as_json: Json = False,
) -> int:
    """Run a gateway of a node in a process of its own, until the node ends, SIGTERM or Ctrl-C.

    Clients log in, trade and get the same messages as at the node's own port. The market does not wait for it, and goes
    on without it. Started again under the same name it serves its clients from where they were.

    Example: lockstep gateway data --name desks --port 9101
    """
    from cli.servers.gateway import ConnectionBounds
    from cli.servers.gateway import gateway as command
    from cli.servers.serve import tls_of

    return command(
        directory,
        name,
        protocol,
        host=host,
        port=port,
        fd=fd,
        when_full=when_full.value,
        bounds=ConnectionBounds(connections_max, connections_per_address_max, waiting_per_address_max),
        past_days=past_days,
        tls=tls_of(tls_cert, tls_key, tls_client_ca),
        fix_accounts=fix_accounts,
        as_json=as_json,
    )


@app.command(rich_help_panel=PANEL)
def feed(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Data directory of a running node.")],
    group: Annotated[str, typer.Option(metavar="GROUP:PORT", help="Multicast group, such as 239.192.0.1:26400.")],
    name: Annotated[str, typer.Option(help="Name of this feed; letters, digits and hyphens.")] = "itch",
    second_group: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP:PORT", help="Multicast group of the B feed, with the same packets.", show_default="none"
        ),
    ] = None,
    interface: Annotated[str, typer.Option(help="Address of the network interface to send from.")] = "127.0.0.1",
    ttl: Annotated[int, typer.Option(min=0, max=255, help="TTL of the multicast packets.")] = 1,
    node: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the node in its pair: send only while it is primary."),
    ] = None,
    requests: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65_535, help="UDP port for re-requests; 0: any free port.")
    ] = 0,
    snapshots: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65_535, help="TCP port for snapshots; 0: any free port.")
    ] = 0,
    spin: Annotated[
        bool,
        typer.Option("--spin", help="Spin in place of sleep: less latency, and one processor always busy."),
    ] = False,
    requests_fd: Annotated[int | None, typer.Option(min=3, help="Descriptor of a socket for requests.")] = None,
    snapshots_fd: Annotated[int | None, typer.Option(min=3, help="Descriptor of a socket that listens.")] = None,
    as_json: Json = False,
) -> int:
    """Send the market data of a node, in a process of its own, until the node ends, SIGTERM or Ctrl-C.

    ITCH 5.0 over MoldUDP64 multicast, with a re-request server and a snapshot server. The market does not wait for it.
    Started again under the same name it has the same messages under the same sequence numbers.

    Example: lockstep feed data --group 239.192.0.1:26400 --requests 26401 --snapshots 26402
    """
    from cli.servers.feed import feed as command

    return command(
        directory,
        name,
        group,
        second_group,
        interface,
        ttl,
        node,
        requests=requests,
        snapshots=snapshots,
        spins=spin,
        requests_fd=requests_fd,
        snapshots_fd=snapshots_fd,
        as_json=as_json,
    )


@app.command(rich_help_panel=PANEL)
def web(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Data directory of a running node.")],
    host: Annotated[str, typer.Option(help="Address on which clients connect.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port for clients; 0: any free port.")] = 8_080,
    rate: Annotated[int, typer.Option(min=0, help="Rate limit: requests a second from one address; 0: none.")] = 30,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Users who may trade, and the keys with which they sign: a file that only you can read.",
            show_default="market data alone",
        ),
    ] = None,
    orders_at: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT,...", help="Native order entry, through which they trade.", show_default="none"
        ),
    ] = None,
    operators: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of operators who may sign in to the page; `lockstep operator` writes it.",
            show_default="nobody",
        ),
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Trusted proxy: client addresses, for --rate, are those of its X-Forwarded-For; may be repeated.",
            show_default="none",
        ),
    ] = None,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,  # of a socket that listens, from the node
    as_json: Json = False,
) -> int:
    """Serve a node to web clients, in a process of its own, until the node ends, SIGTERM or Ctrl-C.

    REST and WebSocket in the words of the Coinbase Exchange: books of levels 1 to 3, trades, candles, and channels
    level2, full, matches, ticker, heartbeat and status; with --keys and --orders-at accounts, orders, fills and channel
    user too. Browsers get a page, with an operator's view with --operators. It needs `pip install 'lockstep[web]'`.

    Example: lockstep web data --port 8080
    """
    from cli.servers.web import web as command

    return command(directory, host, port, rate, keys, orders_at, proxy or [], operators, fd=fd, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def operator(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File of operators, new or existing.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name with which the operator signs in.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the operator.")] = False,
    as_json: Json = False,
) -> int:
    """Write who may sign in to the operator's view of the page, with a hash of the password.

    The password is asked for on the terminal. `lockstep serve --web-operators FILE` reads the file at its start.

    Example: lockstep operator operators ada
    """
    from cli.operating.operator import operator as command

    return command(file, name, password_stdin=password_stdin, remove=remove, as_json=as_json)


@app.command(rich_help_panel=PANEL)
def nats(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Data directory of a running node.")],
    url: Annotated[str, typer.Option(help="NATS server, such as nats://127.0.0.1:4222 or tls://nats.example:4222.")],
    venue: Annotated[str, typer.Option(help="Word in the subjects; letters, digits, - and _.")] = "main",
    requests: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65_535, help="TCP port for re-requests of lost messages; 0: any.")
    ] = 0,
    requests_host: Annotated[
        str, typer.Option(help="Address of the re-request port; whoever reaches it can read the whole journal.")
    ] = "127.0.0.1",
    login: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="user:password or token of the server: a file only you can read.", show_default="none"
        ),
    ] = None,
    node: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the node in its pair: publish only while it is primary."),
    ] = None,
    requests_fd: Annotated[int | None, typer.Option(hidden=True)] = None,  # of a socket that listens, from the node
    as_json: Json = False,
) -> int:
    """Publish a node's market through NATS, in a process of its own, until the node ends, SIGTERM or Ctrl-C.

    Whole blocks of the journal on lockstep.VENUE.blocks, and the messages of the ITCH feed on lockstep.VENUE.itch, each
    with its place, epoch and digest. Nothing waits for the server; while it is away nothing is lost, and all of it goes
    out in order after. It needs `pip install 'lockstep[nats]'`.

    Example: lockstep nats data --url nats://127.0.0.1:4222 --requests 26500
    """
    from cli.servers.nats import nats as command
    from node.nats.programs import nats_option

    try:
        option = nats_option(f"{url},venue={venue}")._replace(host=requests_host, port=requests, login=login)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return command(directory, option, node, requests_fd=requests_fd, as_json=as_json)


@app.command("fix-data", rich_help_panel=PANEL)
def fix_data(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Data directory of a running node.")],
    host: Annotated[str, typer.Option(help="Address on which subscribers connect.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port for subscribers; 0: any free port.")] = 9_300,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,  # of a socket that listens, from the node
    as_json: Json = False,
) -> int:
    """Serve a node's market data by FIX, in a process of its own, until the node ends, SIGTERM or Ctrl-C.

    FIX 4.2, 4.4 and 5.0 SP2: books by price level, trades, prices of the day, the indication of a call, lists of
    instruments, their phases and halts. It is public: a subscriber logs on without a password.

    Example: lockstep fix-data data --port 9300
    """
    from cli.servers.fix_data import fix_data as command

    return command(directory, host, port, fd=fd, as_json=as_json)


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
    from cli.servers.witness import witness as command

    return command(data, host, port, secret_file, as_json=as_json)
