"""Arbiters that cannot be reached, do not answer, answer with errors, or have lost their majority.

Nothing of this is ever taken for a yes or a no.
"""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from replication.arbiter import (
    Acquire,
    Arbiter,
    ArbiterError,
    ArbiterUnknown,
    Candidate,
    Read,
    Reason,
    Record,
    Release,
    Renew,
    Request,
    Standing,
    Won,
)
from replication.arbiters import AddressError, open_arbiter, parse_address
from replication.etcd import EtcdArbiter, _Keys
from replication.etcd_gateway import Endpoint, from_base64, to_base64
from replication.secret_file import SecretError
from replication.sentences import STILL_S
from replication.witness_arbiter import WitnessArbiter
from tests.arbiters import (
    ANSWER_S,
    HAS_ETCD,
    LONG_NS,
    NO_ETCD,
    Court,
    EtcdCourt,
    Network,
    WitnessCourt,
    new_market,
    until,
    unused_endpoint,
)
from tests.test_arbiter import lost, won
from tests.test_tls import certificate

needs_etcd = pytest.mark.skipif(not HAS_ETCD, reason=NO_ETCD)
SECRET = b"a secret of at least sixteen bytes"
A = Candidate("A")
REQUESTS: Final[list[Request]] = [
    Acquire(A, 0, LONG_NS, 0),
    Renew(5),
    Record(5, 5, ("A",)),
    Release(5),
    Read(),
]
SHORT_S: Final = 0.2

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Read, and never answer."""
    while await reader.read(65_536):
        pass


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close after the first bytes."""
    await reader.read(10)
    writer.close()


