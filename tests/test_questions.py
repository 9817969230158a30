"""`lockstep ask`: named questions by DuckDB against plain readings of the same day, and against other commands."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("duckdb", reason="the extra ask is not installed")
pytest.importorskip("pyarrow", reason="the extra ask is not installed")

from cli.questions.ask import _cell
from exports.answer_text import cells
from exports.manifest import read_manifest
from exports.questions import QUESTIONS, Answers
from notation.moments import moment_text
from tests.conftest import Lockstep
from tests.nodes import TINY
from tests.question_day import write_day

Fact = dict[str, Any]
DAY = "2024-01-15"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generated day and its export in Parquet."""
    from cli.main import run_line

    folder = tmp_path_factory.mktemp("questions")
    write_day(folder / "node", checkpoint_every=500)
    assert run_line(["export", str(folder / "node"), "--format", "parquet", "--out", str(folder / "day")]) == 0
    return folder


def told(lockstep: Lockstep, *words: object) -> list[Fact]:
    status, said, complaint = lockstep(*words, "--json")
    assert status == 0, complaint
    return [json.loads(line) for line in said.splitlines()]


def asked(lockstep: Lockstep, place: Path, question: str, **values: object) -> list[Fact]:
    more = [word for name, value in values.items() for word in ("--with", f"{name.rstrip('_')}={value}")]
    return told(lockstep, "ask", place / "day", question, *more)


@pytest.fixture
def reports(place: Path, lockstep: Lockstep) -> list[Fact]:
    return told(lockstep, "events", place / "node", "--reports")


@pytest.mark.slow
def test_every_question_answers_and_is_listed(place: Path, lockstep: Lockstep) -> None:
    given = {"order": 400, "participant": "P2", "symbol": "I1", "day": DAY, "a": "P1", "b": "P3"}
    for name, question in QUESTIONS.items():
        values = {key: given[key] for key, value in question.values.items() if value is None}
        assert asked(lockstep, place, name, **values) or name == "ahead", name
        status, said, _ = lockstep("ask", place / "day", name, *_words(values))
        assert (status, said.splitlines()[-1].split()[-1] in ("row", "rows")) == (0, True)
    assert [each["name"] for each in told(lockstep, "ask")] == list(QUESTIONS)
    assert all(name in lockstep("ask")[1] for name in QUESTIONS)


def _words(values: dict[str, Any]) -> list[str]:
    return [word for name, value in values.items() for word in ("--with", f"{name}={value}")]


@pytest.mark.slow
def test_a_question_about_an_order_answers_as_its_listed_query_whose_bounds_are_not_looked_up_first(
    place: Path,
) -> None:
    answers = Answers(place / "day", read_manifest(place / "day"))
    try:
        for name in ("order", "ahead"):
            _, found = answers.ask("SELECT count(*) FROM orders", {})
            orders = next(found)[0]
            for order in range(1, orders + 2, 111):
                of_listed = list(answers.ask(QUESTIONS[name].sql, {"order": order})[1])
                assert list(answers.ask_named(name, {"order": order})[1]) == of_listed, (name, order)
        assert list(answers.ask_named("order", {"order": orders + 1})[1]) == []
        _, outside = answers.ask(
            "SELECT count(*) FROM reports r JOIN orders o USING (order_number) WHERE r.order_number > 0 "
            "AND (r.seq < o.entry_seq OR (o.end_seq > 0 AND r.seq > o.end_seq))",
            {},
        )
        assert next(outside) == (0,)
        halts = QUESTIONS["halts"].sql
        assert list(answers.ask(halts, {})[1]) == list(answers.ask(halts.replace("events_files", "events"), {})[1])
    finally:
        answers.close()


