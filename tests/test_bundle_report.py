"""`lockstep doctor` and `lockstep compare` on bundles, and `doctor` and `status` on a directory that has diverged."""

import json
from pathlib import Path

import pytest

from cli.main import run_line
from directory.bundle import bundles, read_bundle
from replication.register import Register
from tests.rows import enter
from tests.test_divergence import flip
from tests.test_node_pair import Member, start_rows, until, with_pair


def lockstep(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Exit status and output of a command."""
    status = run_line([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["A", "B"])
def test_two_bundles_say_whose_state_was_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        for each in (a, b):
            await each.node.checkpoint()
        await a.node.submit(enter(1, "a0", 1, 1, 90_000))
        await until(lambda: b.node.engine.seq == a.node.engine.seq)
        flip((a if wrong == "A" else b).node, "orders")
        await until(lambda: bool(bundles(a.directory)) and bool(bundles(b.directory)))
        assert a.node.reigns
        assert b.pair.standby.state == "diverged"

    with_pair(tmp_path, story)
    (of_a,), (of_b,) = bundles(tmp_path / "a"), bundles(tmp_path / "b")
    # The blocks are replayed from the checkpoints.
    assert all("base.checkpoint" in read_bundle(path).manifest["members"] for path in (of_a, of_b))
    capsys.readouterr()
    status, said = lockstep(capsys, "compare", of_a, of_b)
    assert status == 1
    assert f"the state of {wrong} was wrong" in said
    assert "part orders" in said
    status, said = lockstep(capsys, "compare", of_a, of_a)
    assert (status, "are both of node A; give one bundle of each node" in said) == (2, True)
    for words in ((of_a, tmp_path / "b"), (tmp_path / "b", of_a)):
        status, said = lockstep(capsys, "compare", *words)
        assert (status, "give two directories, or two bundles" in said) == (2, True)
    for node, path in (("A", of_a), ("B", of_b)):
        status, said = lockstep(capsys, "doctor", path)
        assert status == int(node == wrong)
        assert ("its memory was changed" in said) == (node == wrong)
    status, said = lockstep(capsys, "doctor", of_b, "--json")
    assert json.loads(said)["ok"] == (wrong != "B")
    status, said = lockstep(capsys, "doctor", tmp_path / "b")
    assert status == 1
    assert "in the part orders" in said
    assert "empty --data directory" in said
    status, said = lockstep(capsys, "status", tmp_path / "b")
    assert status == 1
    assert "in the part orders" in said


def test_what_is_no_bundle_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.bundle"
    path.write_bytes(b"x" * 100)
    assert lockstep(capsys, "doctor", path)[0] == 2
    status, said = lockstep(capsys, "compare", path, path)
    assert status == 2
    assert "no bundle of a divergence" in said
