"""The short spin for answers: it ends when they come, lasts a moment at most, and is seldom where none come in time."""

import time
from pathlib import Path

import pytest

from node.gateways.answer_spin import SPIN_NS, AnswerSpin
from tape.places import Place
from tape.reader import TapeReader
from tape.writer import TapeWriter
from tests.test_tape import ID, ROWS


@pytest.fixture
def tape(tmp_path: Path):  # type: ignore[no-untyped-def]
    with TapeWriter(tmp_path / "tape", ID, ROWS) as writer, TapeReader(tmp_path / "tape", ID, ROWS) as reader:
        yield writer, reader


def test_what_is_released_is_found_at_once(tape: tuple[TapeWriter, TapeReader]) -> None:
    writer, reader = tape
    writer.store(Place.RELEASED, 5)
    spin = AnswerSpin()
    assert spin.is_due
    assert spin.finds(reader, 4)
    assert spin.is_due


def test_nothing_is_waited_for_longer_than_a_moment(tape: tuple[TapeWriter, TapeReader]) -> None:
    writer, reader = tape
    writer.store(Place.APPLIED, 5)
    took_ns = []
    for _ in range(20):
        began_ns = time.thread_time_ns()
        assert not AnswerSpin().finds(reader, 4)
        took_ns.append(time.thread_time_ns() - began_ns)
    assert min(took_ns) < 5 * SPIN_NS


def test_spins_are_rare_where_nothing_comes_in_time_and_usual_again_where_it_does(
    tape: tuple[TapeWriter, TapeReader],
) -> None:
    writer, reader = tape
    spin, spins = AnswerSpin(), 0
    for _ in range(2_000):
        if spin.is_due:
            spins += 1
            assert not spin.finds(reader, 4)
    assert 8 <= spins <= 20
    writer.store(Place.RELEASED, 5)
    messages = next(number for number in range(1, 1_000) if spin.is_due)
    assert messages <= 257
    assert spin.finds(reader, 4)
    assert all(spin.is_due and spin.finds(reader, 4) for _ in range(50))
