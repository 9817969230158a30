"""Checkpoints: the engine's state at a sequence number, on disk, verified before use."""

from checkpoints.errors import CheckpointError, CheckpointGone
from checkpoints.image import Checkpoint, Origin, ProjectionForm, ProjectionImage
from checkpoints.projections import NO_PROJECTIONS, Projection, Projections
from checkpoints.store import CheckpointInfo, CheckpointStore, load_array, load_checkpoint, write_checkpoint

__all__ = [
    "NO_PROJECTIONS",
    "Checkpoint",
    "CheckpointError",
    "CheckpointGone",
    "CheckpointInfo",
    "CheckpointStore",
    "Origin",
    "Projection",
    "ProjectionForm",
    "ProjectionImage",
    "Projections",
    "load_array",
    "load_checkpoint",
    "write_checkpoint",
]
