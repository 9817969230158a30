"""Ports that a node lends to its programs: of IPv4 and IPv6, free ones and those in use."""

import socket
from contextlib import closing

import pytest

from node.programs.lent_port import listening_socket


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_client_connects_to_an_address_of_either_kind(host: str) -> None:
    try:
        listens = listening_socket(host, 0, 8)
    except OSError as error:
        pytest.skip(f"this machine has no {host}: {error}")
    with closing(listens), closing(socket.create_connection(listens.getsockname()[:2], timeout=5.0)) as client:
        assert client.getpeername()[:2] == listens.getsockname()[:2]
        with pytest.raises(OSError, match="in use"):
            listening_socket(host, listens.getsockname()[1], 8)
