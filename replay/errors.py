"""Errors of a replay: each message is one sentence that says what is wrong and what to do."""


class ReplayError(ValueError):
    """The directory cannot be replayed as asked."""


class Divergence(ReplayError):
    """The replay gave another event digest than the one recorded when the commands were first applied."""


class IndexHasNoRoom(ReplayError):
    """The event index would take the room on the disk that a node needs."""
