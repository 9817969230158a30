"""Identity of the state that a journal and an engine have: nodes and auditors compare it before they work together."""

from dataclasses import asdict

from engine.capacity import Capacity
from engine.digest import checksum
from engine.kernel_cache import SOURCE_DIGEST
from engine.records import RULES_VERSION
from journal import Journal
from replay.rebuild import state_form
from replication.link import Identity


def identity_of(journal: Journal, capacity: Capacity, name: str) -> Identity:
    """Identity of the state of a journal, under the name of a node."""
    version, layout = state_form()
    form = checksum(f"{version};{layout.hex()};{sorted(asdict(capacity).items())}".encode())
    return Identity(name, journal.journal_id, RULES_VERSION, form, SOURCE_DIGEST, journal.place.number)
