"""Market data feeds of a node: ITCH by multicast and market data by FIX, each in a process of its own."""
