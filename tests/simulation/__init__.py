"""Simulator of a pair of nodes: the cores of replication under a virtual clock, network and disk, driven by one seed.

`python -m tests.simulation 1234` tells the story of a seed; `python -m tests.simulation --seeds 10000` runs many.
"""
