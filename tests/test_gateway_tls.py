"""TLS at gateways in processes of their own: clients of FIX and OUCH, certificates of clients, and quickfix-tls."""

import importlib.util
import shutil
import ssl
from contextlib import closing
from pathlib import Path

import pytest

from client import Client, Side, client_context
from gateway.tls import TlsError, server_context
from tests.conftest import Lockstep
from tests.fix_client import FixClient
from tests.fix_trader import LOGGED_ON, Trader
from tests.running import started, until
from tests.test_node_gateways import port_of
from tests.test_tls import certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates of these tests")


@pytest.mark.slow
def test_clients_of_gateways_trade_over_tls_and_others_are_not_served(tmp_path: Path) -> None:
    ours = certificate(tmp_path, "node")
    files = ("--tls-cert", str(ours[0]), "--tls-key", str(ours[1]))
    node = started(tmp_path, *files, "--gateway", "fix=fix:0", "--gateway", "desk=ouch:0")
    try:
        tls = client_context(ours[0])
        with closing(FixClient(port_of(node, "fix"), "UA", tls=tls)) as one:
            one.log_on()
            one.order("a1", price="10.00")
            one.report("a1")
            with Client("127.0.0.1", port_of(node, "desk"), "UB", "secret", tls=tls) as other:
                other.enter("XYZ", Side.SELL, 1, "10.00")
                assert one.report("a1", "F").get(b"39") == b"2"
            with closing(FixClient(port_of(node, "fix"), "UC")) as plain, pytest.raises(AssertionError):
                plain.log_on()
        if importlib.util.find_spec("quickfix") is not None:
            until(lambda: node.status()["logged_in"] == 0)
            trader = Trader(port_of(node, "fix"), tmp_path / "quickfix", user="UB", ca=ours[0])
            try:
                until(lambda: LOGGED_ON in trader.lines)
                trader.enter("by-quickfix")
                until(lambda: trader.told()["0", "by-quickfix"] == 1)
            finally:
                trader.stop()
        assert "secret" not in node.logged()
    finally:
        node.stop()


def test_a_client_without_a_certificate_of_the_right_authority_is_not_served(tmp_path: Path) -> None:
    ours, client, stranger = (certificate(tmp_path, name) for name in ("node", "client", "stranger"))
    files = ("--tls-cert", str(ours[0]), "--tls-key", str(ours[1]), "--tls-client-ca", str(client[0]))
    node = started(tmp_path, *files, "--gateway", "fix=fix:0")
    try:
        for shown, served in ((client, True), (stranger, False), (None, False)):
            tls = client_context(ours[0])
            if shown is not None:
                tls.load_cert_chain(*shown)
            if served:
                with closing(FixClient(port_of(node, "fix"), "UA", tls=tls)) as one:
                    assert one.log_on().msg_type == b"A"
                continue
            # With TLS 1.3 the client learns of it with its first answer.
            with pytest.raises((ssl.SSLError, AssertionError, ConnectionError)):
                FixClient(port_of(node, "fix"), "UB", tls=tls).log_on()
    finally:
        node.stop()


def test_wrong_files_are_told_in_a_sentence(tmp_path: Path, lockstep: Lockstep) -> None:
    ours = certificate(tmp_path, "node")
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(TlsError, match="has no certificates of clients"):
        server_context(*ours, empty)
    with pytest.raises(TlsError, match=r"the TLS client CA .* cannot be read"):
        server_context(*ours, tmp_path / "none.pem")
    status, _, err = lockstep("serve", "--data", tmp_path / "node", "--tls-client-ca", empty)
    assert (status, "give --tls-cert and --tls-key" in err) == (2, True), err
