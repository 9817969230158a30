"""TLS of a client: the exchange's certificate and host name are verified, always."""

import ssl
from pathlib import Path


def client_context(ca_file: str | Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 and later. ca_file: PEM certificates to trust; None: those of the system.

    Raises ValueError for a file that cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{ca_file} has no certificate to trust ({reason}); give a PEM file") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
