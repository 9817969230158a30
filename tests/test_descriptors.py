"""Files that a node keeps open for itself are kept back from the connections of clients."""

import resource

import pytest

from node.program import DESCRIPTORS_RESERVED, connections_within


@pytest.mark.parametrize("past_days", [0, 5, 400])
def test_the_open_files_of_past_days_are_kept_back_from_connections(
    past_days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = DESCRIPTORS_RESERVED + 500
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert connections_within(1_000, past_days) == 500 - past_days
    assert connections_within(500 - past_days, past_days) == 500 - past_days
