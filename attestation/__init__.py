"""Attestations: what a journal holds, signed, so that it can be proved to others, a command or a day at a time."""
