"""Audit of a running primary by a third copy, with either engine."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from cli.main import run_line
from engine.interface import EngineKind
from node.auditor import Auditor, AuditRefused, AuditState
from replication.register import Register
from tests.rows import cancel, enter
from tests.test_divergence import flip
from tests.test_node_pair import SECRET, Member, start_rows, until, with_pair

DEADLINE_S = 180.0


def third(tmp_path: Path, a: Member, engine: EngineKind, secret: bytes = SECRET) -> Auditor:
    """A third copy, of the directory as it is now."""
    shutil.copytree(a.directory, tmp_path / "c")
    return Auditor(tmp_path / "c", ("127.0.0.1", a.pair.port), secret, engine=engine)


async def followed(auditor: Auditor, seq: int, pieces: int) -> AuditState:
    """Follow in a thread until the auditor agrees up to ``seq``, or finds a difference."""
    deadline_s = time.monotonic() + DEADLINE_S

    def is_over(state: AuditState) -> bool:
        return (state.agreed_seq >= seq and state.pieces >= pieces) or time.monotonic() > deadline_s

    return await asyncio.to_thread(auditor.follow, is_over)


@pytest.mark.parametrize("engine", ["kernel", "reference"])
def test_a_third_copy_agrees_with_the_primary_while_it_trades(tmp_path: Path, engine: EngineKind) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        auditor = await asyncio.to_thread(third, tmp_path, a, engine)
        following = asyncio.create_task(followed(auditor, a.node.engine.seq + 6, 50 if engine == "kernel" else 0))
        for number in range(3):
            await a.node.submit(enter(1, f"a{number}", 1, 1, 90_000))
            await a.node.roll()  # the third copy goes on in each slice
        state = await following
        auditor.close()
        assert auditor.divergence is None
        assert state.primary == "A"
        assert state.agreed_seq >= a.node.engine.seq
        assert (state.pieces > 0) == (engine == "kernel")
        await until(lambda: b.pair.standby.in_sync)

    with_pair(tmp_path, story)


@pytest.mark.parametrize(("engine", "part"), [("kernel", "ids"), ("reference", "events")])
def test_a_difference_from_the_primary_is_named(tmp_path: Path, engine: EngineKind, part: str) -> None:
    async def story(_: Register, a: Member, _b: Member) -> None:
        await a.node.submit(start_rows())
        await a.node.submit(enter(1, "a0", 1, 1, 90_000))
        auditor = await asyncio.to_thread(third, tmp_path, a, engine)
        if engine == "kernel":
            flip(a.node, part)
        else:
            a.node.engine._state.orders["leaves_qty"][1] += 4  # type: ignore[attr-defined]
            await a.node.submit(cancel(1, "a0"))
        await followed(auditor, 1 << 60, 0)
        auditor.close()
        assert auditor.divergence is not None
        assert auditor.divergence.part == part
        await until(lambda: any(name.startswith("auditor") for name in a.pair.primary.divergences))  # type: ignore[union-attr]
        assert a.node.reigns

    with_pair(tmp_path, story)


def test_the_command_compares_directories_too_and_says_what_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        await until(lambda: b.node.engine.seq == a.node.engine.seq)

    with_pair(tmp_path, story)
    one, two = str(tmp_path / "a"), str(tmp_path / "b")
    assert run_line(["audit", one, "--against", two]) == 0
    assert "equal as far as both go" in capsys.readouterr().out
    for words, said in (
        (["--against", two, "--to", "3"], "leave them out for a directory"),
        (["--against", "127.0.0.1:1"], "--secret-file"),
        (["--against", "nowhere"], "give HOST:PORT"),
    ):
        assert run_line(["audit", one, *words]) == 2
        assert said in capsys.readouterr().err


def test_an_audit_without_the_secret_is_refused(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, _b: Member) -> None:
        await a.node.submit(start_rows())
        auditor = await asyncio.to_thread(third, tmp_path, a, "kernel", b"another secret")
        with pytest.raises(AuditRefused, match="--secret-file"):
            await followed(auditor, 1 << 60, 0)
        auditor.close()

    with_pair(tmp_path, story)
