"""Incident reports: each figure is found another way, equal ranges give equal reports, and pictures show something."""

import base64
import errno
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.errors import WrongUse
from cli.main import run_line
from cli.questions import incident
from directory.recover import create
from engine import Engine
from engine.records import COMMAND, CommandKind, Side, concatenate
from incidents.course import DEPTH_LEVELS, Course, Quote
from incidents.figures import Figures, percentiles
from incidents.page import Heading, Paragraph, Picture, Table, as_html, as_markdown
from journal import Journal
from journal.history import History
from replay.ladder import levels
from replay.rebuild import owned_rows
from replay.timeline import Mark, Tally
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.question_day import SMALL, write_day
from tests.streams import random_stream

COMMANDS = 3_000
#: All of the day, a part that begins and ends inside blocks, and its end.
SPANS = [(1, COMMANDS), (777, 2_222), (2_700, COMMANDS)]
STORY = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
instrument ABC tick=0.01 lot=1 reference=20.00
participant ALPHA
participant BETA
phase XYZ continuous
phase ABC continuous
at 2024-01-15T09:30:10
enter ALPHA a1 sell 100 XYZ @ 10.00
enter BETA b1 buy 120 XYZ @ 10.00
at 2024-01-15T09:30:20
limits BETA max_order_qty=50
halt XYZ for=10s
enter BETA b2 buy 10 XYZ @ 10.00
enter BETA b3 buy 60 ABC @ 20.00
at 2024-01-15T09:30:30
kill BETA
"""


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated day with checkpoints. Read only."""
    directory = tmp_path_factory.mktemp("incident") / "day"
    write_day(directory, commands=COMMANDS, checkpoint_every=1_000)
    return directory


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the story. Read only."""
    folder = tmp_path_factory.mktemp("incident")
    (folder / "story.txt").write_text(STORY)
    if run_line(["run", str(folder / "story.txt"), "--data", str(folder / "story")]) != 0:
        raise RuntimeError("the story could not be run")
    return folder / "story"


def told(lockstep: Lockstep, directory: Path, out: Path, *words: str, status: int = 0) -> dict[str, Any]:
    """Figures of a report without pictures."""
    got, said, complaint = lockstep("incident", str(directory), "--out", str(out), "--no-pictures", *words, "--json")
    assert got == status, complaint
    (facts,) = checked(["incident"], said)
    assert out.exists()
    return facts


def lines(lockstep: Lockstep, *words: str) -> list[dict[str, Any]]:
    """JSON lines of another command."""
    status, said, complaint = lockstep(*words, "--json")
    assert status == 0, complaint
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.slow
def test_a_day_with_hostile_rows_has_its_report(tmp_path: Path, lockstep: Lockstep) -> None:
    rows = random_stream(1, COMMANDS, hostile=0.05, garbage=0.05, control=0.01)
    entries = rows[rows["kind"] == CommandKind.ENTER]
    assert min(int(entries[place].max()) for place in ("participant", "instrument")) >= 2**26, "the control"
    write_day(tmp_path / "node", seed=1, hostile=0.05, garbage=0.05)
    words = ["incident", tmp_path / "node", "--out", tmp_path / "report.md", "--json"]
    status, said, sentence = lockstep(*words)
    (told,) = checked(["incident"], said) if status == 0 else ({},)
    assert status == 0, sentence
    known = Engine(SMALL)
    known.apply(rows)
    assert {each["participant"] for each in told["participants"]} <= set(known.directory.participants)
    assert {each["symbol"] for each in told["instruments"]} <= set(known.directory.symbols)


@pytest.mark.slow
@pytest.mark.parametrize("span", SPANS, ids=str)
def test_each_figure_is_what_events_and_commands_come_to(
    day: Path, tmp_path: Path, lockstep: Lockstep, span: tuple[int, int]
) -> None:
    words = ["--from", str(span[0]), "--to", str(span[1])]
    facts = told(lockstep, day, tmp_path / "r.md", *words)
    events = lines(lockstep, "events", str(day), *words)
    commands = lines(lockstep, "commands", str(day), *words)
    assert facts["event_kinds"] == Counter(each["kind"] for each in events)
    extended = facts["command_kinds"].pop("extend", 0)
    assert facts["command_kinds"] == Counter(each["kind"] for each in commands if each["kind"] != "extend")
    assert sum(facts["command_kinds"].values()) + extended == facts["commands"] == span[1] - span[0] + 1
    trades = [each for each in events if each["kind"] == "trade"]
    assert trades
    assert (facts["trades"], facts["shares"]) == (len(trades), sum(each["qty"] for each in trades))
    assert facts["notional_e4"] == sum(each["qty"] * each["price_e4"] for each in trades)
    for each in facts["instruments"]:
        own = [trade for trade in trades if trade["symbol"] == each["symbol"]]
        prices = [trade["price_e4"] for trade in own]
        found = [each[f"{name}_price_e4"] for name in ("first", "high", "low", "last")]
        assert found == ([prices[0], max(prices), min(prices), prices[-1]] if prices else [None] * 4)
        assert (each["trades"], each["shares"]) == (len(own), sum(trade["qty"] for trade in own))
        if own:
            assert each["high_seq"] == next(trade["seq"] for trade in own if trade["price_e4"] == max(prices))
            assert each["low_seq"] == next(trade["seq"] for trade in own if trade["price_e4"] == min(prices))
        entered = [one for one in commands if one["kind"] == "enter" and one.get("symbol") == each["symbol"]]
        assert each["orders"] == len(entered)
        halted = [one for one in events if one["kind"] == "halted" and one["symbol"] == each["symbol"]]
        assert each["halts"] == len(halted)
    for each in facts["participants"]:
        name = each["participant"]
        assert each["bought_qty"] == sum(one["qty"] for one in trades if one["buy_participant"] == name)
        assert each["sold_qty"] == sum(one["qty"] for one in trades if one["sell_participant"] == name)
        assert each["trades"] == sum(name in (one["buy_participant"], one["sell_participant"]) for one in trades)
        refused = [one for one in events if one["kind"] in ("rejected", "cancel_rejected")]
        assert each["refused"] == sum(one["participant"] == name for one in refused)
        for key, kind in (("orders", "enter"), ("cancels", "cancel"), ("replaces", "replace")):
            assert each[key] == sum(one["kind"] == kind and one["participant"] == name for one in commands)
    assert sum(each["profit_e4"] for each in facts["participants"]) == 0
    assert {each["participant"] for each in facts["participants"]} >= {one["buy_participant"] for one in trades}


@pytest.mark.slow
@pytest.mark.parametrize("span", SPANS, ids=str)
def test_refusals_moments_and_digests_are_those_of_the_journal(
    day: Path, tmp_path: Path, lockstep: Lockstep, span: tuple[int, int]
) -> None:
    words = ["--from", str(span[0]), "--to", str(span[1])]
    facts = told(lockstep, day, tmp_path / "r.html", *words)
    events = lines(lockstep, "events", str(day), *words)
    refused: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in events:
        if each["kind"] in ("rejected", "cancel_rejected"):
            refused.setdefault((each["kind"], each["reason"]), []).append(each)
    assert len(refused) > 3
    found = {(each["kind"], each["reason"]): each for each in facts["refusals"]}
    assert found.keys() == refused.keys()
    for key, own in refused.items():
        each = found[key]
        assert each["count"] == len(own)
        assert (each["first_seq"], each["last_seq"]) == (own[0]["seq"], own[-1]["seq"])
        assert (each["first_time"], each["last_time"]) == (own[0]["time"], own[-1]["time"])
        names = Counter(one["participant"] for one in own if one["participant"])
        assert each["participant_count"] == len(names)
        assert [names[name] for name in each["participants"]] == sorted(names.values(), reverse=True)[:5]
    marked = [each for each in events if each["kind"] in ("halted", "phase", "killed", "unkilled")]
    seqs = [each["seq"] for each in facts["moments"]]
    assert seqs == sorted(seqs)
    assert {each["seq"] for each in marked} <= set(seqs)
    assert facts["halts"] == sum(each["kind"] == "halted" for each in events)
    for each in facts["moments"]:
        own = [one["time"] for one in events if one["seq"] == each["seq"]]
        assert all(when == each["time"] for when in own)
    (state,) = lines(lockstep, "state", str(day), "--at", str(span[1]))
    for name in ("state_digest", "event_digest", "epoch"):
        assert facts["proof"][name] == state[name]
    assert facts["proof"]["divergence"] is None
    with History.open(day) as history:
        blocks = [block for block in history.blocks(*span) if span[0] <= block.first_seq and block.last_seq <= span[1]]
    assert facts["proof"]["blocks_compared"] == len(blocks) > 0
    times = [each["time"] for each in lines(lockstep, "commands", str(day), *words) if each["time"]]
    assert (facts["begin"], facts["end"]) == (times[0], times[-1])


def test_what_ended_orders_and_what_the_operator_was_refused_is_told(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(
        "at 2024-01-15T23:50\ninstrument XYZ tick=0.01 lot=1 reference=10.00 cancel_on_halt=yes\nparticipant ALPHA\n"
        "participant BETA\nphase XYZ continuous\nresume XYZ\nenter ALPHA a1 buy 10 XYZ @ 9.00\n"
        "enter ALPHA a2 buy 10 XYZ @ 9.00\nmass_cancel ALPHA\nenter BETA b1 buy 10 XYZ @ 9.00\n"
        "mass_cancel BETA reason=disconnect\nenter ALPHA a3 buy 10 XYZ @ 9.00\nhalt XYZ\nphase XYZ continuous\n"
        "enter ALPHA a4 buy 10 XYZ @ 9.00\nat 2024-01-16T00:01\n"
        # An order's own end stands for nothing more: it is no moment.
        "enter ALPHA a5 buy 10 XYZ @ 9.00 tif=ioc\ncancel ALPHA a4\n"
    )
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    facts = told(lockstep, tmp_path / "node", tmp_path / "r.md")
    assert [(each["what"], each["cause"]) for each in facts["moments"]] == [
        (["phase XYZ continuous"], "phase XYZ continuous"),
        (["rejected XYZ reason=not_halted"], "resume XYZ"),
        (["2 orders canceled reason=mass_cancel"], "mass_cancel ALPHA"),
        (["1 order canceled reason=disconnect"], "mass_cancel BETA reason=disconnect"),
        (["halted XYZ reason=command", "1 order canceled reason=halt"], "halt XYZ"),
        (["phase XYZ continuous"], "phase XYZ continuous"),
        (["1 order canceled reason=end_of_day"], "the clock reached a time that was set, or another day"),
    ]
    assert "| not\\_halted | 1 | the operator |" in (tmp_path / "r.md").read_text()


def test_the_text_says_what_happened_in_order_with_the_cause(story: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    facts = told(lockstep, story, tmp_path / "r.md")
    moments = [(each["time"][11:19], each["what"], each["cause"]) for each in facts["moments"]]
    assert moments == [
        ("09:30:00", ["phase XYZ continuous"], "phase XYZ continuous"),
        ("09:30:00", ["phase ABC continuous"], "phase ABC continuous"),
        ("09:30:20", [], "limits BETA max_order_qty=50"),
        ("09:30:20", ["halted XYZ reason=command"], "halt XYZ for=10s"),
        ("09:30:30", ["phase XYZ auction"], "the clock reached a time that was set, or another day"),
        ("09:30:30", ["killed BETA", "1 order canceled reason=kill"], "kill BETA"),
    ]
    text = (tmp_path / "r.md").read_text()
    assert "| 09:30:20 | 13 | halted XYZ reason=command | halt XYZ for=10s |" in text
    assert "1 trade of 100 shares for 1,000.00, 2 refusals, 1 halt, 1 alert." in text
    assert "| halted | 1 | BETA | 09:30:20, command 14 |" in text
    assert "| max\\_order\\_qty | 1 | BETA | 09:30:20, command 15 |" in text
    assert "| ALPHA | 1 | 0 | 0 | 0 | 1 | 0 | 100 | -100 | 0.00 |" in text
    assert "## Pictures" not in text
    web = tmp_path / "r.html"
    told(lockstep, story, web)
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", web.read_text()))
    assert "09:30:20 13 halted XYZ reason=command halt XYZ for=10s" in plain


@pytest.mark.slow
def test_equal_ranges_give_equal_reports_and_have_no_time_but_the_markets(
    story: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    pytest.importorskip("matplotlib", reason="the extra incident is not installed")
    for out in ("one/r.md", "two/r.md", "r.html"):
        (tmp_path / out).parent.mkdir(exist_ok=True)
        status, _, complaint = lockstep("incident", str(story), "--out", str(tmp_path / out))
        assert status == 0, complaint
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["r-XYZ.png", "r-rates.png", "r.md"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    inside = {base64.b64decode(data) for data in re.findall(r"base64,([^\"]*)", (tmp_path / "r.html").read_text())}
    assert inside == {(tmp_path / "one" / name).read_bytes() for name in files[:2]}
    years = set(re.findall(r"\b20\d\d-\d\d-\d\d", (tmp_path / "one" / "r.md").read_text()))
    assert years == {"2024-01-15"}


def pixels(png: bytes) -> "np.ndarray[Any, Any]":
    """Rows of a PNG without interlace and palette, as numbers; written here so that nothing of ours judges itself."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    channels = {2: 3, 6: 4}[png[25]]
    at, data = 8, b""
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        data += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    raw = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * channels)
    found = np.zeros((height, width * channels), np.int64)
    for row in range(height):
        found[row] = _unfiltered(
            int(raw[row, 0]), raw[row, 1:].astype(np.int64), found[row - 1] if row else None, channels
        )
    return found.reshape(height, width, channels)[:, :, :3]


