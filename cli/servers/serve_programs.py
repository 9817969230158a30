"""Programs beside the core that `lockstep serve` is asked for, and what cannot be together."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import typer

from node.feeds.fix_data_programs import NAME as FIX_DATA
from node.feeds.fix_data_programs import FixDataOption
from node.feeds.programs import FeedOption
from node.gateways.programs import GatewayOption
from node.gateways.protocols import FIX_PROTOCOLS
from node.nats.programs import NAME as NATS
from node.nats.programs import NatsOption
from node.web.programs import NAME as WEB
from node.web.programs import WebOption

#: Name of the gateway of --port, where it has a process of its own.
OUCH = "ouch"


class Programs(NamedTuple):
    """Programs beside the core that the operator wants. dedicated: OUCH has a process of its own."""

    gateways: tuple[GatewayOption, ...]
    feeds: tuple[FeedOption, ...]
    web: WebOption | None
    nats: NatsOption | None
    fix_data: FixDataOption | None
    dedicated: bool

    @property
    def names(self) -> list[str]:
        """Name of each process."""
        found = [each.name for each in self.gateways] + [each.name for each in self.feeds]
        found += [OUCH] if self.dedicated else []
        beside = ((WEB, self.web), (NATS, self.nats), (FIX_DATA, self.fix_data))
        return found + [name for name, option in beside if option is not None]


def check_accounts(path: Path, gateways: Sequence[GatewayOption]) -> None:
    """Raise typer.BadParameter, with a sentence, for a file of users' terms that no gateway has, or that is wrong."""
    from gateway.fix.accounts import Accounts, AccountsError

    if all(each.protocol not in FIX_PROTOCOLS for each in gateways):
        raise typer.BadParameter("--fix-accounts is of gateways of FIX; give --gateway fix:PORT too")
    try:
        Accounts(path)
    except AccountsError as error:
        raise typer.BadParameter(str(error)) from None


def check_can_sign(key_file: Path) -> None:
    """Raise typer.BadParameter, with a sentence, for a file of a private key that closed slices cannot be signed by."""
    from attestation.errors import AttestationError
    from attestation.signatures import check_own, private_key

    try:
        check_own(key_file)
        private_key(key_file)
    except AttestationError as error:
        raise typer.BadParameter(f"--attest-key: {error}") from None
    except OSError as error:
        raise typer.BadParameter(f"--attest-key: {key_file} cannot be read: {error.strerror}") from None


def check_programs(wanted: Programs, *, tape_mb: int, ports: Sequence[int | None]) -> None:
    """Raise typer.BadParameter, with a sentence, for programs that cannot be together. ports: others of the node."""
    gateways, feeds = wanted.gateways, wanted.feeds
    named = {each.name for each in gateways}
    if wanted.names and not tape_mb:
        what = (
            "gateway"
            if gateways or wanted.dedicated
            else "feed"
            if feeds
            else "program for web clients"
            if wanted.web is not None
            else "program that publishes"
            if wanted.nats is not None
            else "program of market data by FIX"
        )
        raise typer.BadParameter(f"a {what} in a process of its own reads the tape; give --tape-mb 1 or more")
    for name, option in ((WEB, wanted.web), (NATS, wanted.nats), (FIX_DATA, wanted.fix_data)):
        if option is not None and name in named | {each.name for each in feeds}:
            raise typer.BadParameter(f"{name} is the process of --{name}; name the gateway or feed differently")
    if named & {each.name for each in feeds}:
        raise typer.BadParameter("a gateway and a feed have the same name; give the feed another with name=")
    if wanted.dedicated and OUCH in named:
        raise typer.BadParameter(
            f"{OUCH} is the gateway of --port with --threads dedicated; name the other differently"
        )
    taken = [each for each in (*ports, *(each.port for each in gateways), *(each.snapshots for each in feeds)) if each]
    taken += [each.port for each in (wanted.web, wanted.nats, wanted.fix_data) if each is not None and each.port]
    if twice := next((each for each in taken if taken.count(each) > 1), None):
        raise typer.BadParameter(f"port {twice} is given twice; give each its own, or 0 for any that is free")