@pytest.mark.slow
def test_a_question_that_reads_a_part_of_the_rows_answers_as_its_listed_query_of_all(place: Path) -> None:
    facts = read_manifest(place / "day")
    last_seq, names = facts["last_seq"], facts["participants"]
    values: dict[str, list[dict[str, Any]]] = {
        "participant": [
            {"participant": name, "from": first, "to": last}
            for name in [*names, "", "NOBODY"]
            for first, last in ((1, 2**62), (last_seq // 3, last_seq // 2))
        ],
        "cancels": [{"participant": name, "within_ms": 10**7} for name in names],
        "symbol": [{"symbol": name, "day": DAY} for name in [*facts["symbols"], "", "NONE"]],
        "book": [{"symbol": name, "seq": seq} for name in facts["symbols"] for seq in (0, 1, last_seq // 2, 2**62)],
        "ahead": [{"order": order} for order in (*range(1, 600, 45), 10**9)],
        "otr": [{}],
    }
    assert set(values) == {name for name, question in QUESTIONS.items() if question.reads}
    answers = Answers(place / "day", facts)
    try:
        for name, each in values.items():
            rows = 0
            for given in each:
                of_all = list(answers.ask(QUESTIONS[name].sql, given)[1])
                assert list(answers.ask_named(name, given)[1]) == of_all, (name, given)
                rows += len(of_all)
            assert rows, name
    finally:
        answers.close()


@pytest.mark.parametrize(
    ("question", "value", "known"),
    [
        ("between", {"a": "P1", "b": "NOBODY"}, "--with b: there is no participant NOBODY in"),
        ("between", {"a": "7", "b": "P1"}, "--with a: there is no participant 7 in"),
        ("participant", {"participant": "P"}, "--with participant: there is no participant P in"),
        ("symbol", {"symbol": "NONE", "day": DAY}, "--with symbol: there is no instrument NONE in"),
    ],
)
def test_a_name_that_the_export_has_not_is_refused_in_place_of_an_empty_answer(
    place: Path, lockstep: Lockstep, question: str, value: dict[str, Any], known: str
) -> None:
    status, said, sentence = lockstep("ask", place / "day", question, *_words(value))
    assert (status, said, known in sentence) == (2, "", True), sentence
    assert "; participants are P1, P2" in sentence or "; instruments are I1, I2" in sentence


def test_clock_values_in_an_answer_are_times_for_people_and_numbers_for_programs(
    place: Path, lockstep: Lockstep
) -> None:
    sql = "SELECT seq, time_ns, 0 AS end_time_ns, 1500 AS after_ns FROM trades ORDER BY seq LIMIT 1"
    (fact,) = told(lockstep, "ask", place / "day", sql)
    assert type(fact["time_ns"]) is int
    heads, cells, _ = lockstep("ask", place / "day", sql)[1].splitlines()
    assert heads.split() == ["seq", "time", "end_time", "after_ns"]
    assert cells.split() == [f"{fact['seq']:,}", moment_text(fact["time_ns"]), "1,500"]


def test_a_time_that_the_last_day_has_not_reached_is_told(lockstep: Lockstep, tmp_path: Path) -> None:
    (tmp_path / "night.txt").write_text(
        "at 2024-01-15T23:50:00\ninstrument XYZ tick=0.01 lot=1 reference=10.00\nparticipant ALPHA\n"
        "phase XYZ continuous\nenter ALPHA a1 buy 100 XYZ @ 10.00 tif=gtc\nat 2024-01-16T00:05:00\ncancel ALPHA a1\n"
    )
    assert lockstep("run", tmp_path / "night.txt", "--data", tmp_path / "node")[0] == 0
    assert lockstep("export", tmp_path / "node", "--format", "parquet", "--out", tmp_path / "night")[0] == 0
    words = ("ask", tmp_path / "night", "participant", "--with", "participant=ALPHA", "--with")
    status, said, note = lockstep(*words, "from=23:55")
    assert (status, said.splitlines()[-1]) == (0, "0 rows")
    assert note.startswith("note: 23:55 is of the day of the last command, 2024-01-16T23:55:00, which is not reached")
    assert note.endswith("such as 2024-01-15T23:55:00\n")
    for when, rows in (("2024-01-15T23:45", 3), ("00:01", 1)):
        _, said, note = lockstep(*words, f"from={when}")
        assert (said.splitlines()[-1].split()[0], note) == (str(rows), ""), when
    _, said, note = lockstep(*words, "from=23:45")
    assert said.splitlines()[-1] == "0 rows"
    assert note == "note: nothing is later than 2024-01-16T00:05:00, and from is 23:45\n"


@pytest.mark.slow
def test_a_table_that_duckdb_writes_is_the_one_that_python_writes(
    place: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"order": 400, "participant": "P2", "symbol": "I1", "day": DAY, "a": "P1", "b": "P3"}
    questions = [(name, {key: given[key] for key in each.values if key in given}) for name, each in QUESTIONS.items()]
    questions += [("participant", {"participant": "P2", "from": 2**61}), ("between", {"a": "P1", "b": "P1"})]
    texts = [lockstep("ask", place / "day", name, *_words(values)) for name, values in questions]
    made = []

    def by_python(_: Answers, name: str, __: dict[str, Any]) -> None:
        made.append(name)

    monkeypatch.setattr(Answers, "lines_of_named", by_python)
    assert [lockstep("ask", place / "day", name, *_words(values)) for name, values in questions] == texts
    assert made == [name for name, _ in questions]
    assert sum(len(said) for _, said, _ in texts) > 10_000


def test_cells_that_duckdb_writes_are_those_that_python_writes(place: Path) -> None:
    values = [
        *range(-10_101, 10_102, 7),
        0,
        1,
        -1,
        9_999,
        10_000,
        100_500,
        999_999_999_999,
        -(2**62),
        2**63 - 1,
        -(2**63),
    ]
    columns = {
        "price_e4": "x::BIGINT",
        "qty": "x::BIGINT",
        "seq": "(x % 30000)::INTEGER",
        "ratio": "round(x / 7, 4)",
        "tiny": "x / 1e9",
        "time": "make_timestamp_ns(1705311000000000000 + (abs(x::HUGEINT) % 1000000000000)::BIGINT * 977)",
        "day": "DATE '2024-01-15' + (x % 900)::INTEGER",
        "name": "CASE WHEN x % 2 = 0 THEN 'S' || x ELSE '' END",
    }
    missing = [f"CASE WHEN x % 5 = 0 THEN NULL ELSE {each} END AS {name}" for name, each in columns.items()]
    answers = Answers(place / "day", read_manifest(place / "day"))
    try:
        answers.ask(f"CREATE TEMP TABLE t AS SELECT {', '.join(missing)} FROM (SELECT unnest({values}) AS x)", {})
        kinds = [(row[0], row[1]) for row in answers.ask("DESCRIBE t", {})[1]]
        made = cells(kinds)
        assert made is not None
        rows = list(answers.ask("SELECT * FROM t", {})[1])
        found = list(answers.ask(f"SELECT {', '.join(made)} FROM t", {})[1])
        for at, (name, _) in enumerate(kinds):
            by_python = [_cell(row[at], is_price=name.endswith("_e4")) for row in rows]
            assert [row[at] for row in found] == by_python, name
        assert cells([("other", "HUGEINT")]) is None
    finally:
        answers.close()


def test_an_answer_has_no_bar_of_progress_in_it(place: Path, lockstep: Lockstep) -> None:
    (shown,) = told(lockstep, "ask", place / "day", "SELECT current_setting('enable_progress_bar') AS bar")
    assert shown == {"bar": False}


@pytest.mark.slow
def test_the_life_of_an_order(place: Path, lockstep: Lockstep, reports: list[Fact]) -> None:
    counts = Counter(each["order_number"] for each in reports if each["order_number"])
    number, _ = counts.most_common(1)[0]
    rows = asked(lockstep, place, "order", order=number)
    own = [each for each in reports if each["order_number"] == number]
    keys = ("seq", "kind", "leaves_qty", "last_qty")
    assert [[row[key] or None for key in keys] for row in rows] == [[each[key] or None for key in keys] for each in own]
    assert len(rows) > 3


@pytest.mark.slow
def test_all_of_a_participant_in_a_range(place: Path, lockstep: Lockstep, reports: list[Fact]) -> None:
    rows = asked(lockstep, place, "participant", participant="P2", from_=500, to=1_500)
    own = [each for each in reports if each["participant"] == "P2" and 500 <= each["seq"] <= 1_500]
    assert [(row["seq"], row["kind"]) for row in rows] == [(each["seq"], each["kind"]) for each in own]
    assert len(rows) > 50


@pytest.mark.slow
def test_all_events_of_a_symbol(place: Path, lockstep: Lockstep) -> None:
    rows = asked(lockstep, place, "symbol", symbol="I1", day=DAY)
    events = [each for each in told(lockstep, "events", place / "node") if each["symbol"] == "I1"]
    assert [(row["seq"], row["kind"]) for row in rows] == [(each["seq"], each["kind"]) for each in events]
    assert asked(lockstep, place, "symbol", symbol="I1", day="2024-01-16") == []


@pytest.mark.parametrize("seq", [700, 1_600, 3_000])
def test_the_book_after_a_command(seq: int, place: Path, lockstep: Lockstep) -> None:
    for symbol in ("I1", "I2"):
        (book,) = told(lockstep, "book", place / "node", symbol, "--at", seq, "--depth", 10_000)
        rows = asked(lockstep, place, "book", symbol=symbol, seq=seq)
        found = sorted(
            (row["side"], row["price_e4"] or 0, row["displayed_qty"], row["leaves_qty"], row["orders"]) for row in rows
        )
        expected = [
            (
                side,
                level["price_e4"] or 0,
                level["qty"] - level["reserve_qty"] - level["hidden_qty"],
                level["qty"],
                level["orders"],
            )
            for side, key in (("buy", "bids"), ("sell", "offers"))
            for level in book[key]
        ]
        assert found == sorted(expected)


def test_all_trades_between_two(place: Path, lockstep: Lockstep) -> None:
    rows = asked(lockstep, place, "between", a="P1", b="P3")
    events = told(lockstep, "events", place / "node", "--kind", "trade")
    both = [each for each in events if {each["buy_participant"], each["sell_participant"]} == {"P1", "P3"}]
    assert [row["trade_number"] for row in rows] == [each["trade_number"] for each in both]
    assert rows


@pytest.mark.slow
def test_cancels_after_own_trades(place: Path, lockstep: Lockstep, reports: list[Fact]) -> None:
    rows = asked(lockstep, place, "cancels", participant="P2", within_ms=500)
    found = []
    newest: dict[tuple[str, str], Fact] = {}
    times = {row["seq"]: row["time_ns"] for row in asked(lockstep, place, "SELECT seq, time_ns FROM reports")}
    for each in reports:
        if each["participant"] != "P2":
            continue
        if each["kind"] == "trade":
            newest[each["symbol"], each["side"]] = each
        elif each["kind"] == "canceled" and each["reason"] == "user":
            trade = newest.get((each["symbol"], {"buy": "sell", "sell": "buy"}[each["side"]]))
            if trade is not None and times[each["seq"]] - times[trade["seq"]] <= 500_000_000:
                found.append((each["seq"], times[each["seq"]] - times[trade["seq"]]))
    assert [(row["seq"], row["after_ns"]) for row in rows] == found
    assert len(found) > 3


@pytest.mark.slow
def test_orders_to_trades(place: Path, lockstep: Lockstep, reports: list[Fact]) -> None:
    orders: Counter[tuple[str, str]] = Counter()
    trades: Counter[tuple[str, str]] = Counter()
    for each in reports:
        if each["kind"] in ("new", "replaced"):
            orders[each["participant"], each["symbol"]] += 1
        elif each["kind"] == "trade":
            trades[each["participant"], each["symbol"]] += 1
    rows = {(row["participant"], row["symbol"]): row for row in asked(lockstep, place, "otr")}
    assert {key: (row["orders"], row["trades"]) for key, row in rows.items()} == {
        key: (count, trades[key]) for key, count in orders.items()
    }
    for key, row in rows.items():
        assert row["ratio"] == pytest.approx(orders[key] / max(trades[key], 1) - 1, abs=1e-4)


def test_bars_and_their_average(place: Path, lockstep: Lockstep) -> None:
    times = asked(lockstep, place, "SELECT trade_number, time_ns, symbol, price_e4, qty FROM trades ORDER BY ALL")
    spans: dict[tuple[str, int], list[Fact]] = defaultdict(list)
    for each in times:
        spans[each["symbol"], each["time_ns"] // (10 * 10**9)].append(each)
    expected = []
    for (symbol, _), each in sorted(spans.items()):
        prices, shares = [one["price_e4"] for one in each], sum(one["qty"] for one in each)
        paid = sum(one["price_e4"] * one["qty"] for one in each)
        expected.append((symbol, prices[0], max(prices), min(prices), prices[-1], shares, len(each), paid // shares))
    rows = asked(lockstep, place, "bars", seconds=10)
    keys = ("symbol", "open_e4", "high_e4", "low_e4", "last_e4", "shares", "trades", "vwap_e4")
    assert [tuple(row[key] for key in keys) for row in rows] == expected
    assert len(expected) > 5


@pytest.mark.slow
def test_halts_closing_and_counts(place: Path, lockstep: Lockstep, reports: list[Fact]) -> None:
    kinds = ("halted", "killed", "unkilled", "phase")
    events = [each for each in told(lockstep, "events", place / "node") if each["kind"] in kinds]
    assert [row["seq"] for row in asked(lockstep, place, "halts")] == [each["seq"] for each in events] != []
    rows = asked(lockstep, place, "closing", symbol="I1", day=DAY, seconds=100_000)
    own = [each for each in reports if each["kind"] == "trade" and each["symbol"] == "I1"]
    shares: Counter[tuple[str, str]] = Counter()
    for each in own:
        shares[each["participant"], each["side"]] += each["last_qty"]
    assert {(row["participant"], row["side"]): row["shares"] for row in rows} == dict(shares)
    manifest = json.loads((place / "day" / "manifest.json").read_text())
    counts = {row["name"]: row["rows"] for row in asked(lockstep, place, "counts")}
    assert counts == {name: rows for name, rows in manifest["rows"].items() if name != "positions"}


@pytest.mark.slow
def test_who_was_ahead(place: Path, lockstep: Lockstep) -> None:
    found = 0
    for number in range(100, 700, 60):
        (life,) = told(lockstep, "order", place / "node", "--number", number, "--queue")
        ahead = (life["history"][0].get("queue") or {}).get("ahead")
        if ahead is None:
            continue  # it did not rest
        rows = asked(lockstep, place, "ahead", order=number)
        assert sorted(row["order_number"] for row in rows) == sorted(each["order_number"] for each in ahead), number
        found += len(rows)
    assert found


@pytest.mark.slow
def test_a_peg_that_is_priced_later_had_nobody_before_it_when_it_was_entered(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    (tmp_path / "day.txt").write_text(
        """\
        instrument XYZ tick=0.01 lot=1 reference=10.00
        participant ALPHA
        participant BETA
        phase XYZ auction
        enter ALPHA b1 buy 100 XYZ @ 10.00
        enter BETA p1 buy 10 XYZ @ market peg=primary
        phase XYZ continuous
        enter BETA p2 buy 10 XYZ @ market peg=primary
        enter ALPHA b2 buy 100 XYZ @ 10.01
        """
    )
    node, day = tmp_path / "node", tmp_path / "day"
    assert lockstep("run", tmp_path / "day.txt", "--data", node, *map(str, TINY))[0] == 0
    assert lockstep("export", node, "--format", "parquet", "--out", day)[0] == 0
    prices = [(row["client_order_id"], row["last_price_e4"]) for row in asked(lockstep, tmp_path, _PRICED)]
    assert prices == [("p1", 100_000), ("p2", 100_000), ("p1", 100_100), ("p2", 100_100)]
    before = [
        [each["client_order_id"] for each in asked(lockstep, tmp_path, "ahead", order=order)] for order in (1, 2, 3)
    ]
    assert before == [[], [], ["b1", "p1"]]


_PRICED = "SELECT client_order_id, last_price_e4 FROM reports WHERE kind = 'repriced' ORDER BY seq, number"


def test_sql_is_asked_of_a_data_directory_too(place: Path, lockstep: Lockstep) -> None:
    question = "SELECT count(*) AS trades, sum(qty)::BIGINT AS shares FROM trades WHERE day = $day::DATE"
    status, said, notice = lockstep("ask", place / "node", question, "--with", f"day={DAY}", "--json")
    assert (status, "exporting" in notice) == (0, True)
    assert json.loads(said) == asked(lockstep, place, question, day=DAY)[0]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["SELECT nothing FROM trades"], "DuckDB refuses the question"),
        (["nosuch"], "there is no question nosuch"),
        (["order"], "needs --with order=…"),
        (["order", "--with", "ordre=1"], "has no value ordre"),
        (["order", "--with", "17"], "write it as name=value"),
        (["order", "--with", "order=a17"], "--with order is 'a17'; give a number; `lockstep order DIR ID` shows that"),
        (["bars", "--with", "seconds=1m"], "--with seconds is '1m'; give a number"),
    ],
)
def test_wrong_questions_are_refused_in_a_sentence(words: list[str], why: str, place: Path, lockstep: Lockstep) -> None:
    status, said, sentence = lockstep("ask", place / "day", *words)
    assert (status, said, why in sentence) == (2, "", True), sentence


def test_a_table_that_was_not_exported_is_named(place: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    out = tmp_path / "some"
    assert lockstep("export", place / "node", "--format", "parquet", "--only", "trades", "--out", out)[0] == 0
    assert lockstep("ask", out, "SELECT count(*) FROM trades")[0] == 0, "the control"
    status, said, sentence = lockstep("ask", out, "order", "--with", "order=1")
    assert (status, said, "this export has only the tables events, trades" in sentence) == (2, "", True), sentence


def test_another_form_is_refused_in_a_sentence(place: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    assert lockstep("export", place / "node", "--out", tmp_path / "csv")[0] == 0
    for folder, why in ((tmp_path / "csv", "--format parquet"), (tmp_path, "is not empty and has no journal")):
        status, said, sentence = lockstep("ask", folder, "counts")
        assert (status, said, why in sentence) == (2, "", True), sentence


@pytest.mark.slow
def test_a_range_between_times_answers_as_the_range_of_their_commands(place: Path, lockstep: Lockstep) -> None:
    commands = told(lockstep, "commands", place / "node")
    times = sorted({each["time"] for each in commands if each["time"]})
    begin, end = times[len(times) // 3], times[len(times) // 2]
    first = min(each["seq"] for each in commands if each["time"] and each["time"] >= begin)
    last = max(each["seq"] for each in commands if each["time"] and each["time"] <= end)
    wanted = asked(lockstep, place, "participant", participant="P2", from_=first, to=last)
    assert 20 < len(wanted) < len(asked(lockstep, place, "participant", participant="P2"))
    hour = int(begin[11:13])
    for from_, to in (
        (begin, end),
        (begin.removesuffix("Z"), end[11:-1]),  # of the day of the newest clock value
        (f"{begin[:11]}{hour + 2:02}{begin[13:-1]}+02:00", last),
        (first, end.replace("T", " ")),
    ):
        assert asked(lockstep, place, "participant", participant="P2", from_=from_, to=to) == wanted, (from_, to)
    for at, seq in ((end, last), (times[0], 2), ("23:59:59", 10**9), ("00:00", 0)):
        assert asked(lockstep, place, "book", symbol="I1", seq=at) == asked(
            lockstep, place, "book", symbol="I1", seq=seq
        )
    assert asked(lockstep, place, "book", symbol="I1", seq=end), "the control: a book with orders"
    assert asked(lockstep, place, "participant", participant="P2", from_="23:59:59") == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["from=noon"], "--with from: 'noon' is neither a sequence number nor a time"),
        (["to=2024-01-15"], "'2024-01-15' is a date without a time of day"),
        (["to=25:00"], "'25:00' is no time"),
        (["from=09:30+99:00"], "'09:30+99:00' is no time"),
        (["from=9", "to=8"], "--with from=9 comes after --with to=8"),
        (["from=10:00", "to=09:59:59"], "--with from=10:00 comes after --with to=09:59:59"),
    ],
)
def test_what_is_no_range_of_a_question_is_told(
    words: list[str], complaint: str, place: Path, lockstep: Lockstep
) -> None:
    given = [word for each in ("participant=P2", *words) for word in ("--with", each)]
    status, said, sentence = lockstep("ask", place / "day", "participant", *given)
    assert (status, said, sentence.count("\n")) == (2, "", 1)
    assert complaint in sentence
