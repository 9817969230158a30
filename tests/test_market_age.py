"""A market is young while it goes on, quiet or not, and ages with its core, its release and the program that shows
it."""

from node.programs.market_age import MarketAge
from tape.places import Place

SECOND_NS = 1_000_000_000


class Words:
    """Words of a tape that are set, and a clock."""

    def __init__(self) -> None:
        self.now_ns = 100 * SECOND_NS
        self.beat = 0
        self.seqs = {Place.APPLIED: 10, Place.RELEASED: 10}
        self.taken_seq = 10
        self.age = MarketAge(self, lambda: self.taken_seq, now_ns=lambda: self.now_ns)

    def load(self, place: Place) -> int:
        return self.seqs[place]

    def beat_ns(self) -> int:
        return self.beat

    def after(self, seconds: float, *, beats: bool = True) -> float:
        """The age after a time in which the core beats, or does not."""
        self.now_ns += round(seconds * SECOND_NS)
        self.beat = self.now_ns if beats else self.beat
        return self.age.look()


def test_a_quiet_market_whose_core_beats_is_young() -> None:
    words = Words()
    assert [words.after(5.0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_a_core_that_does_not_beat_ages_its_market_and_a_beat_makes_it_young() -> None:
    words = Words()
    assert words.after(1.0, beats=False) == 1.0  # from the start, before the first beat
    words.after(0.0)
    assert words.after(2.5, beats=False) == 2.5
    assert words.after(0.5) == 0.0


def test_what_is_applied_and_not_released_ages_the_market() -> None:
    words = Words()
    words.after(1.0)
    words.seqs[Place.APPLIED] = 20
    assert words.after(3.0) == 0.0  # seen waiting for the first time
    assert words.after(2.0) == 2.0
    # Control: behind all the time, and moving.
    words.seqs[Place.RELEASED] = words.taken_seq = 15
    assert words.after(1.0) == 0.0
    words.seqs[Place.RELEASED] = words.taken_seq = 20
    assert words.after(9.0) == 0.0


def test_a_program_that_takes_nothing_of_what_is_released_ages_the_market() -> None:
    words = Words()
    words.seqs[Place.APPLIED] = words.seqs[Place.RELEASED] = 20
    words.after(1.0)
    assert words.after(2.0) == 2.0
    words.taken_seq = 12
    assert words.after(1.0) == 0.0
    assert words.after(1.5) == 1.5
