"""Completeness of reports: two independent folds agree on what happened, whatever the blocks.

The compiled fold and ``reports.reference`` share the rows alone. Besides, invariants hold at each report, and a fault
planted in a report or a fold is found.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from checkpoints import Projection, Projections
from engine import Capacity, Engine
from engine.capacity import events_max
from engine.names import unpack
from engine.records import COMMAND, EVENT, Book, CommandKind, EventKind, Phase
from engine.reference import ReferenceEngine
from notation.parse import ScenarioError, parse
from notation.translate import Translator
from reports import REPORT, InBook, Liquidity, ReportFlag, ReportKind, Reports
from reports.fold import EVENT_REPORTS_MAX
from reports.reference import ReferenceReports
from reports.rows import REPORT_FIELDS, joined
from tests.report_streams import CAPACITY, Block, Open, blocks, faults, user_stream

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


def difference(kernel: NDArray[Any], reference: NDArray[Any]) -> str:
    """The first report in which two batches differ, in words; "" where there is none."""
    if kernel.tobytes() == reference.tobytes():
        return ""
    for one, other in zip(kernel, reference, strict=False):
        if one.tobytes() != other.tobytes():
            names = [name for name in REPORT_FIELDS[ReportKind(int(one["kind"]))] if one[name] != other[name]]
            apart = {name: (one[name].item(), other[name].item()) for name in names}
            kinds = ReportKind(int(one["kind"])).name, ReportKind(int(other["kind"])).name
            return f"report {one['seq']}.{one['number']}, {' and '.join(kinds)}, differs: {apart}"
    return f"there are {len(kernel)} reports and {len(reference)}"


def all_reports(rows: NDArray[Any], seed: int, *, largest: int = 120, room_rows: int = 1_024) -> NDArray[Any]:
    fold = Reports(CAPACITY, room_rows=room_rows)
    return joined([fold.make(*block).copy() for block in blocks(rows, seed, largest=largest)])


class IndexReader:
    """Values of indices out of reports alone: members gathered, weights, and last trades of the lit book."""

    def __init__(self) -> None:
        self.members: dict[int, dict[int, int]] = {}
        self._gathered: dict[int, int] = {}
        self._name = 0
        self._prices: dict[int, int] = {}

    def add(self, reports: NDArray[Any]) -> None:
        for report in reports:
            name, symbol = int(report["name"]), int(report["symbol"])
            match int(report["kind"]):
                case ReportKind.INSTRUMENT:
                    self._prices[symbol] = int(report["reference_e4"])
                case ReportKind.TRADE if report["book"] == Book.LIT and report["liquidity"] != Liquidity.AGREED_CROSS:
                    self._prices[symbol] = int(report["last_price_e4"])
                case ReportKind.MEMBERS:
                    self._gathered = self._gathered if name == self._name else {}
                    self._name = name
                    further = int(report["further_symbol"]), int(report["further_weight"])
                    pairs = ((symbol, int(report["weight"])), further)
                    self._gathered |= {member: weight for member, weight in pairs if member}
                case ReportKind.INDEX:
                    self.members[name], self._gathered, self._name = self._gathered, {}, 0
                case ReportKind.REJECTED if report["command_kind"] == CommandKind.INDEX:
                    self._gathered, self._name = {}, 0

    def value_e4(self, name: int) -> int:
        return sum(weight * self._prices[symbol] for symbol, weight in self.members[name].items())


@pytest.mark.slow
def test_who_reads_reports_alone_has_the_value_of_each_index() -> None:
    found = 0
    for path in SCENARIOS:
        fold, reader, engine = Reports(CAPACITY), IndexReader(), ReferenceEngine(CAPACITY)
        for block in scenario_blocks(path):
            reader.add(fold.make(*block))
            engine.apply(block.commands)
            for index in engine.indices():
                name = int(index["name"])
                assert reader.value_e4(name) == index["value_e4"], path.name
                assert len(reader.members[name]) == index["members"], path.name
                found += 1
    assert found > 20


def test_a_scheduled_close_behind_a_delayed_command_is_told_as_the_clock_s_own() -> None:
    """One clock value makes both due: each is like a command of its own (section 10), and a cancel waits before one."""
    path = SCENARIOS[0].with_name("schedule-closes-behind-delayed-commands.txt")
    for fold in (Reports(Capacity()), ReferenceReports()):
        reports = joined([fold.make(*block).copy() for block in scenario_blocks(path)])
        closed = reports[(reports["kind"] == ReportKind.PHASE) & (reports["phase"] == Phase.CLOSED)]
        ended = reports[reports["kind"] == ReportKind.DONE_FOR_DAY]
        assert (len(closed), len(ended)) == (2, 4)
        assert set(ended["command_context"].tolist()) == {0}
        assert set(closed["command_kind"].tolist()) | set(ended["command_kind"].tolist()) == {CommandKind.CLOCK}
        new = reports[reports["kind"] == ReportKind.NEW]
        rested = [unpack(int(each["client_order_id"])) for each in new if each["in_book"] & InBook.AFTER]
        assert rested == ["a1", "a2", "a3", "b1", "b2", "b3"]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 10))])
def test_two_independent_folds_give_the_same_reports_for_every_stream(seed: int) -> None:
    kernel, reference = Reports(CAPACITY), ReferenceReports()
    for block in blocks(user_stream(seed, 2_000), seed):
        found = difference(kernel.make(*block), reference.make(*block))
        assert not found, f"seed {seed}: {found}"


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 140))
def test_two_independent_folds_give_the_same_reports_for_long_streams(seed: int) -> None:
    kernel, reference = Reports(CAPACITY), ReferenceReports()
    orders: Open = {}
    for block in blocks(user_stream(seed, 20_000), seed):
        reports = kernel.make(*block)
        assert not difference(reports, reference.make(*block))
        assert not faults(reports, block, orders)


def scenario_blocks(path: Path) -> Iterator[Block]:
    """The blocks of a scenario file, with their events; of a file that this release cannot read none."""
    engine = ReferenceEngine()
    try:
        translator = Translator(parse(path.read_text(), path.name), engine.directory, path.name)
        while (batch := translator.next_batch(engine.directory)) is not None:
            first_seq = engine.seq + 1
            yield Block(first_seq, batch.rows, engine.apply(batch.rows))
    except ScenarioError:
        return


@pytest.mark.slow
def test_two_independent_folds_give_the_same_reports_for_every_scenario() -> None:
    kinds: set[int] = set()
    for path in SCENARIOS:
        kernel, reference, orders = Reports(Capacity()), ReferenceReports(), Open()
        for block in scenario_blocks(path):
            reports = kernel.make(*block)
            found = difference(reports, reference.make(*block)) or " ".join(faults(reports, block, orders))
            assert not found, f"{path.name}: {found}"
            kinds |= set(reports["kind"].tolist())
    assert len(SCENARIOS) > 90
    assert kinds >= {ReportKind.NEW, ReportKind.TRADE, ReportKind.REPLACED, ReportKind.INDICATIVE, ReportKind.HALTED}


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("seed", range(5))
def test_every_event_is_reported_and_quantities_and_sums_are_right_at_each_report(seed: int) -> None:
    fold, orders = Reports(CAPACITY), Open()
    kinds: set[int] = set()
    for block in blocks(user_stream(seed, 4_000), seed):
        reports = fold.make(*block)
        assert faults(reports, block, orders) == []
        kinds |= set(reports["kind"].tolist())
    assert len(orders) == len(fold.image()["orders"])
    assert kinds >= {ReportKind.NEW, ReportKind.TRADE, ReportKind.CANCELED, ReportKind.RESTATED, ReportKind.REPLACED}


def test_streams_together_have_every_kind_of_report_that_is_built_and_every_role() -> None:
    made = joined([all_reports(user_stream(seed, 4_000), seed) for seed in range(9)])
    assert set(made["kind"].tolist()) == set(REPORT_FIELDS)
    trades = made[made["kind"] == ReportKind.TRADE]
    assert set(trades["liquidity"].tolist()) >= {Liquidity.ADDED, Liquidity.REMOVED, Liquidity.HALT_CROSS}
    assert set(made["in_book"].tolist()) >= {0, 1, 2, 3, 7}
    flags = made["flags"][made["kind"] == ReportKind.CANCEL_REJECTED]
    assert (flags & ReportFlag.REMARKED).any()
    assert (flags & ReportFlag.REPLACED).any()
    assert (made["other_user"] != 0).any()


@pytest.mark.parametrize("seed", range(5))
def test_reports_do_not_depend_on_blocks_nor_on_the_room(seed: int) -> None:
    rows = user_stream(seed, 1_500)
    whole = all_reports(rows, seed, largest=0)
    assert difference(whole, all_reports(rows, seed, largest=1)) == ""
    assert difference(whole, all_reports(rows, seed, largest=40)) == ""
    assert difference(whole, all_reports(rows, seed, largest=40, room_rows=EVENT_REPORTS_MAX)) == ""
    assert difference(whole, all_reports(rows, seed, largest=0, room_rows=EVENT_REPORTS_MAX + 1)) == ""


def test_room_for_less_than_one_event_is_refused() -> None:
    with pytest.raises(ValueError, match="room for 2 reports"):
        Reports(CAPACITY, room_rows=2)


class ReportProjection(Reports, Projection):
    """The fold as a node registers it."""


@pytest.mark.parametrize("seed", range(5))
def test_a_fold_restored_after_any_command_gives_the_same_reports_and_digest(seed: int) -> None:
    rows = user_stream(seed, 1_000)
    rng = np.random.default_rng(seed)
    others = Capacity(orders_max=3_000, ids_max=20_000, instruments_max=9, participants_max=20)
    through, projections = Reports(CAPACITY), None
    for block in blocks(rows, seed, largest=7):
        expected = through.make(*block)
        if projections is not None:
            (restored,) = projections
            assert isinstance(restored, Reports)
            assert difference(restored.make(*block), expected) == ""
            assert restored.digest() == through.digest()
        if projections is None or rng.random() < 0.3:
            last_seq = block.first_seq + len(block.commands) - 1
            images = Projections([_registered(through)]).images()
            projections = Projections([ReportProjection(others if rng.random() < 0.5 else CAPACITY)])
            assert projections.restore(images, last_seq) == {}


def _registered(fold: Reports) -> Projection:
    """The same fold as a projection."""
    registered = ReportProjection(CAPACITY)
    registered._packed = fold._packed
    return registered


def test_the_digest_does_not_depend_on_blocks_and_differs_where_the_state_does() -> None:
    rows = user_stream(1, 1_000)
    digests = []
    for largest in (0, 1, 30):
        fold = Reports(CAPACITY)
        for block in blocks(rows, 1, largest=largest):
            fold.make(*block)
        digests.append(fold.digest())
    assert digests[0] == digests[1] == digests[2]
    fold.tables.orders["cum_qty"][np.flatnonzero(fold.tables.orders["participant"])[0]] += 1
    assert fold.digest() != digests[0]
    fold.clear()
    assert fold.digest() == Reports(CAPACITY).digest() != digests[0]


def test_an_image_without_room_or_of_another_command_or_kind_is_refused() -> None:
    fold = Reports(CAPACITY)
    for block in blocks(user_stream(1, 400), 1):
        fold.make(*block)
    image, seq = fold.image(), fold.seq
    small = Capacity(orders_max=4, ids_max=20, instruments_max=6, participants_max=16)
    narrow = Capacity(orders_max=2_000, ids_max=2_000, instruments_max=1, participants_max=16)
    for capacity, changed, at, why in (
        (small, {}, seq, "open orders, more than there is room for"),
        (narrow, {}, seq, "instruments, more than there is room for"),
        (CAPACITY, {}, seq + 1, f"of command {seq}"),
        (CAPACITY, {"layout": image["layout"][::-1]}, seq, "other tables"),
        (CAPACITY, {"terms": image["terms"][:0]}, seq, "damaged"),
    ):
        with pytest.raises(ValueError, match=why):
            Reports(capacity).restore(image | changed, at)


#: A place, and what a fold could wrongly have written there.
PLANTED = [
    *((ReportKind.TRADE, name) for name in ("cum_qty", "leaves_qty", "notional_e4", "last_qty", "last_price_e4")),
    *((ReportKind.TRADE, name) for name in ("contra_participant", "contra_order_number", "side", "trade_number")),
    *((ReportKind.NEW, name) for name in ("qty", "original_qty", "seq", "number", "displayed_qty", "last_qty")),
    *((ReportKind.CANCELED, name) for name in ("decrement_qty", "canceled_qty", "in_book", "kind")),
    *((ReportKind.REPLACED, name) for name in ("qty", "cum_qty", "trade_number")),
    *((ReportKind.REJECTED, name) for name in ("seq", "liquidity")),
]


@pytest.mark.parametrize(("kind", "name"), PLANTED)
def test_a_fault_planted_in_a_report_is_found(kind: ReportKind, name: str) -> None:
    fold, orders = Reports(CAPACITY), Open()
    found: list[str] = []
    planted = False
    for block in blocks(user_stream(1, 600), 1):
        reports = fold.make(*block)
        of_orders = (reports["kind"] == kind) & (reports["command_kind"] != CommandKind.CROSS)
        if not planted and (at := np.flatnonzero(of_orders)).size:
            reports[name][at[0]] += 1
            planted = True
        try:
            found += faults(reports, block, orders)
        except (KeyError, ValueError) as error:  # an order that no report before has, a trade with one side
            found.append(str(error))
        if found:
            break
    assert planted
    assert found


class _Forgetful(ReferenceReports):
    """A fold that forgets an order's trades when it is replaced."""

    def _replace(self, event: Any, command: Any) -> dict[str, Any]:
        self._orders[int(event["participant"]), int(event["client_order_id"])].trades.clear()
        return super()._replace(event, command)