async def garbled(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with bytes of another protocol."""
    writer.write(b"\x00SSH-2.0-OpenSSH\r\n\r\n" * 10)
    await writer.drain()
    writer.close()


async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer without an end."""
    try:
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
    except OSError:
        return


def witness_at(endpoint: Endpoint) -> Arbiter:
    return WitnessArbiter(*endpoint, new_market(), SECRET, answer_s=SHORT_S)


def etcd_at(endpoint: Endpoint) -> Arbiter:
    return EtcdArbiter([endpoint], new_market(), answer_s=SHORT_S)


DRIVERS: Final = pytest.mark.parametrize("driver_at", [witness_at, etcd_at], ids=["witness", "etcd"])


@DRIVERS
def test_an_arbiter_that_does_not_run_is_unreachable_and_no_outcome_is_unknown(
    driver_at: Callable[[Endpoint], Arbiter],
) -> None:
    async def play() -> None:
        driver = driver_at(unused_endpoint())
        for request in REQUESTS:
            with pytest.raises(ArbiterError, match="connection refused") as caught:
                await driver.ask(request)
            assert type(caught.value) is ArbiterError
        await driver.close()

    asyncio.run(play())


@DRIVERS
@pytest.mark.parametrize("serve", [silent, closing, garbled, endless], ids=lambda each: each.__name__)
def test_a_peer_that_is_no_arbiter_raises_a_sentence_and_never_an_answer(
    driver_at: Callable[[Endpoint], Arbiter], serve: Serve
) -> None:
    async def play() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        driver = driver_at(Endpoint("127.0.0.1", server.sockets[0].getsockname()[1]))
        for request in REQUESTS:
            with pytest.raises(ArbiterError) as caught:
                await driver.ask(request)
            assert len(str(caught.value)) < 400
        await driver.close()
        server.close()

    asyncio.run(play())


@pytest.mark.slow
@DRIVERS
def test_a_node_that_stood_still_itself_does_not_blame_its_arbiter(driver_at: Callable[[Endpoint], Arbiter]) -> None:
    async def play() -> None:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        driver = driver_at(Endpoint("127.0.0.1", server.sockets[0].getsockname()[1]))
        for stands in (True, False):
            asked = asyncio.ensure_future(driver.ask(Read()))
            await asyncio.sleep(0)
            if stands:
                time.sleep(SHORT_S + 4 * STILL_S)  # the whole process stands still
            with pytest.raises(ArbiterError) as caught:
                await asked
            assert ("this node itself stood still" in str(caught.value)) == stands
            assert ("check that it runs" in str(caught.value)) == (not stands and driver_at is witness_at)
        await driver.close()
        server.close()

    asyncio.run(play())


# A network between a driver and an arbiter that runs.


@pytest.fixture(scope="module", params=["witness", pytest.param("etcd", marks=needs_etcd)])
def court(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WitnessCourt | EtcdCourt]:
    """An arbiter that runs."""
    made: WitnessCourt | EtcdCourt
    if request.param == "witness":
        made = WitnessCourt(tmp_path_factory.mktemp("witness") / "data")
        made.start()
    else:
        made = EtcdCourt(tmp_path_factory.mktemp("etcd"))
        made.start_all()
    yield made
    made.stop()


def endpoint_of(court: Court) -> Endpoint:
    """Address of the arbiter."""
    if isinstance(court, EtcdCourt):
        return court.endpoints[0]
    assert isinstance(court, WitnessCourt)
    return Endpoint("127.0.0.1", court.port)


def driver_through(court: Court, endpoint: Endpoint, market: str, answer_s: float) -> Arbiter:
    """A driver that reaches the arbiter at another address."""
    if isinstance(court, EtcdCourt):
        return court.driver(market, endpoints=[endpoint], answer_s=answer_s)
    assert isinstance(court, WitnessCourt)
    return court.driver(market, port=endpoint.port, answer_s=answer_s)


def changes(data: bytes) -> bool:
    """True for bytes of a request that changes a register: a transaction of etcd, or any request to a witness."""
    return b"/v3/kv/txn" in data or b'"request"' in data


@pytest.mark.slow
def test_a_request_whose_answer_is_lost_is_unknown_whether_it_took_effect_or_not(court: Court) -> None:
    async def play(in_time: bool) -> None:
        market = new_market()
        network = Network(endpoint_of(court))
        far = driver_through(court, await network.start(), market, 1.0)
        near = court.driver(market)
        assert await far.read() == Standing(None, held=False)
        network.is_held = changes
        with pytest.raises(ArbiterUnknown, match="may have done what was asked"):
            await far.acquire(A, 0)
        assert await near.read() == Standing(None, held=False)
        network.is_held = lambda _data: False
        if in_time:  # the request arrives in the end, long after its driver gave up

            async def is_held() -> bool:
                return (await near.read()).held

            network.requests_pass.set()
            await until(is_held, "the late request does not arrive")
            assert lost(await near.acquire(Candidate("B"), 0)) is Reason.HELD
        else:
            await network.stop()
        await far.close()
        await near.close()
        await network.stop()

    asyncio.run(play(True))
    asyncio.run(play(False))


@pytest.mark.slow
def test_a_lost_connection_is_made_again_and_a_late_answer_is_of_no_request(court: Court) -> None:
    async def play() -> None:
        market = new_market()
        network = Network(endpoint_of(court))
        far = driver_through(court, await network.start(), market, 2.0)
        first = won(await far.acquire(A, 0))
        both = won(await far.record(first.epoch, first.reign.revision, ("A", "B")))
        network.answers_pass.clear()
        with pytest.raises(ArbiterError):
            await far.record(first.epoch, both.reign.revision, ("A",))
        network.answers_pass.set()
        now = await again(far.read)
        assert now.reign is not None
        assert now.reign.epoch == first.epoch
        assert won(await again(far.renew, first.epoch)).reign == now.reign
        await far.close()
        await network.stop()

    asyncio.run(play())


async def again(ask: Any, *arguments: Any) -> Any:
    """Ask until there is an answer, as a machine at work may be late."""
    for _ in range(30):
        try:
            return await ask(*arguments)
        except ArbiterError:
            await asyncio.sleep(0.1)
    return await ask(*arguments)


# etcd alone.


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCourt]:
    made = EtcdCourt(tmp_path_factory.mktemp("alone"))
    made.start_all()
    yield made
    made.stop()


async def lease_of(court: EtcdCourt, market: str) -> str:
    """Id of the etcd lease that the lease key is under."""
    driver = court.driver(market)
    key = {"key": to_base64(f"lockstep/{market}/lease".encode())}
    loop = asyncio.get_running_loop()
    answer = await driver._gateway.call("/v3/kv/range", key, loop.time() + 60, repeatable=True)
    return str(answer["kvs"][0]["lease"])


