"""`lockstep warmup` on a new machine: nothing is left to compile for whoever uses a command for the first time."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.jit import INTERPRETED
from tests.running import ROOT, Client, started, until

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(INTERPRETED, reason="nothing is compiled in this mode"),
]

DAY = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA a1 sell 300 XYZ @ 10.05
enter BETA b1 buy 350 XYZ @ 10.05
cancel BETA b1
enter BETA b2 buy 1 XYZ @ 9.00
"""
COMMANDS = (
    ("run", "DAY", "--data", "NODE"),
    ("events", "NODE"),
    ("events", "NODE", "--reports"),
    ("commands", "NODE", "--with-events", "--symbol", "XYZ"),
    ("tail", "NODE", "--from", "1", "--to", "8"),
    ("tail", "NODE", "--from", "1", "--to", "8", "--reports"),
    ("book", "NODE", "XYZ", "--orders"),
    ("state", "NODE", "--at", "5"),
    ("positions", "NODE"),
    ("order", "NODE", "--number", "1", "--queue"),
    ("why", "NODE", "6"),
    ("verify", "NODE"),
    ("whatif", "NODE", "--drop", "7", "--data", "OTHER"),
    ("compare", "NODE", "OTHER", "--outcome"),
    ("export", "NODE", "--format", "csv", "--out", "TABLES"),
    ("checkpoint", "create", "NODE"),
    ("checkpoint", "verify", "NODE"),
    ("roll", "NODE"),
)


def compiled() -> set[str]:
    """Kernels with machine code in the cache."""
    return {path.name for path in Path(os.environ["LOCKSTEP_CACHE_DIR"]).rglob("*.nbc")}


def run(*words: str) -> int:
    done = subprocess.run([sys.executable, "-m", "cli.main", *words], cwd=ROOT, capture_output=True, check=False)
    return done.returncode


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A new cache that is warm; it takes some minutes of processor time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        assert run("warmup") == 0
        yield


def test_no_first_use_of_a_command_compiles(tmp_path: Path) -> None:
    (tmp_path / "day.txt").write_text(DAY)
    places = {"DAY": "day.txt", "NODE": "node", "OTHER": "other", "TABLES": "tables"}
    before = compiled()
    assert before
    for words in COMMANDS:
        assert run(*(str(tmp_path / places[each]) if each in places else each for each in words)) < 2, words
        assert compiled() == before, words


def test_no_first_client_of_a_node_makes_it_compile(tmp_path: Path) -> None:
    """In processes of their own: the nursery of other tests has kernels of another cache."""
    before = compiled()
    node = started(tmp_path, "--tape-mb", "1", around=["env"])
    try:
        client = Client(node.port, "UB")
        env = os.environ | {"LOCKSTEP_PASSWORD": "secret", "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "examples/local_maker.py", str(node.data), "UA", "XYZ", "10.00"]
        with subprocess.Popen(words, cwd=ROOT, env=env) as maker:
            until(lambda: node.status()["orders_open"] == 2)
            maker.send_signal(signal.SIGINT)
        assert maker.returncode == 0
        client.socket.close()
        node.end(signal.SIGTERM)
    finally:
        node.stop()
    assert compiled() == before
