"""TLS for order entry: a node with a certificate made here, and the clients of the library and the command line."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from cli.main import run_line
from cli.servers import serve as serve_command
from client import AsyncClient, CannotConnect, Client, ConnectionLost, DebugText, Side, client_context
from gateway.connection import Connection
from gateway.tls import TlsError, server_context
from tests import nursery
from tests.running import Running, started, until

pytestmark = [
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates of these tests"),
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated"),
]


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and 127.0.0.1, and its key."""
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command.split(), *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"), "node")


def tls_options(files: tuple[Path, Path]) -> tuple[str, ...]:
    """Options of a node with the certificate, and room for few connections."""
    return ("--tls-cert", str(files[0]), "--tls-key", str(files[1]), "--connections-max", "8")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, files: tuple[Path, Path]) -> Iterator[Running]:
    running = started(tmp_path_factory.mktemp("node"), *tls_options(files))
    yield running
    running.stop()


@pytest.mark.slow
def test_both_clients_trade_over_tls(node: Running, files: tuple[Path, Path]) -> None:
    tls = client_context(files[0])

    async def buys() -> int:
        async with AsyncClient("127.0.0.1", node.port, "UB", "secret", tls=tls) as buyer:
            await buyer.enter("XYZ", Side.BUY, 300, "9.00")
            return len(buyer.open_orders())

    with Client("localhost", node.port, "UA", "secret", tls=tls) as seller:
        orders = [seller.enter("XYZ", Side.SELL, 1, "9.00") for _ in range(300)]
        assert asyncio.run(buys()) == 0
        until(lambda: all(order.leaves_qty == 0 for order in orders), what="each sale is told, however records are cut")
    with Client("localhost", node.port, "UA", "secret", tls=tls, from_seq=1) as again:
        assert len(again.orders) >= 300, "the stream from its beginning, in many TLS records"


def test_every_connection_shakes_hands_however_soon_its_first_bytes_come(
    node: Running, files: tuple[Path, Path]
) -> None:
    tls = client_context(files[0])
    for _ in range(100):
        plain = socket.create_connection(("127.0.0.1", node.port), 20)
        with tls.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            assert connection.version() == "TLSv1.3"


def test_a_certificate_of_another_authority_or_name_is_refused_in_a_sentence(
    node: Running, files: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(CannotConnect, match="is not to be trusted: self-signed certificate; check the host name"):
        Client("localhost", node.port, "UA", "secret", tls=client_context(certificate(tmp_path, "other")[0])).connect()

    async def by_another_name() -> None:
        async with AsyncClient("127.1", node.port, "UA", "secret", tls=client_context(files[0])):
            pass

    with pytest.raises(CannotConnect, match="Hostname mismatch"):
        asyncio.run(by_another_name())


def test_who_speaks_no_tls_or_an_old_one_gets_no_login(node: Running, files: tuple[Path, Path]) -> None:
    with pytest.raises((CannotConnect, ConnectionLost)):
        Client("127.0.0.1", node.port, "UA", "secret", reconnect_for_s=0).connect()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", node.port), 20) as plain, pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(plain)
    with Client("localhost", node.port, "UA", "secret", tls=client_context(files[0])) as client:
        assert client.core.session


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), ssl.SSLError(1, "wrong version number")])
def test_a_failed_handshake_has_a_reason(error: OSError) -> None:
    lost = []
    gateway = SimpleNamespace(on_disconnect=lost.append)
    connection = SimpleNamespace(closing="", _gateway=gateway)
    Connection.on_handshake_failure(cast(Connection, connection), error)
    assert lost == [connection]
    assert re.fullmatch(r"no TLS handshake: \S.*", connection.closing)


@contextlib.contextmanager
def with_silent_connections(node: Running, count: int) -> Iterator[None]:
    """So many connections from one address that begin no handshake."""
    with contextlib.ExitStack() as silent:
        for _ in range(count):
            where = ("127.0.0.1", node.port)
            silent.enter_context(socket.create_connection(where, timeout=120, source_address=("127.0.0.9", 0)))
        yield


