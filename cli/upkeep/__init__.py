"""Upkeep of a data directory and of this machine."""
