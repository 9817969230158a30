"""A core is silent where a gateway runs beside it for some seconds without its pulse; who was stopped itself has not
listened."""

from gateway.attention import Attention
from node.programs.core_silence import PATIENCE_NS, CoreSilence

BEAT_NS = 250_000_000


class Beside:
    """A gateway that looks at each beat of its own, and the pulse of its core."""

    def __init__(self, pulse_ns: int = 1) -> None:
        self.now_ns, self.pulse_ns = 10**12, pulse_ns
        self.attention = Attention(self.now_ns, BEAT_NS)
        self.silence = CoreSilence(lambda: self.pulse_ns, self.attention.present_ns)

    def runs(self, time_ns: int, *, pulses: bool) -> list[bool]:
        """Let a time pass; what was told of the silence as it began or ended."""
        told = []
        for _ in range(time_ns // BEAT_NS):
            told += self.looks(BEAT_NS, pulses=pulses)
        return told

    def looks(self, passed_ns: int, *, pulses: bool) -> list[bool]:
        self.now_ns += passed_ns
        if pulses:
            self.pulse_ns = self.now_ns
        self.attention.beat(self.now_ns)
        return [self.silence.lasts] if self.silence.look(self.attention.present_ns) else []


def test_a_core_without_a_pulse_is_silent_after_a_patience_and_told_once_as_it_begins_and_ends() -> None:
    beside = Beside()
    assert beside.runs(60 * 10**9, pulses=True) == []
    assert beside.runs(PATIENCE_NS - BEAT_NS, pulses=False) == []
    assert beside.runs(BEAT_NS, pulses=False) == [True]
    assert beside.runs(60 * 10**9, pulses=False) == []
    assert beside.runs(BEAT_NS, pulses=True) == [False]
    assert beside.runs(PATIENCE_NS, pulses=False) == [True]


def test_who_was_stopped_with_the_core_or_alone_has_seen_no_silence() -> None:
    beside = Beside()
    beside.runs(10**9, pulses=True)
    for _ in range(3):  # both were stopped, and the gateway goes on first
        assert beside.looks(40 * 10**9, pulses=False) == []
        assert beside.runs(10**9, pulses=False) == []
        assert beside.runs(BEAT_NS, pulses=True) == []
    assert beside.looks(40 * 10**9, pulses=True) == []  # it alone
    # Control: the core does not come back with it.
    assert beside.looks(40 * 10**9, pulses=False) == []
    assert beside.runs(PATIENCE_NS, pulses=False) == [True]


def test_a_core_that_never_had_a_pulse_is_not_judged() -> None:
    beside = Beside(0)
    assert beside.runs(60 * 10**9, pulses=False) == []
    beside.pulse_ns = 7
    assert beside.runs(PATIENCE_NS, pulses=False) == []
    assert beside.runs(BEAT_NS, pulses=False) == [True]
