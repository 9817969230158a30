"""What can go wrong in a replay, for the user: each message is one sentence saying what is wrong and what to do."""


class ReplayError(ValueError):
    """The directory cannot be replayed as asked."""


class Divergence(ReplayError):
    """The replay gave another event digest than the one recorded when the commands were first applied."""
