"""The orderly end of a primary that may not answer: it ends all the same, and says what its last commands wait for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from node import node as node_module
from node.core.control import OperationRefused
from replication.register import Register
from tests.rows import participant
from tests.test_node_pair import Member, start_rows, until, with_pair


def listen(member: Member) -> list[str]:
    """Sentences that a node logs as warnings, with their reasons."""
    said: list[str] = []

    def warning(event: str, **values: Any) -> None:
        said.append(f"{event}: {values.get('why', '')}")

    member.node.log.warning = warning  # type: ignore[method-assign]
    return said


def lose_arbiter(member: Member) -> None:
    """Have the lease of a primary end, as without an arbiter."""
    tenure = member.pair.tenure
    assert tenure is not None
    tenure.holds = lambda _: False  # type: ignore[method-assign]
    tenure.failure = "the witness does not answer"


def test_a_primary_ends_in_order_while_the_arbiter_is_lost_and_names_it(tmp_path: Path) -> None:
    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        b.kill()
        said = listen(a)
        lose_arbiter(a)
        await a.node.shutdown()
        await a.node.run()
        assert any("the witness does not answer" in sentence for sentence in said)
        assert not any("disk" in sentence for sentence in said)

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_primary_ends_in_order_if_it_loses_the_arbiter_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "END_S", 0.2)

    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        b.kill()
        await a.node.submit(participant("BETA"))
        said = listen(a)
        halt = a.node.suspension.halt

        async def lose_it_then_halt() -> None:
            lose_arbiter(a)
            await halt()

        a.node.suspension.halt = lose_it_then_halt  # type: ignore[method-assign]
        await a.node.shutdown()
        await a.node.run()
        assert any("the witness does not answer" in sentence for sentence in said)

    with_pair(tmp_path, story)


@pytest.mark.slow
def test_a_primary_that_may_not_answer_alone_ends_in_order_and_names_the_lost_standby(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "END_S", 0.2)

    async def story(_: Register, a: Member, b: Member) -> None:
        await a.node.submit(start_rows())
        primary = a.pair.primary
        assert primary is not None
        primary.settings = primary.settings._replace(alone="stop")
        b.kill()
        await until(lambda: not any(copy.state == "live" for copy in primary.copies))
        with pytest.raises(OperationRefused, match="B has not acknowledged the last commands"):
            await a.node.drain()
        said = listen(a)
        await a.node.shutdown()
        await a.node.run()
        assert any("B has not acknowledged the last commands" in sentence for sentence in said)

    with_pair(tmp_path, story)


def test_a_primary_whose_own_disk_hangs_at_the_end_fails_as_a_single_node_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "END_S", 0.2)

    async def story(_: Register, a: Member, b: Member) -> None:
        b.kill()
        await a.node.submit(start_rows())
        a.node._settled = refuse  # type: ignore[method-assign]
        await a.node.shutdown()
        with pytest.raises(OperationRefused, match="check the disk"):
            async with asyncio.timeout(60):
                await a.node.run()

    async def refuse() -> None:
        raise OperationRefused("the commands did not become durable in time; check the disk")

    with_pair(tmp_path, story)
