"""Traders: order entry by hand, and simulated traders."""
