"""Checkpoints: the engine's state at a sequence number, on disk, verified before use (design section 7)."""

from checkpoints.errors import CheckpointError, CheckpointGone
from checkpoints.image import Checkpoint
from checkpoints.store import CheckpointInfo, CheckpointStore

__all__ = ["Checkpoint", "CheckpointError", "CheckpointGone", "CheckpointInfo", "CheckpointStore"]
