"""Errors of the journal. Each message is one sentence for a person: what, where, what to do."""


class JournalError(Exception):
    """The journal cannot do what was asked. After a failed commit the outcome of what was queued is unknown."""


class JournalDamaged(JournalError):
    """Bytes that were written are not the bytes that are there. Damaged files are read, never changed."""


class JournalBusy(JournalError):
    """Journal in use: another process writes it."""


class BlockRefused(JournalError):
    """A block of another node does not continue this journal. Nothing was written, and the journal can be used on."""


class JournalFault(JournalError):
    """The machine failed: no room, no memory, an error of the disk. Remove the cause and open the journal again."""


class JournalForeign(JournalError):
    """Not a journal of this program, or of another format version."""


class SliceMissing(JournalError):
    """A slice of the journal that is needed is not in the data directory, as after `lockstep archive`."""
