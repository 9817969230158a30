"""Changes of each RULES_VERSION for a market that goes on under it, one sentence each, for an operator who upgrades."""

from typing import Final

#: By the version that has the change. What users may send is in CHANGELOG.md; here is what the same orders would meet.
CHANGES: Final = {
    2: "a part of an order can be canceled, and a participant or the whole market be stopped at once",
    3: "limits and credit are checked before an order enters the book, and halts end by the clock",
    4: "an order good for the day is canceled when another trading day begins, and a participant's open orders and "
    "order ids can have limits",
    5: "the reign of a new primary begins with an epoch command, which nobody but the node itself gives",
    6: "stop and stop-limit orders are accepted; they wait until the last trade price reaches their stop",
}


def changes_between(before: int, after: int) -> tuple[str, ...]:
    """A sentence for each version after ``before``, up to ``after``."""
    return tuple(f"rules version {version}: {CHANGES[version]}" for version in range(before + 1, after + 1))
