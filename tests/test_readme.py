"""README.md can be followed from top to bottom: each command runs as printed, and prints what the README says."""

from pathlib import Path

import pytest

from tests.readme import ROOT, Block, Walk, blocks_of, difference

README = ROOT / "README.md"


@pytest.mark.long
def test_each_command_of_the_readme_prints_what_the_readme_says(tmp_path: Path) -> None:
    blocks = blocks_of(README.read_text(encoding="utf-8"))
    assert sum(len(block.steps) for block in blocks) > 30
    with Walk(tmp_path) as walk:
        wrong = [sentence for block in blocks for sentence in walk.follow(block)]
    assert wrong == [], "\n".join(wrong)


def test_code_in_the_readme_stands_in_the_file_that_it_names() -> None:
    code = [block for block in blocks_of(README.read_text(encoding="utf-8")) if block.language == "python"]
    example = (ROOT / "examples/market_maker.py").read_text(encoding="utf-8")
    lines = {line.strip() for line in example.splitlines()}
    for block in code:
        assert [line for line in block.lines if line.strip() not in lines and line.strip() != "..."] == []
    assert code


DIFFERENT = [
    ("done, command 3", "done, command 4"),
    ("event digest 5bdd33397a60eadc712b8cd361ca255e", "state digest 5bdd33397a60eadc712b8cd361ca255e"),
    ("event digest 5bdd33397a60eadc712b8cd361ca255e", "event digest 0e4314d95dcc4605e8538ff44ba37d77"),
    ("accepted ALICE1: sell 300 XYZ", "accepted ALICE1: buy 300 XYZ"),
    ("", "something more"),
    ("something more", ""),
]


def test_output_that_differs_in_what_matters_is_told(tmp_path: Path) -> None:
    """Negative control."""
    with Walk(tmp_path) as walk:
        for promised, printed in DIFFERENT:
            assert difference([promised], [printed]) is not None
            wrong = walk.follow(Block(7, "", "", [f"$ echo '{printed}'", promised]))
            assert len(wrong) == 1, printed
            assert wrong[0].startswith("README.md:7: echo ")
            assert walk.follow(Block(7, "", "", [f"$ echo '{promised}'", promised])) == []
