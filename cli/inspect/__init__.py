"""The screen for investigators: `lockstep inspect`."""
