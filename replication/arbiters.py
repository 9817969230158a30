"""Address of an arbiter in one line, as an operator gives it, and the driver behind it.

witness://HOST:PORT                  a witness; needs the file of its secret
etcd://HOST:PORT,HOST:PORT           members of an etcd cluster, over HTTP
etcds://HOST:PORT,HOST:PORT          the same over HTTPS
"""

import ssl
from pathlib import Path
from typing import Final, NamedTuple

from replication.arbiter import TTL_NS_DEFAULT, TTL_NS_MAX, TTL_NS_MIN, Arbiter
from replication.etcd import TTL_S_MIN, EtcdArbiter
from replication.etcd_gateway import Endpoint
from replication.secret_file import read_secret
from replication.witness_arbiter import WitnessArbiter

_FORMS: Final = "witness://HOST:PORT, etcd://HOST:PORT[,HOST:PORT...] or etcds://..."
_PORT_MAX: Final = 65_535


class AddressError(ValueError):
    """The address of an arbiter, or an option of it, is not valid; the message says what is."""


class ArbiterAddress(NamedTuple):
    """Address of an arbiter: ``kind`` is witness, etcd or etcds."""

    kind: str
    endpoints: tuple[Endpoint, ...]


def parse_address(text: str) -> ArbiterAddress:
    """Read the address of an arbiter. Raises AddressError.

    >>> parse_address("etcd://10.0.0.1:2379,[::1]:2379").endpoints
    (Endpoint(host='10.0.0.1', port=2379), Endpoint(host='::1', port=2379))
    """
    kind, found, rest = text.partition("://")
    if not found or kind not in ("witness", "etcd", "etcds"):
        raise AddressError(f"the arbiter is {text!r}; give {_FORMS}")
    endpoints = tuple(_endpoint(each, text) for each in rest.rstrip("/").split(","))
    if kind == "witness" and len(endpoints) != 1:
        raise AddressError(f"the arbiter is {text!r}, which names {len(endpoints)} witnesses; give one")
    return ArbiterAddress(kind, endpoints)


def _endpoint(text: str, whole: str) -> Endpoint:
    host, found, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not found or not bare or not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= _PORT_MAX:
        raise AddressError(f"the arbiter is {whole!r}, in which {text!r} is no HOST:PORT; give {_FORMS}")
    return Endpoint(bare, int(port))


def open_arbiter(
    address: ArbiterAddress,
    journal_id: bytes,
    *,
    ttl_ns: int | None = None,
    secret_file: Path | None = None,
    ca_file: Path | None = None,
) -> Arbiter:
    """Driver of the register of a market; it connects at the first request.

    ttl_ns: lease time; None: 600 ms at a witness, 2 s in etcd, which counts whole seconds. secret_file: of a witness.
    ca_file: certificates to trust, for etcds; None: those of the system. Raises AddressError, SecretError, or OSError.
    """
    market = journal_id.hex()
    if ca_file is not None and address.kind != "etcds":
        raise AddressError(f"{ca_file} is of no use with {address.kind}://: certificates are for etcds://")
    if address.kind == "witness":
        wanted_ns = TTL_NS_DEFAULT if ttl_ns is None else ttl_ns
        if not TTL_NS_MIN <= wanted_ns <= TTL_NS_MAX:
            raise AddressError(
                f"the lease has {wanted_ns // 10**6} ms; give {TTL_NS_MIN // 10**6} to {TTL_NS_MAX // 10**6} ms"
            )
        if secret_file is None:
            raise AddressError("a witness needs its secret; name a copy of the file `secret` in its directory")
        (endpoint,) = address.endpoints
        return WitnessArbiter(*endpoint, market, read_secret(secret_file), ttl_ns=wanted_ns)
    wanted_s, rest = divmod(TTL_S_MIN * 10**9 if ttl_ns is None else ttl_ns, 10**9)
    if rest or not TTL_S_MIN <= wanted_s <= TTL_NS_MAX // 10**9:
        raise AddressError(f"a lease in etcd has whole seconds; give {TTL_S_MIN} to {TTL_NS_MAX // 10**9}")
    tls = None
    if address.kind == "etcds":
        try:
            tls = ssl.create_default_context(cafile=ca_file)
        except ssl.SSLError as error:
            raise AddressError(f"{ca_file} has no certificate that can be read: {error.reason}") from None
        except FileNotFoundError:
            raise AddressError(f"{ca_file} does not exist; name a file of certificates in PEM") from None
    return EtcdArbiter(address.endpoints, market, ttl_s=wanted_s, tls=tls)
