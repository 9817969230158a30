"""Checkpoints: the engine's state at a sequence number, on disk, verified before use."""

from checkpoints.errors import CheckpointError, CheckpointGone
from checkpoints.image import Checkpoint, Origin
from checkpoints.store import CheckpointInfo, CheckpointStore

__all__ = ["Checkpoint", "CheckpointError", "CheckpointGone", "CheckpointInfo", "CheckpointStore", "Origin"]
