"""The core of a node: its market, clock, checkpoints and room, and what it does of its own accord."""
