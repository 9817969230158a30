"""Errors of attestations."""


class AttestationError(ValueError):
    """A file or key that cannot be used; the message is one sentence."""
