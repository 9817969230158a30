"""States that part, and outcomes that differ: `lockstep compare --state` and `--outcome`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cli import screen
from cli.errors import WrongUse
from cli.options import EngineChoice
from cli.proofs.outcome_tables import show_outcomes
from engine.names import Directory, unpack
from engine.records import CommandKind
from engine.records import Side as OrderSide
from journal.history import History
from notation.objects import command_object, event_object
from notation.words import price
from replay.compare import CompareReport, other_capacity
from replay.consequences import Consequences, consequences, shift_of
from replay.outcome import Outcome
from replay.parting import PartingReport, RowParted, StateParted, parting
from replay.release import ReleaseSide
from replay.sides import Recorded, Replayed, Side
from replay.trade_lists import OnlyTrades, TradeList

Facts = dict[str, Any]

#: Commands by which it is found how the journals go on after one that differs.
_LOOK_AHEAD_COMMANDS: Final = 1_024
_STEP_COMMANDS: Final = 65_536
#: Trades of one side that are named.
_TRADES_MAX: Final = 10


@dataclass(frozen=True)
class Closer:
    """Comparison beyond records: ``state``, ``outcome``. ``release``: interpreter of another release."""

    state: bool = False
    outcome: bool = False
    release: Path | None = None

    @property
    def asked(self) -> bool:
        """True if anything is."""
        return self.state or self.outcome or self.release is not None


@dataclass(frozen=True)
class Found:
    """Result: where the states part, what a command that differs came to, and how the outcomes differ."""

    states: PartingReport | None = None
    later: Consequences | None = None
    names: Directory | None = None
    outcome: Facts | None = None
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """True where no difference was found."""
        return (self.states is None or self.states.same) and (self.outcome is None or self.outcome["same"])


def of_one(directory: Path, engine: EngineChoice, ask: Closer, progress: Callable[[int, int], None]) -> Found:
    """A directory's checkpoints and a replay; or two engines, or two releases, on its journal."""

    @contextmanager
    def sides() -> Iterator[tuple[Side, Side]]:
        with ExitStack() as stack:
            history = stack.enter_context(History.open(directory))
            first = history.there_from_seq
            if ask.release is not None:
                ours = Replayed(history, "kernel", first, name=f"{directory}, replayed by this release")
                yield ours, stack.enter_context(ReleaseSide(ours, ask.release))
            elif engine is EngineChoice.reference:
                yield Replayed(history, "kernel", first), Replayed(history, "reference", first)
            else:
                name = f"{directory}, from its own checkpoints"
                yield (
                    Replayed(history, "kernel", first, name=name, kept_images=True),
                    Replayed(history, "kernel", first),
                )

    with History.open(directory) as history:
        end = history.last_seq
    with sides() as (a, b):
        report = parting(a, b, end, progress=progress)
    outcome = None
    if ask.outcome:
        with sides() as (a, b):
            outcome = _outcomes(a, end, b, end, report.parted.seq if report.parted else end + 1)
    return Found(report, outcome=outcome)


def of_two(paths: tuple[Path, Path], report: CompareReport, ask: Closer, progress: Callable[[int, int], None]) -> Found:
    """Two directories, whose journals ``report`` has compared."""
    first = max(report.first_seq_a, report.first_seq_b)
    end = report.seq if report.digest is None else report.digest.first_seq - 1
    with ExitStack() as stack:
        one, other = (stack.enter_context(History.open(path)) for path in paths)
        if report.seq >= first and other_capacity(one, other, first, report.seq):
            return Found(notes=("states of engines of different capacity are not compared row by row",))

        def side(history: History) -> Replayed:
            name = f"{history.path}, from its own checkpoints"
            return Replayed(history, "kernel", first, name=name, kept_images=True)

        found, later, names = None, None, None
        if ask.state and end >= first:
            found = parting(side(one), side(other), end, progress=progress)
        if ask.state and report.command is not None and (found is None or found.parted is None):
            later, names = _after_command(side(one), side(other), report, report.command.seq)
        outcome = None
        if ask.outcome:
            parted = found.parted.seq if found is not None and found.parted is not None else end + 1
            ends = (report.last_seq_a, report.last_seq_b) if report.command is not None else (report.seq, report.seq)
            outcome = _outcomes(side(one), ends[0], side(other), ends[1], parted)
    return Found(found, later, names, outcome)


