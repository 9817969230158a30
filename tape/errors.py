"""Errors of the tape."""


class TapeError(ValueError):
    """A file of shared memory cannot be used; the message says why and what to do."""


class TapeBusy(TapeError):
    """Another process has the file, or the place in it; the message names the process."""


class TapeRoom(TapeError):
    """The machine has no room for the file; the message says how much is needed and where."""
