"""Servers from start to end: nodes, gateways, feeds, witnesses, and past days sent again."""