@pytest.mark.slow
@needs_etcd
def test_a_late_renewal_never_puts_the_key_back_under_an_older_lease(
    etcd: EtcdCourt, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        market = new_market()
        network = Network(etcd.endpoints[0])
        far = etcd.driver(market, endpoints=[await network.start()], answer_s=1.0)
        near = etcd.driver(market)
        first = won(await near.acquire(A, 0))
        await far.renew(first.epoch)
        before = await lease_of(etcd, market)
        network.is_held = changes
        with pytest.raises(ArbiterError):
            await far.renew(first.epoch)
        network.is_held = lambda _data: False
        assert await lease_of(etcd, market) == before
        await near.renew(first.epoch)
        newer = await lease_of(etcd, market)
        assert newer != before
        network.requests_pass.set()

        async def is_answered() -> bool:
            return network.answers > answers

        answers = network.answers
        await until(is_answered, "the late renewal is not decided")
        assert (await lease_of(etcd, market) == newer) is sound
        await network.stop()

    sound = True
    asyncio.run(play())
    # The control: a transaction that does not compare the revision of the key.
    sound, transaction = False, _Keys.transaction

    async def careless(keys: Any, compares: Any, puts: Any, **options: Any) -> Any:
        return await transaction(keys, [each for each in compares if each[:2] != ("lease", "MOD")], puts, **options)

    monkeypatch.setattr(_Keys, "transaction", careless)
    asyncio.run(play())


@pytest.mark.slow
@needs_etcd
def test_the_next_endpoint_is_asked_where_one_cannot_be_reached_or_says_nothing(etcd: EtcdCourt) -> None:
    async def play() -> None:
        mute = await asyncio.start_server(silent, "127.0.0.1", 0)
        dead = Endpoint("127.0.0.1", mute.sockets[0].getsockname()[1])
        endpoints = [unused_endpoint(), dead, *etcd.endpoints]
        driver = EtcdArbiter(endpoints, new_market(), ttl_s=60, answer_s=6.0)
        first = won(await driver.acquire(A, 0))
        assert won(await driver.renew(first.epoch)).epoch == first.epoch
        mute.close()

    asyncio.run(play())


@pytest.mark.slow
@needs_etcd
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate of this test")
def test_etcd_is_reached_over_https_and_a_certificate_that_is_not_trusted_is_refused(tmp_path: Path) -> None:
    court = EtcdCourt(tmp_path, tls=certificate(tmp_path, "etcd"))
    try:
        court.start_all()

        async def play() -> None:
            market = new_market()
            first = won(await court.driver(market).acquire(A, 0))
            address = parse_address(f"etcds://127.0.0.1:{court.endpoints[0].port}")
            trusting = open_arbiter(address, bytes.fromhex(market), ca_file=tmp_path / "etcd.pem")
            trusting._answer_s = ANSWER_S  # type: ignore[attr-defined]
            assert await trusting.read() == Standing(first.reign, held=True)
            with pytest.raises(ArbiterError, match=r"TLS failed: self.signed certificate"):
                await open_arbiter(address, bytes.fromhex(market)).read()
            plain = EtcdArbiter(court.endpoints, market, answer_s=ANSWER_S)
            with pytest.raises(ArbiterError):
                await plain.read()

        asyncio.run(play())
    finally:
        court.stop()


@needs_etcd
@pytest.mark.slow
def test_a_cluster_without_a_majority_is_unreachable_and_goes_on_afterwards(tmp_path: Path) -> None:
    court = EtcdCourt(tmp_path, members=2)
    try:
        court.start_all()

        async def play() -> None:
            market = new_market()
            driver = court.driver(market)
            first = won(await driver.acquire(A, 0))
            court.kill(1)
            impatient = court.driver(market, answer_s=1.0)
            patient = court.driver(market, answer_s=10.0)  # etcd itself gives up after some 5 s
            for each, request in (
                (impatient, Renew(first.epoch)),
                (impatient, Record(first.epoch, first.reign.revision, ("A", "B"))),
                (impatient, Release(first.epoch)),
                (impatient, Acquire(A, first.epoch, LONG_NS, 0)),
                (patient, Renew(first.epoch)),
                (patient, Read()),
            ):
                with pytest.raises(ArbiterError):
                    await each.ask(request)
            court.start(1)
            await court.until_it_answers()
            standing = await again(driver.read)
            assert standing == Standing(first.reign, held=True)
            assert won(await again(driver.renew, first.epoch)).epoch == first.epoch

        asyncio.run(play())
    finally:
        court.stop()


#: Errors of etcd's gateway: HTTP status, code of gRPC, words.
ERRORS: Final = [
    (503, 14, "etcdserver: no leader"),
    (503, 14, "etcdserver: not leader"),
    (503, 14, "etcdserver: leader changed"),
    (503, 14, "etcdserver: server stopped"),
    (503, 14, "etcdserver: request timed out"),
    (503, 14, "etcdserver: request timed out, possibly due to previous leader failure"),
    (503, 14, "etcdserver: request timed out, possibly due to connection lost"),
    (503, 14, "etcdserver: request timed out, waiting for the applied index took too long"),
    (503, 14, "etcdserver: unhealthy cluster"),
    (503, 14, "all SubConns are in TransientFailure"),
    (429, 8, "etcdserver: too many requests"),
    (429, 8, "etcdserver: mvcc: database space exceeded"),
    (500, 2, "context deadline exceeded"),
    (500, 15, "etcdserver: corrupt cluster"),
    (500, 13, "stream terminated by RST_STREAM"),
    (408, 1, "context canceled"),
    (504, 4, "context deadline exceeded"),
    (404, 5, "etcdserver: requested lease not found"),
    (404, 5, "Not Found"),
    (400, 3, "etcdserver: duplicate key given in txn request"),
    (400, 9, "etcdserver: lease already exists"),
    (403, 7, "etcdserver: permission denied"),
    (401, 16, "etcdserver: invalid auth token"),
    (501, 12, "not implemented"),
    (418, 99, "an error of a later release"),
]
REFUSED: Final = {3, 5, 7, 9, 12, 16}


class Gateway:
    """A gateway that fails one path, and answers the others as etcd does while A holds epoch 5."""

    def __init__(self, market: str, failing: str, status: int, body: bytes) -> None:
        self._market, self._failing = market, failing
        self._failure = (status, body)
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        self.asked.append(path)
        status, body = self._failure if path == self._failing else (200, json.dumps(self._sound(path)).encode())
        writer.write(f"HTTP/1.0 {status} X\r\nContent-Type: application/json\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    def _sound(self, path: str) -> dict[str, Any]:
        header = {"revision": "9"}
        match path:
            case "/v3/lease/grant":
                return {"header": header, "ID": "77", "TTL": "60"}
            case "/v3/kv/txn":
                return {"header": header, "succeeded": True}
        reign = {"epoch": 1, "revision": 1, "primary": "A", "address": "", "clients": "", "in_sync": ["A"],
                 "since_ns": 0, "forced": "", "policy": "both"}  # fmt: skip
        record = json.dumps({"version": 1, "base": 0, "epoch": None, "reign": reign}).encode()
        keys = {"reign": record} if "acquire" in self._market else {"reign": record, "lease": b"A"}
        kvs = [
            {"key": to_base64(f"lockstep/{'0' * 32}/{name}".encode()), "value": to_base64(value),
             "mod_revision": "5", "create_revision": "5"}
            for name, value in keys.items()
        ]  # fmt: skip
        return {"header": header, "kvs": kvs}


async def asked_of(request: Request, failing: str, status: int, body: bytes) -> tuple[Any, list[str]]:
    """(outcome, paths asked) of a request to a gateway that fails one path; an error is an outcome too."""
    gateway = Gateway("acquire" if isinstance(request, Acquire) else "", failing, status, body)
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    driver = EtcdArbiter([Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])], "0" * 32, answer_s=60)
    try:
        return await driver.ask(request), gateway.asked
    except ArbiterError as error:
        return error, gateway.asked
    finally:
        server.close()


