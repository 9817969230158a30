"""Publication of a node's market through NATS, in a process of its own."""
