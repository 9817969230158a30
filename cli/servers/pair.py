"""Options of a node of a pair, checked and put together for `lockstep serve`."""

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from cli.errors import WrongUse

if TYPE_CHECKING:
    from node.pair.plan import PairOptions, PairPlan
    from sequencer.release import ReleasePolicy

#: Release policies that need a standby.
REPLICATED: Final = ("replica", "both")
#: Default of --standby-timeout-ms.
_STANDBY_TIMEOUT_MS: Final = 500
#: Addresses that mean all of this machine's.
_ANY: Final = frozenset({"0.0.0.0", "::", "*"})


class PairArguments(NamedTuple):
    """Options of `lockstep serve` for a pair, as given; None: not given. ``leave_pair``: of a directory of a pair."""

    arbiter: str | None
    node: str | None
    link: str | None
    peer: str | None
    secret_file: Path | None
    alone: str | None
    follower: bool
    lease_ms: int | None
    standby_timeout_ms: int | None
    arbiter_ca: Path | None = None
    leave_pair: bool = False


def plan_of(given: PairArguments, policy: str, host: str, port: int = 0) -> "PairPlan | None":
    """Plan of a node of a pair; None without --arbiter. ``host``, ``port``: of order entry. Raises WrongUse."""
    if given.arbiter is None:
        _check_single(given, policy)
        return None
    if given.leave_pair:
        raise WrongUse("--leave-pair makes a single node of a directory; leave out --arbiter, or --leave-pair")
    if given.secret_file is None:
        raise WrongUse(
            "a node of a pair needs --secret-file: the same secret on both nodes, as `lockstep witness` makes"
        )
    from node.pair.plan import PairPlan
    from replication.arbiter import checked_name
    from replication.arbiters import AddressError, open_arbiter, parse_address
    from replication.death_watch import DeathWatch
    from replication.secret_file import read_secret

    where, secret_file, ca_file = given.arbiter, given.secret_file, given.arbiter_ca
    name = socket.gethostname() if given.node is None else given.node
    try:
        checked_name(name)
    except ValueError as error:
        source = (
            "--node is wrong" if given.node is not None else "give --node, since the host name is no name of a node"
        )
        raise WrongUse(f"{source}: {error}") from None
    try:
        address = parse_address(where)
        secret = read_secret(secret_file)
        ttl_ns = None if given.lease_ms is None else given.lease_ms * 1_000_000
        open_arbiter(address, bytes(16), ttl_ns=ttl_ns, secret_file=secret_file, ca_file=ca_file)
    except (AddressError, ValueError) as error:
        raise WrongUse(str(error)) from None
    return PairPlan(
        _options(given, policy, (host, port), name, secret),
        lambda journal_id: open_arbiter(address, journal_id, ttl_ns=ttl_ns, secret_file=secret_file, ca_file=ca_file),
        lambda journal_id: DeathWatch(where, journal_id, secret_file, ca_file),
    )


def _options(given: PairArguments, policy: str, entry: tuple[str, int], name: str, secret: bytes) -> "PairOptions":
    """Options of the link and of replication. Raises WrongUse."""
    from node.pair.plan import PairOptions
    from replication.arbiter import Candidate
    from replication.primary import Settings

    link_host, link_port = address_of(given.link or "127.0.0.1:0", "--link", least=0)
    if link_host in _ANY:
        raise WrongUse(
            f"--link is {given.link!r}, by which no other node can reach this one; give an address of this machine"
        )
    host, port = entry
    if link_port and link_port == port and (host in _ANY or host == link_host):
        raise WrongUse(f"--link and --port are both {port}; give each a port of its own")
    peer = address_of(given.peer, "--peer", least=1) if given.peer is not None else None
    if peer is not None and peer == (link_host, link_port):
        raise WrongUse(f"--peer is {given.peer}, the --link of this node itself; give the --link of the other node")
    timeout_ms = _STANDBY_TIMEOUT_MS if given.standby_timeout_ms is None else given.standby_timeout_ms
    silence_ns = timeout_ms * 1_000_000
    settings = Settings(
        policy=cast("ReleasePolicy", policy),
        alone="stop" if given.alone == "stop" else "continue",
        silence_ns=silence_ns,
        # Whoever tolerates a longer silence of a standby tolerates as long a standstill of its disk.
        copy_stall_ns=max(silence_ns, Settings().copy_stall_ns),
        beat_ns=min(50, max(timeout_ms // 10, 1)) * 1_000_000,
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


def _check_single(given: PairArguments, policy: str) -> None:
    """Raise WrongUse for options of a pair that a single node was given."""
    asked = {
        "--node": given.node,
        "--link": given.link,
        "--peer": given.peer,
        "--secret-file": given.secret_file,
        "--arbiter-ca": given.arbiter_ca,
        "--alone": given.alone,
        "--follower": given.follower or None,
        "--lease-ms": given.lease_ms,
        "--standby-timeout-ms": given.standby_timeout_ms,
    }
    of_pairs = [name for name, value in asked.items() if value is not None]
    if of_pairs:
        raise WrongUse(f"{of_pairs[0]} is of a pair of nodes, which needs --arbiter, such as witness://127.0.0.1:9010")
    if policy in REPLICATED:
        raise WrongUse(f"--durability {policy} waits for a standby, which needs --arbiter; or give fsync")


def address_of(text: str, option: str, *, least: int) -> tuple[str, int]:
    """Host and port of HOST:PORT. Raises WrongUse."""
    host, found, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not found or not bare or not (port.isascii() and port.isdigit()) or not least <= int(port) <= 65_535:
        raise WrongUse(f"{option} is {text!r}; give HOST:PORT")
    return bare, int(port)
