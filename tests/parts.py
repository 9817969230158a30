"""The part of the slow tests that runs today.

A test of about half a second of processor time or more is marked ``slow``. Where a test has many cases,
``slow_after(n)`` marks those after its first n, so that its kind still has some that run every time.

`pytest --part slow=32` keeps one in 32 of the tests marked ``slow``, and `--rest slow=32` all the others, so that two
runs of a day have each test once. ``LOCKSTEP_SEED`` says which; its default is the day (UTC) as a number, such as
20261126. The last lines of a run say the seed. Set it to run the same part again.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

import pytest

SEED: Final = "LOCKSTEP_SEED"
#: Factor of the examples that Hypothesis tries: `make test-long` has more commands, and more examples.
SCALE: Final = max(1, int(os.environ.get("LOCKSTEP_COMMANDS", "150000")) // 150_000)


def seed_of_the_day() -> int:
    """The seed; kept in the environment, so that all worker processes of a run have the same one at midnight too."""
    return int(os.environ.setdefault(SEED, time.strftime("%Y%m%d", time.gmtime())))


def part_of(count: int, parts: int, seed: int) -> set[int]:
    """Places of the tests that a seed selects from ``count``: every test is in one of ``parts`` seeds in a row.

    >>> [sorted(part_of(5, 2, seed)) for seed in (20261126, 20261127)]
    [[0, 2, 4], [1, 3]]
    """
    return set(range(seed % parts, count, parts))


def mark_slow_cases(items: Iterable[pytest.Item]) -> None:
    """Mark cases of a test with ``slow_after(n)`` as slow, but for the first n of those that are not slow already."""
    seen: Counter[tuple[str, str]] = Counter()
    for item in items:
        marker = item.get_closest_marker("slow_after")
        if marker is None or item.get_closest_marker("slow") is not None:
            continue
        test = item.nodeid.split("::")[0], getattr(item, "originalname", item.name)
        seen[test] += 1
        if seen[test] > marker.args[0]:
            item.add_marker(pytest.mark.slow)


def parts_asked_for(words: Iterable[str]) -> dict[str, int]:
    """Marker and number of parts of each ``MARKER=N``."""
    asked = {}
    for word in words:
        marker, _, parts = word.partition("=")
        if not parts.isdecimal() or int(parts) < 1:
            raise pytest.UsageError(f"--part {word}: give a marker and a number of parts, as in slow=8")
        asked[marker] = int(parts)
    return asked


def left_out(items: list[pytest.Item], asked: dict[str, int], rest: dict[str, int], seed: int) -> set[int]:
    """Places in ``items`` of the marked tests that the seed does not select (``asked``), or does (``rest``)."""
    out: set[int] = set()
    for wanted, is_part in ((asked, True), (rest, False)):
        for marker, parts in wanted.items():
            marked = [place for place, item in enumerate(items) if item.get_closest_marker(marker) is not None]
            part = part_of(len(marked), parts, seed)
            out |= {place for number, place in enumerate(marked) if (number in part) is not is_part}
    return out
