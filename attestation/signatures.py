"""Ed25519 keys and signatures, by the package ``cryptography``."""

import os
import stat
from pathlib import Path
from typing import Any, Final

from attestation.errors import AttestationError


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise AttestationError(
            "attestations need the package cryptography, which is not installed: pip install 'lockstep[attest]'"
        ) from error
    return serialization, ed25519


def check_library() -> None:
    """Raise AttestationError where the package is not installed."""
    _library()


_MAKES: Final = "`lockstep attest key FILE` makes FILE, which is private, and FILE.pub"


def new_key(path: Path) -> Path:
    """Write a new private key, PEM, and beside it the public one, which is given. Raises OSError, AttestationError."""
    serialization, ed25519 = _library()
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = path.with_name(f"{path.name}.pub")
    of_public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        try:
            file.write(private)
            file.flush()
            public.write_bytes(of_public)
        except OSError as error:  # half a key is none, and its name would not be free for the next attempt
            for each in (path, public):
                each.unlink(missing_ok=True)
            error.filename = error.filename or str(path)
            raise
    return public


def private_key(path: Path) -> tuple[Any, bytes]:
    """The private key in a PEM file, and the 32 bytes of its public one. Raises OSError, AttestationError."""
    serialization, ed25519 = _library()
    try:
        key = serialization.load_pem_private_key(content := path.read_bytes(), password=None)
    except (TypeError, ValueError) as error:
        also = ": it is the public one of a pair" if b"PUBLIC KEY-" in content else ""
        raise AttestationError(f"{path} is no private key without a password, in PEM{also}; {_MAKES}") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise AttestationError(f"{path} is no Ed25519 key; {_MAKES}")
    return key, _raw(key.public_key())


def check_own(path: Path) -> None:
    """Raise AttestationError for a file of a private key that others may read or change; OSError."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise AttestationError(f"{path} is no file; name the file of a private key")
    if about.st_uid not in (0, os.geteuid()):
        raise AttestationError(
            f"{path} belongs to user {about.st_uid}, who could change it; make it a file of your own"
        )
    if about.st_mode & 0o077:
        raise AttestationError(f"others may read {path}; run `chmod 600 {path}`, and make a new key if they did")


def public_key(path: Path) -> bytes:
    """The 32 bytes of the public key in a PEM file. Raises OSError, AttestationError."""
    serialization, ed25519 = _library()
    try:
        key = serialization.load_pem_public_key(content := path.read_bytes())
    except ValueError as error:
        also = ": it is the private one of a pair, keep it secret" if b"PRIVATE KEY-" in content else ""
        raise AttestationError(f"{path} is no public key in PEM{also}; {_MAKES}") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise AttestationError(f"{path} is no Ed25519 key; {_MAKES}")
    return _raw(key)


def _raw(key: Any) -> bytes:
    return bytes(key.public_bytes_raw())


def sign(key: Any, content: bytes) -> bytes:
    """Signature, 64 bytes."""
    return bytes(key.sign(content))


def signs(public: bytes, signature: bytes, content: bytes) -> bool:
    """True if a signature is of the key and the content. Raises AttestationError without the package."""
    _, ed25519 = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True
