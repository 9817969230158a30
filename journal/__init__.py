"""The journal: an append-only log of opaque blocks with chained checksums, made durable in groups."""

from journal.errors import (
    BlockRefused,
    JournalBusy,
    JournalDamaged,
    JournalError,
    JournalFault,
    JournalForeign,
    JournalHangs,
    SliceMissing,
)
from journal.frame import Block
from journal.log import Durability, Journal
from journal.report import CheckReport, JournalInfo, Problem
from journal.store import any_open

__all__ = [
    "Block",
    "BlockRefused",
    "CheckReport",
    "Durability",
    "Journal",
    "JournalBusy",
    "JournalDamaged",
    "JournalError",
    "JournalFault",
    "JournalForeign",
    "JournalHangs",
    "JournalInfo",
    "Problem",
    "SliceMissing",
    "any_open",
]
