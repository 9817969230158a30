"""Measurements of what a standby costs: their parts that are not the node's own."""

import pytest

from benchmarks import pair_cost
from benchmarks.bare_chain import floor_us
from benchmarks.timed_digests_node import TIMED
from benchmarks.undigested_node import REPLACED


def test_the_node_without_comparisons_replaces_methods_that_exist() -> None:
    assert all(callable(getattr(owner, name)) for owner, name, _ in REPLACED)


def test_the_node_that_times_its_comparisons_measures_methods_that_exist_and_those_that_the_other_replaces() -> None:
    measured = {(owner, name) for methods in TIMED.values() for owner, name in methods}
    assert all(callable(getattr(owner, name)) for owner, name in measured)
    # Each method that a node without comparisons lacks is called by one that is measured.
    assert {owner for owner, _, _ in REPLACED} <= {owner for owner, _ in measured}


def test_a_bare_chain_of_processes_passes_each_message_on_and_back() -> None:
    alone_us, chain_us = floor_us(20)
    assert alone_us > 0
    assert chain_us > 0


@pytest.mark.long
def test_the_share_of_the_comparison_in_the_processor_time_is_measured_in_one_pair() -> None:
    rows = list(pair_cost._digests_timed(2_000, 1))
    assert len(rows) == len(TIMED) + 1
    assert all(0 < each["value"] < 100 for each in rows)
