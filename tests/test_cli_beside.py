"""Programs beside a node: their data directory and their ports, checked before anything is begun."""

import socket
from pathlib import Path

import pytest

from cli.errors import WrongUse
from cli.servers.beside import check_has_journal, opened_port
from node.program import PortInUse


def _listen(host: str, port: int) -> socket.socket:
    return opened_port(f"--port {port}", host, lambda: socket.create_server((host, port)))


def test_a_port_in_use_is_to_be_tried_again_later() -> None:
    with _listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"--port {port} on 127.0.0.1 is in use"):
            _listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("192.0.2.1", 0, "192.0.2.1 is no address of this machine; give one that"),
        ("nowhere.invalid", 0, "nowhere.invalid is no address of this machine"),
        ("127.0.0.1", 70_000, "cannot be opened"),
    ],
)
def test_an_address_that_cannot_be_is_wrong_use(host: str, port: int, said: str) -> None:
    with pytest.raises(WrongUse, match=said):
        _listen(host, port)


@pytest.mark.parametrize("name", ["absent", "a file", "empty"])
def test_a_directory_without_a_journal_is_wrong_use(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a file":
        path.write_text("no journal\n")
    elif name == "empty":
        path.mkdir()
    with pytest.raises(WrongUse, match="has no journal"):
        check_has_journal(path)
