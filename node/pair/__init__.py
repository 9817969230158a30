"""A primary and its copies: who is primary, what a copy takes and applies, takeover, and comparison of states."""
