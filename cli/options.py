"""Arguments and options of the commands: names, metavars and help, in one place."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class EngineChoice(StrEnum):
    """One of the two engines."""

    kernel = "kernel"
    reference = "reference"


class SideChoice(StrEnum):
    """Side of an order."""

    buy = "buy"
    sell = "sell"


class OnOff(StrEnum):
    """Something that is on or off."""

    on = "on"
    off = "off"


class FeedForm(StrEnum):
    """Form of a file of the feed."""

    itch = "itch"
    pcap = "pcap"
    csv = "csv"
    parquet = "parquet"
    text = "text"
    json = "json"


class ReplayFeed(StrEnum):
    """Feed of which the past can be sent again."""

    itch = "itch"
    ws = "ws"


class ExportForm(StrEnum):
    """Form of an export."""

    csv = "csv"
    sqlite = "sqlite"
    parquet = "parquet"
    arrow = "arrow"
    sql = "sql"


class EngineOrBoth(StrEnum):
    """One engine, or both, whose events must be equal."""

    kernel = "kernel"
    reference = "reference"
    both = "both"


class Format(StrEnum):
    """Format of an input file."""

    scenario = "scenario"
    lobster = "lobster"
    itch = "itch"


class Durability(StrEnum):
    """Durability: events are published once their block is on the disk, or at once."""

    fsync = "fsync"
    none = "none"


class Release(StrEnum):
    """Release of answers: once the block is on this disk; in the standby's memory; on both disks; or at once."""

    fsync = "fsync"
    replica = "replica"
    both = "both"
    none = "none"


class Alone(StrEnum):
    """Without a standby: answer on, once the arbiter has recorded it, or stop answering."""

    go_on = "continue"
    stop = "stop"


class WhenFull(StrEnum):
    """Conduct of a gateway while its ring is full."""

    wait = "wait"
    refuse = "refuse"


class Threads(StrEnum):
    """Division of a node's work among cores."""

    shared = "shared"
    dedicated = "dedicated"


Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A node's data directory.")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files to read, in this order.")]
FixAccounts = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Users' throttles, hours and keys for gateways of FIX, in TOML (docs/OPERATIONS.md).",
        show_default="none",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs: one object, or one a line.")]
Engine = Annotated[EngineChoice, typer.Option(help="The compiled engine, or the readable reference.")]
FromSeq = Annotated[
    int | None, typer.Option("--from", metavar="SEQ", min=1, help="First command.", show_default="the first one")
]
ToSeq = Annotated[
    int | None, typer.Option("--to", metavar="SEQ", min=1, help="Last command.", show_default="the last one")
]
FromWhen = Annotated[
    str | None,
    typer.Option("--from", metavar="SEQ|TIME", help="First command, or time.", show_default="the first one"),
]
ToWhen = Annotated[
    str | None, typer.Option("--to", metavar="SEQ|TIME", help="Last command, or time.", show_default="the last one")
]
At = Annotated[
    str | None, typer.Option(metavar="SEQ|TIME", help="After this command, or at this time, such as 09:31:07.25.")
]
Symbol = Annotated[str | None, typer.Option(help="Only this instrument.")]
Participant = Annotated[str | None, typer.Option(help="Only this participant.")]
Contra = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only trades with this participant, or what caused them.")
]
OneSide = Annotated[
    SideChoice | None,
    typer.Option(help="Only this side: of an order; of a trade that of --participant, else of the aggressor."),
]
Reasons = Annotated[
    list[str] | None,
    typer.Option("--reason", metavar="WORD", help="Only with this reason, such as credit; may be repeated."),
]
Price = Annotated[
    str | None,
    typer.Option(metavar="PRICE", help="Only with this price: the limit of an order or replace, or that of an event."),
]
WithTime = Annotated[bool, typer.Option("--with-time", help="Print the time too, in the comment; JSON has it always.")]
WithoutSessions = Annotated[
    bool, typer.Option("--without-sessions", help="Leave out messages of FIX sessions, which are no orders.")
]
WithEvents = Annotated[bool, typer.Option("--with-events", help="Print the events of each command below it.")]
WithSeq = Annotated[bool, typer.Option("--with-seq", help="Print sequence numbers too, as comments.")]
Tls = Annotated[bool, typer.Option("--tls", help="Encrypt, and verify the node's certificate and host name.")]
TlsCa = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="With --tls: certificates to trust, PEM.", show_default="those of the system"),
]

OrdersMax = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Open orders in a new directory.", show_default="1048576")
]
InstrumentsMax = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Instruments in a new directory.", show_default="256")
]

#: Capacity of a new slice; each is as before where it is not given.
OrdersFromNowOn = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Open orders from now on.", show_default="as before")
]
IdsFromNowOn = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Order ids a day from now on.", show_default="as before")
]
InstrumentsFromNowOn = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Instruments from now on.", show_default="as before")
]
ParticipantsFromNowOn = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Participants from now on.", show_default="as before")
]