def _unfiltered(
    kind: int, line: "np.ndarray[Any, Any]", above: "np.ndarray[Any, Any] | None", channels: int
) -> "np.ndarray[Any, Any]":
    above = np.zeros_like(line) if above is None else above
    if kind in (0, 2):
        return (line + (above if kind == 2 else 0)) % 256
    done = line.copy()
    for at in range(len(line)):
        left = int(done[at - channels]) if at >= channels else 0
        up, corner = int(above[at]), int(above[at - channels]) if at >= channels else 0
        if kind == 1:
            guess = left
        elif kind == 3:
            guess = (left + up) // 2
        else:
            start = left + up - corner
            guess = min((left, up, corner), key=lambda each: abs(start - each))
        done[at] = (int(line[at]) + guess) % 256
    return done


def drawn(png: bytes) -> Counter[str]:
    """Number of pixels by what they are: white, dark, green or red."""
    rgb = pixels(png)
    red, green, blue = (rgb[:, :, at] for at in range(3))
    return Counter(
        {
            "white": int((rgb.min(axis=2) > 250).sum()),
            "dark": int((rgb.max(axis=2) < 80).sum()),
            "green": int((green > np.maximum(red, blue) + 40).sum()),
            "red": int((red > np.maximum(green, blue) + 60).sum()),
        }
    )


