"""The one exception that an engine may raise about itself: an input never causes one (rulebook section 11)."""


class InvariantError(Exception):
    """A promise of the engine's own state is broken. The fault is ours; the node must stop before it publishes."""
