"""Options of a node of a pair, checked and put together for `lockstep serve`."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from cli.errors import WrongUse

if TYPE_CHECKING:
    from node.pair_plan import PairOptions, PairPlan
    from sequencer.release import ReleasePolicy

#: Release policies that need a standby.
REPLICATED: Final = ("replica", "both")
#: Addresses that mean all of this machine's.
_ANY: Final = frozenset({"0.0.0.0", "::", "*"})


class PairArguments(NamedTuple):
    """Options of `lockstep serve` for a pair, as given; None: not given."""

    arbiter: str | None
    node: str | None
    link: str | None
    peer: str | None
    secret_file: Path | None
    alone: str
    follower: bool
    lease_ms: int | None
    standby_timeout_ms: int
    arbiter_ca: Path | None = None


def plan_of(given: PairArguments, policy: str, host: str) -> "PairPlan | None":
    """Plan of a node of a pair; None without --arbiter. Raises WrongUse."""
    if given.arbiter is None:
        _check_single(given, policy)
        return None
    if given.secret_file is None:
        raise WrongUse(
            "a node of a pair needs --secret-file: the same secret on both nodes, as `lockstep witness` makes"
        )
    from node.pair_plan import PairPlan
    from replication.arbiter import checked_name
    from replication.arbiters import AddressError, open_arbiter, parse_address
    from replication.death_watch import DeathWatch
    from replication.secret_file import read_secret

    where, secret_file, ca_file = given.arbiter, given.secret_file, given.arbiter_ca
    name = given.node or socket.gethostname()
    try:
        checked_name(name)
        address = parse_address(where)
        secret = read_secret(secret_file)
        ttl_ns = None if given.lease_ms is None else given.lease_ms * 1_000_000
        open_arbiter(address, bytes(16), ttl_ns=ttl_ns, secret_file=secret_file, ca_file=ca_file)
    except (AddressError, ValueError) as error:
        raise WrongUse(str(error)) from None
    return PairPlan(
        _options(given, policy, host, name, secret),
        lambda journal_id: open_arbiter(address, journal_id, ttl_ns=ttl_ns, secret_file=secret_file, ca_file=ca_file),
        lambda journal_id: DeathWatch(where, journal_id, secret_file, ca_file),
    )


def _check_single(given: PairArguments, policy: str) -> None:
    """Raise WrongUse for options of a pair that a single node was given."""
    asked = {
        "--node": given.node,
        "--link": given.link,
        "--peer": given.peer,
        "--secret-file": given.secret_file,
        "--arbiter-ca": given.arbiter_ca,
        "--follower": given.follower or None,
    }
    alone = [name for name, value in asked.items() if value is not None]
    if alone:
        raise WrongUse(f"{alone[0]} is of a pair of nodes, which needs --arbiter, such as witness://127.0.0.1:9400")
    if policy in REPLICATED:
        raise WrongUse(f"--durability {policy} waits for a standby, which needs --arbiter; or give fsync")


def _options(given: PairArguments, policy: str, host: str, name: str, secret: bytes) -> "PairOptions":
    """Options of the link and of replication. Raises WrongUse."""
    from node.pair_plan import PairOptions
    from replication.arbiter import Candidate
    from replication.primary import Settings

    link_host, link_port = address_of(given.link or "127.0.0.1:0", "--link", least=0)
    if link_host in _ANY:
        raise WrongUse(
            f"--link is {given.link!r}, by which no other node can reach this one; give an address of this machine"
        )
    peer = address_of(given.peer, "--peer", least=1) if given.peer is not None else None
    silence_ns = given.standby_timeout_ms * 1_000_000
    settings = Settings(
        policy=cast("ReleasePolicy", policy),
        alone="stop" if given.alone == "stop" else "continue",
        silence_ns=silence_ns,
        # Whoever tolerates a longer silence of a standby tolerates as long a standstill of its disk.
        copy_stall_ns=max(silence_ns, Settings().copy_stall_ns),
        beat_ns=min(50, max(given.standby_timeout_ms // 10, 1)) * 1_000_000,
    )
    return PairOptions(
        Candidate(name, policy=policy),
        secret,
        link_host,
        link_port,
        peer,
        settings,
        clients_host=link_host if host in _ANY else host,
        follower=given.follower,
    )


def address_of(text: str, option: str, *, least: int) -> tuple[str, int]:
    """Host and port of HOST:PORT. Raises WrongUse."""
    host, found, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not found or not bare or not (port.isascii() and port.isdigit()) or not least <= int(port) <= 65_535:
        raise WrongUse(f"{option} is {text!r}; give HOST:PORT")
    return bare, int(port)
