"""Errors of checkpoints: one sentence for a person, with the file and what to do."""


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or an existing one cannot be used."""


class CheckpointGone(CheckpointError):
    """A checkpoint has been removed meanwhile: no damage, a node prunes its own."""
