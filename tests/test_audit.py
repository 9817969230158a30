"""Audit of a running primary by a third copy, with either engine."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from cli.main import run_line
from directory.bundle import bundles, judge, read_bundle
from engine.interface import EngineKind
from engine.reference.rows_by_part import PARTS
from node.pair.auditor import AuditForbidden, Auditor, AuditState
from replication.register import Register
from tests.rows import cancel, enter
from tests.test_divergence import PLACES, flip
from tests.test_node_pair import SECRET, Member, start_rows, until, with_pair
from tests.test_rows_by_part import bend

DEADLINE_S = 180.0
ENGINES: tuple[EngineKind, ...] = ("kernel", "reference")


def third(tmp_path: Path, a: Member, engine: EngineKind, secret: bytes = SECRET) -> Auditor:
    """A third copy, of the directory as it is now."""
    folder = tmp_path / engine
    shutil.copytree(a.directory, folder / "node")
    return Auditor(folder / "node", ("127.0.0.1", a.pair.port), secret, bundles=folder, engine=engine)


async def followed(auditor: Auditor, seq: int, pieces: int) -> AuditState:
    """Follow in a thread until the auditor agrees up to ``seq``, or finds a difference."""
    deadline_s = time.monotonic() + DEADLINE_S

    def is_over(state: AuditState) -> bool:
        return (state.agreed_seq >= seq and state.pieces >= pieces) or time.monotonic() > deadline_s

    return await asyncio.to_thread(auditor.follow, is_over)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["kernel", "reference"])
def test_a_third_copy_agrees_with_the_primary_while_it_trades(tmp_path: Path, engine: EngineKind) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        auditor = await asyncio.to_thread(third, tmp_path, a, engine)
        following = asyncio.create_task(followed(auditor, a.node.engine.seq + 6, 50))
        for number in range(3):
            await a.node.submit(enter(1, f"a{number}", 1, 1, 90_000))
            await a.node.roll()  # the third copy goes on in each slice
        state = await following
        auditor.compare_rows()
        auditor.close()
        assert auditor.divergence is None
        assert state.primary == "A"
        assert state.agreed_seq >= a.node.engine.seq
        assert state.pieces > 0
        assert auditor.state.rows_seq == (auditor.state.seq if engine == "reference" else 0)
        await until(lambda: b.pair.standby.in_sync)

    with_pair(tmp_path, story)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    "part", ["orders", "events", *(pytest.param(p, marks=pytest.mark.slow) for p in sorted({*PLACES} - {"orders"}))]
)
def test_a_changed_bit_of_the_primary_is_named_by_either_engine_and_written_into_a_bundle(
    tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[Path] = []

    async def story(_: Register, a: Member, _b: Member) -> None:
        await a.node.submit(start_rows())
        await a.node.submit(enter(1, "a0", 1, 1, 90_000))
        auditors = [await asyncio.to_thread(third, tmp_path, a, engine) for engine in ENGINES]
        try:
            await asyncio.gather(*(followed(each, a.node.engine.seq, 20) for each in auditors))
            await a.node.submit(enter(1, "a1", 1, 1, 90_000))
            seq = a.node.engine.seq
            await asyncio.gather(*(followed(each, seq, 20) for each in auditors))
            if part == "events":
                a.node.engine._chain._tail[0] ^= 1  # type: ignore[attr-defined]
            else:
                flip(a.node, part)
            await asyncio.gather(*(followed(each, 1 << 60, 0) for each in auditors))
            for each in auditors:
                assert each.divergence is not None
                assert (each.divergence.part, each.divergence.first_seq, each.divergence.last_seq) == (part, seq, seq)
                written.append(each.write_bundle())
        finally:
            for each in auditors:
                each.close()
        named = {each.standby.identity.name for each in auditors}
        await until(lambda: named <= set(a.pair.primary.divergences))  # type: ignore[union-attr]
        assert a.node.reigns

    with_pair(tmp_path, story)
    for path in written:
        assert path.parent.name in ENGINES
        assert [path] == bundles(path.parent)
        assert read_bundle(path).part == part
        (work := path.parent / "work").mkdir()
        assert judge(read_bundle(path), work)[1:] == ((), "", "")
        capsys.readouterr()
        assert run_line(["doctor", str(path)]) == 0
        assert f"in the part {part}" in capsys.readouterr().out
        assert run_line(["compare", str(bundles(tmp_path / "a")[0]), str(path)]) == 1
        said = capsys.readouterr().out
        assert "the state of A was wrong" in said


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_a_state_that_the_reference_engine_does_not_give_is_named_by_part(
    tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a fault of one of the engines: primary and compiled copy are equal, and no event shows it."""

    async def story(_: Register, a: Member, _b: Member) -> None:
        await a.node.submit(start_rows())
        await a.node.submit(enter(1, "a0", 1, 1, 90_000))
        auditor = await asyncio.to_thread(third, tmp_path, a, "reference")
        try:
            await followed(auditor, a.node.engine.seq, 20)
            bend(auditor._copy.engine, part)  # type: ignore[arg-type]
            auditor._copy.rows_seq = 0
            await followed(auditor, 1 << 60, 0)
            assert auditor.divergence is not None
            assert (auditor.divergence.part, auditor.divergence.last_seq) == (part, a.node.engine.seq)
            auditor.write_bundle()
        finally:
            auditor.close()

    with_pair(tmp_path, story)
    (path,) = bundles(tmp_path / "reference")
    capsys.readouterr()
    assert run_line(["doctor", str(path)]) == 0  # the bend is not in the rules: a replay of both engines agrees
    assert f"in the part {part}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_fault_in_the_events_names_its_block_by_the_reference_engine(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, _b: Member) -> None:
        await a.node.submit(start_rows())
        await a.node.submit(enter(1, "a0", 1, 1, 90_000))
        auditor = await asyncio.to_thread(third, tmp_path, a, "reference")
        a.node.engine._state.orders["leaves_qty"][1] += 4  # type: ignore[attr-defined]
        await a.node.submit(cancel(1, "a0"))
        await followed(auditor, 1 << 60, 0)
        auditor.close()
        assert auditor.divergence is not None
        assert auditor.divergence.part == "events"
        await until(lambda: any(name.startswith("auditor") for name in a.pair.primary.divergences))  # type: ignore[union-attr]

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


@pytest.mark.slow
def test_an_audit_without_the_secret_is_refused(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, _b: Member) -> None:
        await a.node.submit(start_rows())
        auditor = await asyncio.to_thread(third, tmp_path, a, "kernel", b"another secret")
        with pytest.raises(AuditForbidden, match="--secret-file"):
            await followed(auditor, 1 << 60, 0)
        auditor.close()

    with_pair(tmp_path, story)
