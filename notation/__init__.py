"""The rulebook's notation: commands, events and reports as lines of text, read and printed."""