def _after_command(a: Replayed, b: Replayed, report: CompareReport, seq: int) -> tuple[Consequences, Directory]:
    """Consequences of a command that differs, in the later ones that are the same in both."""
    a.go_on()
    b.go_on()
    rows_a = a.commands(seq, min(seq + _LOOK_AHEAD_COMMANDS, report.last_seq_a))
    rows_b = b.commands(seq, min(seq + _LOOK_AHEAD_COMMANDS, report.last_seq_b))
    shift = shift_of(rows_a, rows_b, report.last_seq_b - report.last_seq_a)
    from_seq = seq if shift == 0 else seq - 1 + max(0, -shift)
    a.play(from_seq)
    b.play(from_seq + shift)
    to_seq = min(report.last_seq_a, report.last_seq_b - shift)
    return consequences(a.play, b.play, from_seq, to_seq, shift), a.directory


def _outcomes(a: Side, end_a: int, b: Side, end_b: int, parted_seq: int) -> Facts:
    """Trades, positions and money of both sides; ``parted_seq``: the events before are equal."""
    facts, lists = [], []
    for side, end in ((a, end_a), (b, end_b)):
        outcome, trades = Outcome(side.directory.now_ns), TradeList(parted_seq)
        while side.seq < end:
            first_seq = side.seq + 1
            played = side.play(min(side.seq + _STEP_COMMANDS, end))
            outcome.take(first_seq, played.commands, played.events)
            trades.take(played.events)
        facts.append(outcome.facts(side.directory))
        lists.append(trades)
    alone = [lists[0].only(lists[1], _TRADES_MAX), lists[1].only(lists[0], _TRADES_MAX)]
    told = [_trades(each, side) for each, side in zip(alone, (a, b), strict=True)]
    same = facts[0] == facts[1] and not any(each.number for each in alone)
    return {"same": same, "a": facts[0], "b": facts[1], "trades_only_in_a": told[0], "trades_only_in_b": told[1]}


def _trades(alone: OnlyTrades, side: Side) -> Facts:
    rows = [event_object(row, side.directory, 0) for row in alone.first]
    return {"count": alone.number, "shares": alone.shares, "first": rows}


def facts_of(found: Found, directory: Path) -> Facts:
    """Keys ``state``, ``later`` and ``outcome`` of the JSON of a comparison."""
    return {
        "states": None if found.states is None else _report_facts(found.states, directory),
        "later": None if found.later is None or found.names is None else _later_facts(found.later, found.names),
        "outcome": found.outcome,
    }


def _report_facts(report: PartingReport, directory: Path) -> Facts:
    recorded = [None if each is None else _recorded_facts(each) for each in report.recorded]
    parted = None if report.parted is None else _parted_facts(report.parted, directory)
    return {
        "a": report.a,
        "b": report.b,
        "from_seq": report.from_seq,
        "to_seq": report.to_seq,
        "comparisons": report.comparisons,
        "parted": parted,
        "recorded_a": recorded[0],
        "recorded_b": recorded[1],
    }


def _recorded_facts(recorded: Recorded) -> Facts:
    return {key: each.hex() if isinstance(each, bytes) else each for key, each in recorded._asdict().items()}


def _parted_facts(parted: StateParted, directory: Path) -> Facts:
    names, row, event = parted.names, parted.row, parted.event
    told: Facts = {key: getattr(parted, key) for key in ("seq", "equal_seq", "image_a", "image_b")}
    told["parts"] = list(parted.parts)
    told["command"] = _command(directory, parted.seq, names)
    told["row"] = None
    if row is not None:
        sides = {key: None if each is None else _worded(each, names) for key, each in (("a", row.a), ("b", row.b))}
        told["row"] = {"table": row.table, "index": row.index, "fields": list(row.fields), **sides}
    told["event"] = None
    if event is not None:
        a, b = (None if each is None else event_object(each[0], names, 0) for each in (event.a, event.b))
        told["event"] = {"index": event.index, "fields": list(event.fields), "a": a, "b": b}
    told["later"] = None if parted.consequences is None else _later_facts(parted.consequences, names)
    return told


def _command(directory: Path, seq: int, names: Directory) -> Facts:
    """The command after which states part, with the EXTEND row before it."""
    with History.open(directory) as history:
        rows = Replayed.rows_of(history, max(seq - 1, history.there_from_seq), seq)
    if len(rows) > 1 and rows[0]["kind"] != CommandKind.EXTEND:
        rows = rows[1:]
    return command_object(list(rows), seq, names, names.now_ns)


def _later_facts(later: Consequences, names: Directory) -> Facts:
    told = asdict(later)
    told["first_seqs"] = list(later.first_seqs)
    told["participants"] = [
        names.participants[number - 1] for number in later.participants if number <= len(names.participants)
    ]
    told["instruments"] = [names.symbols[number - 1] for number in later.instruments if number <= len(names.symbols)]
    return told


_IDS: Final = ("client_order_id", "symbol", "name", "group_name")


