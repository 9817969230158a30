"""Replay: state, events and reports out of a journal, at any moment of the past, and where two of them part."""