@pytest.mark.slow
def test_pictures_are_there_and_show_prices_quotes_and_rates(day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    pytest.importorskip("matplotlib", reason="the extra incident is not installed")
    out = tmp_path / "r.html"
    status, _, complaint = lockstep("incident", str(day), "--from", "2300", "--symbol", "I1", "--out", str(out))
    assert status == 0, complaint
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    text = out.read_text()
    assert 'src="http' not in text
    found = re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)">', text)
    assert [about for about, _ in found] == ["Commands, trades and refusals a second", "Price, volume and depth of I1"]
    for _, data in found:
        seen = drawn(base64.b64decode(data))
        assert seen["white"] > 0.5 * seen.total()
        assert seen["dark"] > 2_000
        assert seen["green"] > 300
        assert seen["red"] > 300


@pytest.mark.slow
def test_an_empty_picture_is_seen_to_be_empty() -> None:
    """The control of the test above."""
    pytest.importorskip("matplotlib", reason="the extra incident is not installed")
    from incidents.pictures import _panels, _png, _style

    tally = Tally()
    tally.begin_ns, tally.end_ns = 1, 1_000_000_000
    with _style():
        seen = drawn(_png(_panels(tally, "", ["", ""], [])[0]))
    assert seen["green"] == seen["red"] == 0