@pytest.mark.slow
@pytest.mark.parametrize("patience", ["patient", "impatient"])
def test_connections_that_never_shake_hands_keep_nobody_out(
    patience: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    """While the node bears them, few of an address have a place; it does not bear them for ever."""
    node = started(tmp_path, *tls_options(files), faults=patience)
    try:
        with with_silent_connections(node, 50):
            if patience == "patient":
                with Client("localhost", node.port, "UA", "secret", tls=client_context(files[0])):
                    until(lambda: node.status()["connections"] <= 3, 120, what="few of an address have a place")
            else:
                until(lambda: node.status()["connections"] == 0, 120, what="patience with a handshake ends")
    finally:
        node.stop()


def test_a_session_that_ends_over_tls_gets_its_reason(node: Running, files: tuple[Path, Path]) -> None:
    with Client("localhost", node.port, "UC", "secret", tls=client_context(files[0]), reconnect_for_s=0) as client:
        with node.link() as link:
            link.ask("password", user="UC", password="another")
        said = []
        with contextlib.suppress(ConnectionLost):
            for event in client.events(timeout_s=20):
                said += [event.text] if isinstance(event, DebugText) else []
    assert any("the user has a new password" in text for text in said)


def test_a_certificate_that_cannot_be_used_is_named_in_a_sentence(files: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = files
    with pytest.raises(TlsError, match=r"the TLS key .*absent.* cannot be read: no such file"):
        server_context(cert, tmp_path / "absent")
    with pytest.raises(TlsError, match="are no TLS certificate and key"):
        server_context(key, cert)
    with pytest.raises(TlsError, match="KEY_VALUES_MISMATCH"):
        server_context(cert, certificate(tmp_path, "other")[1])
    with pytest.raises(ValueError, match="has no certificate to trust"):
        client_context(key)
    assert server_context(cert, key).minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["serve", "--data", "d", "--tls-cert", "absent.pem"], "give --tls-cert and --tls-key"),
        (["serve", "--data", "d", "--tls-cert", "absent.pem", "--tls-key", "absent.key"], "absent.pem cannot be read"),
        (["trade", "--user", "UA", "--tls-ca", "absent.pem"], "give --tls too"),
        (["trade", "--user", "UA", "--tls", "--tls-ca", "absent.pem"], "has no certificate to trust"),
    ],
)
def test_tls_options_that_cannot_be_end_with_status_2(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_line(words) == 2
    assert sentence in capsys.readouterr().err.replace("\n", " ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow_after(3)
@pytest.mark.parametrize(
    ("host", "encrypted", "told"),
    [("192.0.2.1", False, True), ("0.0.0.0", False, True), ("192.0.2.1", True, False), ("127.0.0.1", False, False)],
)
def test_order_entry_without_tls_beyond_loopback_is_told(
    host: str,
    encrypted: bool,
    told: bool,
    files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(serve_command, "ready", lambda **_: None)
    monkeypatch.setattr("node.program.serve", lambda *_, **__: None)
    tls = ["--tls-cert", str(files[0]), "--tls-key", str(files[1])] if encrypted else []
    assert run_line(["serve", "--data", str(tmp_path / "node"), "--host", host, *tls]) == 0
    assert ("is not encrypted" in capsys.readouterr().err) is told


@pytest.mark.slow
def test_trade_and_simulate_speak_tls(node: Running, files: tuple[Path, Path]) -> None:
    where = ["--port", str(node.port), "--tls", "--tls-ca", str(files[0])]

    def run(*words: str, typed: str) -> subprocess.CompletedProcess[str]:
        return nursery.run([*words, *where], typed=typed, environment={**os.environ, "LOCKSTEP_PASSWORD": "secret"})

    traded = run("trade", "--user", "UA", "--json", typed="buy 5 XYZ @ 1.00\n")
    assert traded.returncode == 0, traded.stderr
    assert "accepted" in traded.stdout.lower()
    words = ("simulate", "--user", "UB", "--password-stdin", "--symbol", "XYZ=10.00", "--seconds", "0.5", "--json")
    simulated = run(*words, typed="secret\n")
    assert simulated.returncode == 0, simulated.stderr
