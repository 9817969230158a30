"""Errors of checkpoints: one sentence for a person, with the file and what to do."""


class CheckpointError(ValueError):
    """A checkpoint cannot be written, or what is there cannot be used."""


class CheckpointGone(CheckpointError):
    """A checkpoint that was there has been removed: no damage, a node prunes its own."""