USES: Final[dict[str, list[Request]]] = {
    "/v3/kv/range": [Acquire(A, 5, LONG_NS, 0), Renew(5), Record(5, 5, ("A", "B")), Release(5), Read()],
    "/v3/lease/grant": [Acquire(A, 5, LONG_NS, 0), Renew(5), Release(5, "B")],
    "/v3/kv/txn": [Acquire(A, 5, LONG_NS, 0), Renew(5), Record(5, 5, ("A", "B")), Release(5)],
}


@pytest.mark.parametrize("path", USES)
def test_no_error_that_the_gateway_gives_is_taken_for_an_answer(path: str) -> None:
    async def play() -> None:
        for status, code, words in ERRORS:
            body = json.dumps({"error": words, "message": words, "code": code}).encode()
            for request in USES[path]:
                outcome, asked = await asked_of(request, path, status, body)
                assert asked[-1] == path
                assert isinstance(outcome, ArbiterError), (words, request, outcome)
                assert words in str(outcome)
                changed = path == "/v3/kv/txn" and not isinstance(request, Renew | Release)
                assert isinstance(outcome, ArbiterUnknown) == (changed and code not in REFUSED), (words, request)
        for status, body in ((200, b""), (200, b"{}"), (200, b"[]"), (200, b"{"), (500, b"oops"), (302, b"{}"),
                             (200, b'{"header": {}, "kvs": 5, "ID": "x", "succeeded": true}')):  # fmt: skip
            for request in USES[path]:
                outcome, _ = await asked_of(request, path, status, body)
                assert isinstance(outcome, ArbiterError), (status, body, request, outcome)
        for request in USES[path]:  # the control: a gateway without a fault
            outcome, asked = await asked_of(request, "", 200, b"")
            assert isinstance(outcome, Won | Standing), outcome
            assert path in asked

    asyncio.run(play())


