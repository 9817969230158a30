"""Errors of the journal. Each message is one sentence for a person: what, where, what to do."""


class JournalError(Exception):
    """A request to the journal failed. After a failed commit the outcome of queued blocks is unknown."""


class JournalDamaged(JournalError):
    """The journal is damaged: bytes differ from the written ones. Damaged files are read, never changed."""


class JournalBusy(JournalError):
    """Journal in use: another process writes it."""


class BlockRefused(JournalError):
    """A block of another node does not continue this journal. Nothing was written, and the journal stays usable."""


class JournalFault(JournalError):
    """The machine failed: no room, no memory, an error of the disk. Remove the cause and open the journal again."""


class JournalHangs(JournalFault):
    """The disk writes nothing and reports no error. The journal stays open, and locked, until the process ends."""


class JournalForeign(JournalError):
    """Not a journal of this program, or of another format version."""


class SliceMissing(JournalError):
    """A slice of the journal that is needed is not in the data directory, as after `lockstep archive`."""
