"""Measurements of what a standby costs: their parts that are not the node's own."""

from benchmarks.bare_chain import floor_us
from benchmarks.undigested_node import REPLACED


def test_the_node_without_comparisons_replaces_methods_that_exist() -> None:
    assert all(callable(getattr(owner, name)) for owner, name, _ in REPLACED)


def test_a_bare_chain_of_processes_passes_each_message_on_and_back() -> None:
    alone_us, chain_us = floor_us(20)
    assert alone_us > 0
    assert chain_us > 0