class _Hasty(ReferenceReports):
    """A fold that says the phase before only after the uncross that ends it."""

    def _of_event(self, event: Any, command: Any) -> Iterator[dict[str, Any]]:
        for report in super()._of_event(event, command):
            if event["kind"] == EventKind.PHASE:
                self._crosses[int(event["instrument"])] = Liquidity.OPENING_CROSS
            yield report


class _Deaf(ReferenceReports):
    """A fold that does not see the users whom the market defines."""

    def _sender(self, context: bytes) -> int:
        return 0 * len(context)


class _Late(ReferenceReports):
    """A fold whose EXTEND rows do not reach the next block."""

    def make(self, first_seq: int, commands: NDArray[Any], events: NDArray[Any]) -> NDArray[Any]:
        self._extend = None
        return super().make(first_seq, commands, events)


@pytest.mark.slow
@pytest.mark.parametrize("mutated", [_Forgetful, _Hasty, _Deaf, _Late])
def test_a_fold_with_a_fault_differs_from_the_other(mutated: type[ReferenceReports]) -> None:
    largest = 3 if mutated is _Late else 120

    def differs(seed: int) -> bool:
        kernel, reference = Reports(CAPACITY), mutated()
        rows = user_stream(seed, 3_000)
        return any(
            difference(kernel.make(*block), reference.make(*block)) for block in blocks(rows, seed, largest=largest)
        )

    assert any(differs(seed) for seed in (1, 3, 0, 2))


