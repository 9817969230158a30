"""Driver of a register in etcd v3, through its HTTP gateway: transactions on three keys, never its locks.

    KEY/reign       the record of the last reign; stays when a lease ends
    KEY/lease       the name of the primary, under an etcd lease: the register is held while the key exists
    KEY/successor   the name of a successor, under an etcd lease of its own

One transaction wins: the lease key does not exist, the record is the one that was read, and then both are written at
one revision of etcd. That revision is the epoch. It is the create revision of the lease key for the whole reign, and
every later request of the reign compares it. Each read is linearizable.

A renewal is a new etcd lease under the same key, not a keepalive (ADR 24). A grant goes through consensus and counts
from its application, so from after it was sent. A keepalive does not: a leader that was already replaced may answer it,
and the primary would count on time that it does not have. A renewal compares the mod revision of the lease key, so that
a late one never puts the key back under an older lease.

A cluster that lost its data begins with revision 1 again. So a record has a ``base``, which is added to all revisions:
0 at first, the highest epoch that is known where an operator forces a reign without a record.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from replication.arbiter import (
    EPOCH_MAX,
    Acquire,
    Answer,
    Arbiter,
    ArbiterError,
    ArbiterUnknown,
    Lost,
    Read,
    Record,
    Reign,
    Release,
    Renew,
    Request,
    Standing,
    Won,
    acquire_refusal,
    check_request,
    checked_market,
    first_record,
    lease_refusal,
    record_refusal,
    with_in_sync,
)
from replication.etcd_gateway import Endpoint, EtcdGateway, from_base64, number, to_base64
from replication.messages import decode_reign, from_json, reign_fields, to_json
from wire.errors import ProtocolError

#: Smallest lease of etcd with its default election timeout, in seconds.
TTL_S_MIN: Final = 2
#: Version of the records.
VERSION: Final = 1
#: Attempts of a transaction that finds a register which changed since it was read, but does not refuse it.
_ATTEMPTS: Final = 3
_ANSWER_SHARE: Final = 1 / 4


class _Seen(NamedTuple):
    """The three keys at one revision; a mod or create revision of 0 is that of a key which does not exist."""

    standing: Standing
    base: int
    reign_mod: int
    lease_create: int
    lease_mod: int
    successor_mod: int


class EtcdArbiter(Arbiter):
    """Driver of the register of one market.

    ttl_s: whole seconds; etcd may grant more. answer_s: longest wait for an answer, all endpoints included.
    """

    _CONTENDED: Final = "the register in etcd changed again and again, and the request had no effect; ask again"

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        market: str,
        *,
        ttl_s: int = TTL_S_MIN,
        tls: ssl.SSLContext | None = None,
        answer_s: float | None = None,
    ) -> None:
        if not TTL_S_MIN <= ttl_s <= 60:
            raise ValueError(f"the lease has {ttl_s} s; give {TTL_S_MIN} to 60")
        self.ttl_ns = ttl_s * 1_000_000_000
        self._answer_s = ttl_s * _ANSWER_SHARE if answer_s is None else answer_s
        self._gateway = EtcdGateway(endpoints, tls=tls, share_s=self._answer_s / max(1, len(endpoints)))
        self._key = f"lockstep/{checked_market(market)}"
        #: The keys after the last renewal, to save a read at the next; a transaction compares them anyway.
        self._seen: _Seen | None = None

    def __repr__(self) -> str:
        return f"<EtcdArbiter {self._gateway} {self._key}>"

    async def ask(self, request: Request) -> Answer:
        """Send a request and return its answer. Raises ArbiterError, ArbiterUnknown, or ValueError."""
        check_request(request)
        keys = _Keys(self._gateway, self._key, asyncio.get_running_loop().time() + self._answer_s)
        match request:
            case Acquire():
                return await self._acquire(keys, request)
            case Renew():
                return await self._renew(keys, request)
            case Record():
                return await self._record(keys, request)
            case Release():
                return await self._release(keys, request)
            case Read():
                return (await keys.read()).standing

    async def _acquire(self, keys: "_Keys", request: Acquire) -> Won | Lost:
        lease, seen = 0, await keys.read()
        for _ in range(_ATTEMPTS):
            if lost := acquire_refusal(seen.standing, request):
                return lost
            base = seen.base
            if seen.standing.reign is None or seen.standing.reign.epoch < request.expected:
                base = max(base, request.expected)
            if not lease:
                lease, ttl_ns = await keys.grant(request.ttl_ns)
            first = first_record(request, seen.standing.reign, 1)
            succeeded, revision = await keys.transaction(
                [("reign", "MOD", seen.reign_mod), ("lease", "CREATE", 0), ("successor", "MOD", seen.successor_mod)],
                [
                    keys.put("reign", _record_bytes(base, None, first)),
                    keys.put("lease", request.candidate.name.encode(), lease),
                    keys.delete("successor"),
                ],
            )
            if succeeded:
                return Won(_numbered(first, base + revision, base + revision), ttl_ns)
            seen = await keys.read()
        raise ArbiterError(self._CONTENDED)

    async def _renew(self, keys: "_Keys", request: Renew) -> Won | Lost:
        seen, self._seen = self._seen, None  # known again once the renewal has succeeded
        if seen is None or seen.standing.reign is None or seen.standing.reign.epoch != request.epoch:
            seen = await keys.read()
        lease = 0
        for _ in range(_ATTEMPTS):
            if lost := lease_refusal(seen.standing, request.epoch):
                return lost
            if not lease:
                lease, ttl_ns = await keys.grant(self.ttl_ns)
            reign = seen.standing.reign
            if reign is None:
                break
            succeeded, revision = await keys.transaction(
                [
                    ("lease", "CREATE", request.epoch - seen.base),
                    ("lease", "MOD", seen.lease_mod),
                    ("reign", "MOD", seen.reign_mod),
                ],
                [keys.put("lease", reign.primary.encode(), lease)],
                repeatable=True,
            )
            if succeeded:
                self._seen = seen._replace(lease_mod=revision)
                return Won(reign, ttl_ns)
            seen = await keys.read()
        raise ArbiterError(self._CONTENDED)

    async def _record(self, keys: "_Keys", request: Record) -> Won | Lost:
        seen = await keys.read()
        for _ in range(_ATTEMPTS):
            if lost := record_refusal(seen.standing, request):
                return lost
            if seen.standing.reign is None:
                break
            reign = with_in_sync(seen.standing.reign, request, request.revision)
            succeeded, revision = await keys.transaction(
                [("lease", "CREATE", request.epoch - seen.base), ("reign", "MOD", request.revision - seen.base)],
                [keys.put("reign", _record_bytes(seen.base, request.epoch, reign))],
            )
            if succeeded:
                return Won(_numbered(reign, request.epoch, seen.base + revision), self.ttl_ns)
            seen = await keys.read()
        raise ArbiterError(self._CONTENDED)

    async def _release(self, keys: "_Keys", request: Release) -> Standing | Lost:
        lease, seen = 0, await keys.read()
        for _ in range(_ATTEMPTS):
            reign = seen.standing.reign
            if reign is None or reign.epoch != request.epoch:
                return lease_refusal(seen.standing, request.epoch) or seen.standing
            successor = keys.delete("successor")
            if request.successor:
                if not lease:
                    lease, _ = await keys.grant(self.ttl_ns)
                successor = keys.put("successor", request.successor.encode(), lease)
            succeeded, _ = await keys.transaction(
                [("reign", "MOD", seen.reign_mod), ("lease", "CREATE", seen.lease_create)],
                [keys.delete("lease"), successor],
                repeatable=True,
            )
            if succeeded:
                return Standing(reign, held=False, successor=request.successor)
            seen = await keys.read()
        raise ArbiterError(self._CONTENDED)


class _Keys:
    """The three keys of a register, read and written until a time on the clock of the event loop."""

    def __init__(self, gateway: EtcdGateway, key: str, deadline_s: float) -> None:
        self._gateway = gateway
        self._key = key
        self._deadline_s = deadline_s

    async def read(self) -> _Seen:
        """The three keys; linearizable, since ``serializable`` is not asked for."""
        answer = await self._gateway.call("/v3/kv/range", self._range(), self._deadline_s, repeatable=True)
        found: dict[str, tuple[bytes, int, int]] = {}
        for each in _objects(answer, "kvs"):
            name = from_base64(each.get("key")).decode("ascii", "replace").removeprefix(f"{self._key}/")
            value = from_base64(each.get("value", ""))
            found[name] = (value, number(each, "mod_revision"), number(each, "create_revision"))
        value, reign_mod, _ = found.get("reign", (b"", 0, 0))
        base, reign = _decoded(value, reign_mod) if reign_mod else (0, None)
        held, lease_mod, lease_create = found.get("lease", (b"", 0, 0))
        successor, successor_mod, _ = found.get("successor", (b"", 0, 0))
        if held and reign is None:
            raise ArbiterError(f"{self._key} in etcd has a lease and no reign; see docs/OPERATIONS.md, Arbiter lost")
        standing = Standing(reign, bool(held), successor.decode("ascii", "replace"))
        return _Seen(standing, base, reign_mod, lease_create, lease_mod, successor_mod)

    async def grant(self, ttl_ns: int) -> tuple[int, int]:
        """(id, time granted in ns) of a new lease, which ends by itself where it is not used."""
        seconds = max(TTL_S_MIN, -(-ttl_ns // 1_000_000_000))
        answer = await self._gateway.call("/v3/lease/grant", {"TTL": seconds}, self._deadline_s, repeatable=True)
        lease, granted_s = number(answer, "ID"), number(answer, "TTL")
        if not lease or granted_s < 1:
            raise ArbiterError("etcd granted no lease; see its log")
        return lease, granted_s * 1_000_000_000

    async def transaction(
        self, compares: Sequence[tuple[str, str, int]], puts: Sequence[dict[str, Any]], *, repeatable: bool = False
    ) -> tuple[bool, int]:
        """(success, revision) of a transaction. ``compares``: name of a key, MOD or CREATE, and that revision of it."""
        fields = {
            "compare": [
                {"key": self._named(name), "target": kind, "result": "EQUAL", f"{kind.lower()}_revision": str(wanted)}
                for name, kind, wanted in compares
            ],
            "success": list(puts),
        }
        answer = await self._gateway.call("/v3/kv/txn", fields, self._deadline_s, repeatable=repeatable)
        revision = number(answer["header"], "revision")
        if not 1 <= revision <= EPOCH_MAX:
            raise ArbiterUnknown("etcd answered a transaction without its revision; check its release")
        return answer.get("succeeded") is True, revision

    def _named(self, name: str) -> str:
        return to_base64(f"{self._key}/{name}".encode("ascii"))

    def _range(self) -> dict[str, Any]:
        """All keys that begin with KEY/: up to KEY0, since 0 comes after the slash."""
        return {"key": self._named(""), "range_end": to_base64(f"{self._key}0".encode("ascii"))}

    def put(self, name: str, value: bytes, lease: int = 0) -> dict[str, Any]:
        """Part of a transaction that writes a key, under a lease if it is not 0."""
        return {"requestPut": {"key": self._named(name), "value": to_base64(value), "lease": str(lease)}}

    def delete(self, name: str) -> dict[str, Any]:
        """Part of a transaction that deletes a key, if it exists."""
        return {"requestDeleteRange": {"key": self._named(name)}}


def _record_bytes(base: int, epoch: int | None, reign: Reign) -> bytes:
    """Value of the reign key. ``epoch``: None in the first record of a reign, whose own revision it is."""
    return to_json({"version": VERSION, "base": base, "epoch": epoch, "reign": reign_fields(reign)})


def _decoded(value: bytes, mod_revision: int) -> tuple[int, Reign]:
    """(base, reign) of a value at a revision. Raises ArbiterError."""
    try:
        fields = from_json(value, "the record of a reign")
        version, base, epoch = fields.get("version"), fields.get("base"), fields.get("epoch")
        if version != VERSION:
            raise ArbiterError(f"the record in etcd has version {version!r}, and this release reads {VERSION}")
        if type(base) is not int or base < 0 or (epoch is not None and type(epoch) is not int):
            raise ValueError("base and epoch are no numbers")
        revision = base + mod_revision
        return base, _numbered(decode_reign(fields.get("reign")), revision if epoch is None else epoch, revision)
    except (ProtocolError, ValueError) as error:
        raise ArbiterError(f"the record in etcd is damaged ({error}); see docs/OPERATIONS.md, Arbiter lost") from None


def _numbered(reign: Reign, epoch: int, revision: int) -> Reign:
    return replace(reign, epoch=epoch, revision=revision)


def _objects(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = answer.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ArbiterError(f"etcd answered with {name} of another form; check its release")
    return found