@pytest.mark.parametrize(
    "value", [b"", b"{", b"{}", b'{"version":2}', b'{"version":1,"base":-1,"epoch":null,"reign":{}}']
)
@needs_etcd
def test_a_record_in_etcd_that_is_damaged_is_refused(etcd: EtcdCourt, value: bytes) -> None:
    async def play() -> None:
        market = new_market()
        driver = etcd.driver(market)
        fields = {"key": to_base64(f"lockstep/{market}/reign".encode()), "value": to_base64(value)}
        deadline_s = asyncio.get_running_loop().time() + 60
        await driver._gateway.call("/v3/kv/put", fields, deadline_s, repeatable=True)
        for request in (Acquire(A, 0, LONG_NS, 0), Read()):
            with pytest.raises(ArbiterError, match="the record in etcd"):
                await driver.ask(request)

    asyncio.run(play())


def test_base64_that_is_none_is_refused() -> None:
    with pytest.raises(ArbiterError, match="not base64"):
        from_base64("%")


# Addresses.


@pytest.mark.parametrize(
    "text",
    ["", "witness", "witness://", "witness://h", "witness://h:0", "witness://h:70000", "witness://h:1,g:2", "http://h:1",
     "etcd://", "etcd://h:1,", "etcd://:1", "etcd://h:x", "etcds://h"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_with_what_to_give(text: str) -> None:
    with pytest.raises(AddressError, match="the arbiter is"):
        parse_address(text)


def test_the_driver_of_an_address_has_the_lease_that_was_asked_for(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)

    async def play() -> None:
        witness = open_arbiter(parse_address("witness://127.0.0.1:9010"), bytes(16), secret_file=secret)
        assert witness.ttl_ns == 600_000_000
        etcd = open_arbiter(parse_address("etcd://127.0.0.1:2379,[::1]:2379/"), bytes(16))
        assert etcd.ttl_ns == 2 * 10**9
        assert open_arbiter(parse_address("etcds://h:1"), bytes(16), ttl_ns=5 * 10**9).ttl_ns == 5 * 10**9
        for address, ttl_ns in (("witness://h:1", 1), ("etcd://h:1", 10**9), ("etcd://h:1", 2_500_000_000)):
            with pytest.raises(AddressError, match="lease"):
                open_arbiter(parse_address(address), bytes(16), ttl_ns=ttl_ns, secret_file=secret)
        with pytest.raises(AddressError, match="a witness needs its secret"):
            open_arbiter(parse_address("witness://h:1"), bytes(16))
        with pytest.raises(AddressError, match="no certificate"):
            open_arbiter(parse_address("etcds://h:1"), bytes(16), ca_file=secret)
        secret.chmod(0o644)
        with pytest.raises(SecretError):
            open_arbiter(parse_address("witness://h:1"), bytes(16), secret_file=secret)

    asyncio.run(play())
