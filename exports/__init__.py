"""Exports: a journal as tables for other programs, which prove themselves complete."""
