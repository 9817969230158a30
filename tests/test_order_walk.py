"""The worked example of the architecture is what the parts of a node print for one order."""

import re
from pathlib import Path

from examples.order_walk import section, split

ROOT = Path(__file__).parent.parent


def masked(text: str) -> list[str]:
    """Lines without checksums, which hold the random salts of passwords and the release."""
    return re.sub(r"\b[0-9a-f]{32}\b", "<checksum>", text).splitlines()


def test_the_way_of_one_order_in_the_architecture_is_what_a_run_prints() -> None:
    _, written, _ = split((ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    printed = section()
    assert len(re.findall(r"\b[0-9a-f]{32}\b", printed)) == 2
    assert masked(written) == masked(printed), "run: python examples/order_walk.py docs/ARCHITECTURE.md"
