"""A node whose arbiter is an etcd over HTTPS, with certificates that the operator names (`--arbiter-ca`)."""

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from cli.errors import WrongUse
from cli.servers.pair import PairArguments, plan_of
from journal import Journal
from replication.secret_file import create_secret
from tests.arbiters import HAS_ETCD, NO_ETCD, EtcdCourt
from tests.pair_processes import WITHIN_S
from tests.running import Running, until
from tests.test_tls import certificate


def arguments(arbiter: str | None, secret: Path | None, ca_file: Path) -> PairArguments:
    return PairArguments(arbiter, "A" if arbiter else None, None, None, secret, "continue", False, None, 500, ca_file)


def test_certificates_that_cannot_be_used_are_refused_before_the_start(tmp_path: Path) -> None:
    secret, text = tmp_path / "secret", tmp_path / "text"
    create_secret(secret)
    text.write_text("no certificate")
    for arbiter, path, words in (
        ("etcds://127.0.0.1:1", text, "no certificate that can be read"),
        ("etcds://127.0.0.1:1", tmp_path / "none", "does not exist"),
        ("etcd://127.0.0.1:1", text, "certificates are for etcds"),
        ("witness://127.0.0.1:1", text, "certificates are for etcds"),
    ):
        with pytest.raises(WrongUse, match=words):
            plan_of(arguments(arbiter, secret, path), "both", "127.0.0.1")
    with pytest.raises(WrongUse, match="--arbiter-ca is of a pair"):
        plan_of(arguments(None, None, text), "fsync", "127.0.0.1")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_ETCD, reason=NO_ETCD)
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate of this test")
def test_a_node_reigns_by_an_etcd_over_https_and_the_watch_beside_it_ends_its_lease_there(tmp_path: Path) -> None:
    tls = certificate(tmp_path, "etcd")
    court = EtcdCourt(tmp_path, tls=tls)
    secret = tmp_path / "secret"
    create_secret(secret)
    try:
        court.start_all()
        # A lease that no test waits for: only the watch ends it.
        words = ["--arbiter", f"etcds://127.0.0.1:{court.endpoints[0].port}", "--arbiter-ca", str(tls[0])]
        words += ["--secret-file", str(secret), "--node", "A", "--lease-ms", "60000"]
        node = Running(tmp_path / "a", *words)
        node.start()

        def state() -> object:
            with node.link() as link:
                return link.ask("pair")["pair"]["state"]

        until(lambda: state() == "reigning", WITHIN_S)
        assert node.process is not None
        os.kill(node.process.pid, signal.SIGKILL)
        node.end(signal.SIGKILL)
        with Journal.open(node.data, readonly=True) as journal:
            market = journal.journal_id.hex()

        async def is_free() -> bool:
            standing = await court.driver(market).read()
            return standing.reign is not None and not standing.held

        until(lambda: asyncio.run(is_free()), 40.0, "the lease was not ended before it ran out")
    finally:
        court.stop()
