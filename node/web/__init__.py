"""Market data, order entry and the page for web clients of a node, in a process of its own."""