def _worded(row: dict[str, int | str], names: Directory) -> Facts:
    """A row with names in place of numbers; a number that names nothing stays."""
    told: Facts = dict(row)
    for key, value in row.items():
        if not isinstance(value, int):
            continue
        if key in _IDS and value:
            told[key] = unpack(value)
        elif key == "participant" and 0 < value <= len(names.participants):
            told[key] = names.participants[value - 1]
        elif key == "instrument" and 0 < value <= len(names.symbols):
            told[key] = names.symbols[value - 1]
        elif key == "side" and value in set(OrderSide):
            told[key] = OrderSide(value).name.lower()
    return told


def show(found: Found, directory: Path) -> None:
    """Print what was found."""
    for note in found.notes:
        screen.print_line(f"note: {note}")
    if found.states is not None:
        _show_states(found.states, directory)
    if found.later is not None and found.names is not None:
        _show_later(found.later, found.names)
    if found.outcome is not None:
        _show_outcome(found.outcome)


def _show_states(report: PartingReport, directory: Path) -> None:
    for note in report.notes:
        screen.print_line(f"note: {note}")
    for name, recorded in ((report.a, report.recorded[0]), (report.b, report.recorded[1])):
        if recorded is not None:
            screen.print_line(
                f"the journal of {name}, has other events of commands {recorded.first_seq:,} to {recorded.last_seq:,} "
                "on record than a replay gives"
            )
    parted = report.parted
    if parted is None:
        compared = screen.counted(report.comparisons, "time")
        screen.print_line(
            f"states are equal after commands {report.from_seq:,} to {report.to_seq:,}, compared {compared}"
        )
        return
    told = _parted_facts(parted, directory)
    screen.print_line(
        f"states part after command {screen.count(parted.seq)}, in {', '.join(parted.parts)}; they are equal after "
        f"command {screen.count(parted.equal_seq)}"
    )
    lines = [("A", report.a), ("B", report.b), ("command", _in_words(told["command"]))]
    screen.facts(lines)
    for side, image in (("A", parted.image_a), ("B", parted.image_b)):
        if image:
            screen.print_line(f"{side} has this state from {image}; the commands before it do not give it")
    if parted.row is not None:
        _show_row(parted.row, told["row"])
    if told["event"] is not None:
        screen.print_line(f"first event that differs: event {told['event']['index'] + 1} of the command")
        screen.facts(
            [(each.upper(), _in_words(told["event"][each]) if told["event"][each] else "none") for each in "ab"]
        )
    if parted.consequences is not None:
        _show_later(parted.consequences, parted.names)


def _show_row(row: RowParted, told: Facts) -> None:
    fields = f", in {', '.join(row.fields)}" if row.fields else ""
    screen.print_line(f"first row that differs: row {row.index + 1:,} of {row.table}{fields}")
    screen.facts([(each.upper(), "no such row" if told[each] is None else _in_words(told[each])) for each in "ab"])


def _in_words(facts: Facts) -> str:
    said = {
        key.removesuffix("_e4"): price(value) if key.endswith("_e4") and isinstance(value, int) else value
        for key, value in facts.items()
        if value not in (None, 0, "", [])
    }
    return ", ".join(f"{key} {value}" for key, value in said.items() if key not in ("seq", "raw", "time", "events"))


def _show_later(later: Consequences, names: Directory) -> None:
    told = _later_facts(later, names)
    if not later.touched:
        screen.print_line(
            f"none of the {screen.counted(later.commands, 'later command')} that both have was touched by it"
        )
        return
    listed = ", ".join(f"{seq:,}" for seq in later.first_seqs[:5])
    more = "" if later.touched <= 5 else ", …"
    screen.print_line(
        f"it touched {screen.count(later.touched)} of the {screen.counted(later.commands, 'later command')} that both "
        f"have: {listed}{more}; the last is {later.last_seq:,}"
    )
    concerned = [("participants", told["participants"]), ("symbols", told["instruments"])]
    screen.facts([(name, ", ".join(each)) for name, each in concerned if each])


def _show_outcome(outcome: Facts) -> None:
    if outcome["same"]:
        screen.print_line("outcomes are equal: the same trades, positions and money")
        return
    show_outcomes(outcome["a"], outcome["b"], ("in A", "in B"))
    for side in "ab":
        told = outcome[f"trades_only_in_{side}"]
        if told["count"]:
            screen.print_line(
                f"{screen.counted(told['count'], 'trade')} of {screen.counted(told['shares'], 'share')} only in "
                f"{side.upper()}:"
            )
            for trade in told["first"]:
                screen.print_line(f"  {_in_words(trade)}")


def check_use(directory_b: Path | None, ask: Closer) -> None:
    """Raise WrongUse for options that do not go together."""
    if directory_b is None and not ask.asked:
        raise WrongUse("one directory is compared with nothing; name a second one, or give --state or --release")
    if directory_b is not None and ask.release is not None:
        raise WrongUse("--release compares two releases on one journal; name one directory")