def test_rows_of_no_journal_make_reports_too_and_never_an_error() -> None:
    """Kernels never raise: neither for events of orders that they never saw, nor for random bytes."""
    rng = np.random.default_rng(1)
    fold = Reports(Capacity(8, 16, 2, 2), room_rows=EVENT_REPORTS_MAX)
    commands = user_stream(1, 500)
    events = np.frombuffer(rng.bytes(64 * 2_000), block_events().dtype).copy()
    events["seq"] = np.sort(rng.integers(1, len(commands) + 1, len(events)))
    events["kind"] = rng.integers(1, 15, len(events))
    made = fold.make(1, commands, events)
    assert len(made) >= len(events)
    assert fold.seq == len(commands)


def block_events() -> NDArray[Any]:
    """EVENT rows of one block."""
    return Engine(CAPACITY).apply(np.zeros(1, COMMAND))


def test_a_command_with_many_events_is_reported_in_many_batches() -> None:
    capacity = Capacity(orders_max=500, ids_max=1_000, instruments_max=1, participants_max=2)
    assert events_max(500, 0, 1, 2, 0) > 1_000
    engine, fold = Engine(capacity), Reports(capacity, room_rows=16)
    rows = np.zeros(503, COMMAND)
    rows[0]["kind"], rows[0]["name"] = CommandKind.INSTRUMENT, ord("I")
    rows[0]["reference_e4"] = rows[0]["tick_e4"] = rows[0]["lot"] = 1
    rows[1]["kind"], rows[1]["name"] = CommandKind.PARTICIPANT, ord("P")
    orders = rows[2:-1]
    orders["kind"], orders["client_order_id"], orders["participant"] = CommandKind.ENTER, np.arange(1, 501), 1
    orders["instrument"] = orders["side"] = orders["price_e4"] = orders["self_trade"] = orders["qty"] = 1
    orders["time_in_force"] = 2
    rows[-1]["kind"], rows[-1]["name"] = CommandKind.KILL, ord("P")
    opened = np.zeros(1, COMMAND)
    opened["kind"], opened["name"], opened["phase"] = CommandKind.PHASE, ord("I"), 2
    rows = np.frombuffer(rows[:2].tobytes() + opened.tobytes() + rows[2:].tobytes(), COMMAND)
    made = fold.make(1, rows, engine.apply(rows))
    killed = made[made["seq"] == len(rows)]
    assert killed["number"].tolist() == list(range(1, 502))
    assert (killed["kind"][0], set(killed["kind"][1:].tolist())) == (ReportKind.KILLED, {ReportKind.CANCELED})
    assert made.dtype == REPORT


def test_one_compilation_serves_rows_of_any_kind() -> None:
    """Of a tape, a journal and an engine; a second one would take a reader half a minute in which its session ends."""
    from engine.jit import INTERPRETED
    from reports.fold import make_reports
    from reports.projection import compile_kernels, is_compiled

    if INTERPRETED:
        pytest.skip("nothing is compiled")
    compile_kernels()
    assert is_compiled()
    compiled = len(make_reports.signatures)
    shown, written = np.zeros(4, COMMAND)[::1], np.zeros(4, COMMAND)
    shown.flags.writeable = False
    for rows in (shown, written, np.frombuffer(bytes(2 * COMMAND.itemsize), COMMAND)):
        Reports(Capacity(1, 1, 1, 1), users_max=1).make(1, rows, np.zeros(0, EVENT))
    assert len(make_reports.signatures) == compiled == 1
