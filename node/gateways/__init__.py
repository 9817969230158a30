"""Gateways of a node: clients of one protocol in a process of its own, and its link to the core."""
