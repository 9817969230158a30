"""The journal: an append-only log of opaque blocks with chained checksums, made durable in groups (design section 6)."""

from journal.errors import JournalBusy, JournalDamaged, JournalError, JournalForeign
from journal.frame import Block
from journal.report import CheckReport, JournalInfo, Problem
from journal.store import Journal

__all__ = [
    "Block",
    "CheckReport",
    "Journal",
    "JournalBusy",
    "JournalDamaged",
    "JournalError",
    "JournalForeign",
    "JournalInfo",
    "Problem",
]