def labels_of(draw: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Labels at the axis of each panel of a picture, and all further text of it, last."""
    from incidents import pictures

    found: list[list[str]] = []

    def keep(figure: Any) -> bytes:
        figure.canvas.draw()
        for panel in figure.axes:
            low, high = panel.get_ylim()
            ticks = zip(panel.get_yticks(), panel.get_yticklabels(), strict=True)
            found.append([label.get_text() for at, label in ticks if low <= at <= high])
            found[-1] += [each.get_text() for each in panel.get_yticklabels(minor=True) if each.get_text()]
        about = [panel.get_xlabel() for panel in figure.axes] + [each.get_text() for each in figure.texts]
        about += [each.get_text() for panel in figure.axes for each in panel.texts]
        found.append([each for each in about if each])
        return b""

    monkeypatch.setattr(pictures, "_png", keep)
    draw()
    return found


def a_tally(seconds: float) -> Tally:
    tally = Tally()
    tally.begin_ns = 1_705_363_199 * 10**9  # 2024-01-15T23:59:59
    tally.end_ns = tally.begin_ns + int(seconds * 1e9)
    return tally


@pytest.mark.parametrize(("begin", "end"), [(98_765.43, 98_765.44), (0.0001, 0.0002), (10.0, 10.0), (9.5, 12.25)])
def test_prices_at_an_axis_differ_and_are_written_out(
    begin: float, end: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="the extra incident is not installed")
    from incidents import pictures

    tally = a_tally(0.5)
    quotes = [
        Quote(tally.begin_ns + at, bid_e4=round(each * 10_000), offer_e4=0, bid_qty=10, offer_qty=0)
        for at, each in enumerate((begin, end))
    ]
    prices, volume, depth, about = labels_of(lambda: pictures._instrument(tally, "XYZ", None, quotes), monkeypatch)
    assert len(set(prices)) == len(prices) >= 2
    assert all(re.fullmatch(r"-?[0-9,]+\.[0-9]{2,4}", each) for each in prices)
    assert (volume, "none in this range" in about) == (["0"], True)
    assert len(depth) > 2, "the control: one that is not empty"
    assert "time, UTC, 2024-01-15" in about


@pytest.mark.parametrize(
    ("least_us", "most_us", "wanted"),
    [
        (95, 130, ["50", "100", "200"]),
        (95, 5_000_000, ["100", "1,000", "10,000", "100,000", "1,000,000", "10,000,000"]),
    ],
)
def test_times_at_an_axis_are_written_out(
    least_us: int, most_us: int, wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="the extra incident is not installed")
    from incidents import pictures

    tally = a_tally(2.0)
    took = np.array([[tally.begin_ns, tally.begin_ns + 10**9], [least_us * 1_000, most_us * 1_000]])
    labels, about = labels_of(lambda: pictures._latencies(tally, took), monkeypatch)
    assert labels == wanted
    assert about == ["time, UTC, from 2024-01-15 to 2024-01-16"]


def test_the_lines_of_marks_are_named_in_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="the extra incident is not installed")
    from incidents import pictures

    tally = a_tally(0.5)
    for letters, wanted in (("", None), ("PH", "dotted: phase, dashed: halt"), ("K", "dash-dotted: alert")):
        tally.marks = [Mark(1, tally.begin_ns, each, "XYZ") for each in letters]
        *_, about = labels_of(lambda: pictures._rates(tally), monkeypatch)
        assert (wanted in about) == bool(wanted), (letters, about)


@pytest.mark.slow
def test_quotes_are_those_of_the_book_at_their_times(day: Path) -> None:
    with History.open(day) as history:
        rows = concatenate([owned_rows(block.rows) for block in history.blocks()], COMMAND)
    engine = Engine(SMALL)
    books: dict[int, tuple[int, int, int, int]] = {}  # by time, after its last command
    for at in range(len(rows)):
        engine.apply(owned_rows(rows[at : at + 1].tobytes()))
        orders = engine.open_orders(1) if len(engine.directory.symbols) else None
        if orders is None or not engine.now_ns:
            continue
        sides = [[each for each in levels(orders, side) if each.price_e4] for side in (Side.BUY, Side.SELL)]
        best = [side[0].price_e4 if side else 0 for side in sides]
        qty = [sum(each.qty - each.reserve_qty - each.hidden_qty for each in side[:DEPTH_LEVELS]) for side in sides]
        books[engine.now_ns] = best[0], best[1], qty[0], qty[1]
    times = sorted(books)
    grid = (*(times[at] - 1 for at in range(1, len(times), 2)), times[-1])
    course = Course(day, 1, COMMANDS, ("I1",), grid)
    for _ in course.pieces():
        pass
    quotes = course.quotes[1]
    assert len(quotes) > 5
    assert [each.time_ns for each in quotes] == sorted(each.time_ns for each in quotes)
    assert all(tuple(each[1:]) == books[each.time_ns] for each in quotes)
    assert any(each.bid_e4 and each.offer_e4 for each in quotes)


def test_events_that_are_kept_give_the_same_figures_as_a_replay(day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def facts() -> dict[str, Any]:
        course = Course(day, 777, 2_222)
        figures = Figures(777)
        for piece in course.pieces():
            figures.take(piece)
        return figures.facts(course.names)

    replayed = facts()
    monkeypatch.setattr("incidents.course.RULES_VERSION", 0)
    assert facts() == replayed


def test_latencies_are_those_that_are_recorded(day: Path) -> None:
    def times_of(seqs: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        names = ("received_ns", "read_ns", "sequenced_ns", "applied_ns", "journaled_ns", "answered_ns")
        found = np.zeros(len(seqs), [(name, "<i8") for name in names])
        known = seqs % 3 > 0
        for place, name in enumerate(names):
            found[name][known] = 1_000_000 + seqs[known] * place
        return found

    figures = Figures(1, times_of=times_of)
    course = Course(day, 1, COMMANDS)
    seqs = []
    for piece in course.pieces():
        figures.take(piece)
        kinds = piece.play.commands["kind"]
        seqs += (piece.play.first_seq + np.flatnonzero((kinds >= 8) & (kinds <= 10))).tolist()
    latencies = figures.facts(course.names)["latencies"]
    known = sorted(seq for seq in seqs if seq % 3)
    assert (latencies["recorded"], latencies["not_recorded"]) == (len(known), len(seqs) - len(known))
    stages = {each["stage"]: each for each in latencies["stages"]}
    whole = stages["received to answered"]
    assert whole["p50_ns"] == 5 * known[-(-len(known) // 2) - 1]
    assert whole["max_ns"] == 5 * known[-1]
    assert stages["sequenced to journaled"]["max_ns"] == 2 * known[-1]
    assert figures.latencies[1].tolist() == [5 * seq for seq in known]
    assert percentiles(np.zeros(0, np.int64))["p50_ns"] is None


def test_a_report_beside_a_writer_is_that_of_the_stopped_directory(
    day: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    before = told(lockstep, day, tmp_path / "before.md")
    with Journal.open(day):
        beside = told(lockstep, day, tmp_path / "beside.md")
    assert beside | {"files": []} == before | {"files": []}


def test_a_replay_that_differs_from_the_record_is_said_and_has_status_1(
    day: Path, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Journal.digest
    wrong = {501: bytes(16)}
    monkeypatch.setattr(Journal, "digest", lambda journal, seq: wrong.get(seq) or recorded(journal, seq))
    facts = told(lockstep, day, tmp_path / "r.md", "--from", "450", "--to", "900", status=1)
    assert facts["proof"]["divergence"] == "the replay differs from the record in commands 501 to 600"
    assert "commands 501 to 600" in (tmp_path / "r.md").read_text()


def test_bad_arguments_have_a_sentence_and_write_nothing(day: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "there.html").write_text("x")
    (tmp_path / "empty").mkdir()
    journal, _ = create(tmp_path / "new", SMALL, durability="none")
    journal.close()
    out = str(tmp_path / "r.md")
    for words, says in (
        ([str(day), "--out", str(tmp_path / "r.pdf")], "end it with .html"),
        ([str(day), "--out", str(tmp_path / "there.html")], "exists already"),
        ([str(day), "--out", str(tmp_path / "no" / "r.md")], "is no folder"),
        ([str(day), "--out", out, "--symbol", "NONE"], "no instrument NONE"),
        ([str(day), "--out", out, "--symbol", "TOO LONG FOR ONE"], "not a valid instrument name"),
        ([str(day), "--out", out, "--from", "9", "--to", "8"], "are no range"),
        ([str(day), "--out", out, "--to", "99999"], "there is no command 99,999"),
        ([str(day), "--out", out, "--from", "1999-01-01T00:00", "--to", "1999-01-02T00:00"], "has no command from"),
        ([str(tmp_path / "empty"), "--out", out], "holds no journal"),
        ([str(tmp_path / "new"), "--out", out], "is empty"),
    ):
        status, said, complaint = lockstep("incident", *words, "--no-pictures")
        assert (status, said) == (2, ""), (words, complaint)
        assert says in complaint, complaint
        assert len(complaint.splitlines()) == 1, complaint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "new", "there.html"]


def test_a_picture_of_another_report_is_not_written_over_nor_removed(tmp_path: Path) -> None:
    """It was written over, and removed where the new report failed."""
    there = tmp_path / "report-XYZ.png"
    there.write_bytes(b"of another report")
    pictures = [Picture("report-rates.png", "rates", b"png"), Picture(there.name, "XYZ", b"png")]
    with pytest.raises(WrongUse, match="File exists") as caught:
        incident._write(tmp_path / "report.md", "text", pictures)
    assert str(there) in str(caught.value)
    assert (there.read_bytes(), list(tmp_path.iterdir())) == (b"of another report", [there])


def test_a_report_for_which_there_is_no_room_leaves_no_picture_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        path.touch()  # as a full disk does: the file is there, and has nothing
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    pictures = [Picture("report-rates.png", "rates", b"png"), Picture("report-XYZ.png", "XYZ", b"png")]
    for method in ("write_text", "write_bytes"):
        monkeypatch.setattr(Path, method, full)
        with pytest.raises(WrongUse, match="cannot be written: No space left on device"):
            incident._write(tmp_path / "report.md", "text", pictures)
        assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_a_sentence_says_what_to_install(
    story: Path, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib" or name == "incidents.pictures"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, complaint = lockstep("incident", str(story), "--out", str(tmp_path / "r.md"))
    assert status == 2
    assert "pip install 'lockstep[incident]'" in complaint
    assert "--no-pictures" in complaint
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_markup_stay_text() -> None:
    parts = [Heading("<b>", 1), Paragraph("a & b | *c*"), Table(("x|y",), (("<i>|`",),)), Picture("p.png", '"q"', b"1")]
    web, text = as_html(parts), as_markdown(parts)
    assert "<h1>&lt;b&gt;</h1>" in web
    assert "<td>&lt;i&gt;|`</td>" in web
    assert 'alt="&quot;q&quot;"' in web
    assert "# \\<b\\>" in text
    assert "a & b \\| \\*c\\*" in text
    assert "| \\<i\\>\\|\\` |" in text
