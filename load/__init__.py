"""Load: simulated traders who send orders to a node over its own protocols, and what they measure."""
