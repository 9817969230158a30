"""`lockstep order DIR TOKEN` on rows that a gateway wrote: long tokens stand in EXTEND rows, ids are a mix of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from cli.inspect.view import texts_of, with_words
from cli.questions.tokens import TokensBeside
from engine.names import unpack
from engine.records import COMMAND
from engine.row_bytes import ROW
from gateway.fix import marks, names
from gateway.ouch.context import order_id
from journal import JournalError
from journal.history import History
from tests.conftest import Lockstep
from tests.json_schemas import checked


def mixed(token: str) -> str:
    """The client order id of a token, as the notation writes it."""
    return unpack(order_id(token.encode().ljust(14)))


FIRST, SECOND, OTHER = "alice-00000017", "alice-00000018", "USER2-0001"
TEXT = f"""\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA {mixed(FIRST)} buy 100 XYZ @ 9.00 token={FIRST}
enter ALPHA {mixed(FIRST)} buy 100 XYZ @ 9.00 token={FIRST}
enter BETA {mixed(OTHER)} sell 30 XYZ @ 9.00 token={OTHER}
replace ALPHA {mixed(FIRST)} {mixed(SECOND)} 80 @ 9.01 token={FIRST} new_token={SECOND}
cancel ALPHA {mixed(SECOND)} token={SECOND}
cancel BETA {mixed("never-entered")} token=never-entered
enter BETA {mixed("my_order")} sell 30 XYZ @ 9.00
"""


@pytest.fixture(params=[1, 2, 1024])
def node(request: pytest.FixtureRequest, tmp_path: Path, lockstep: Lockstep) -> Path:
    """A data directory with TEXT in it, in blocks of several sizes: a pair of rows may be cut by a block's end."""
    (tmp_path / "day.txt").write_text(TEXT)
    made = lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", "--block-rows", request.param)
    assert made[0] == 0, made
    return tmp_path / "node"


def test_an_order_is_followed_from_each_of_its_long_tokens_and_shown_with_them(node: Path, lockstep: Lockstep) -> None:
    for token in (FIRST, SECOND):
        status, said, complaint = lockstep("order", node, token)
        assert status == 0, complaint
        assert said.startswith("order 1 of ALPHA: buy 100 XYZ @ 9.00; traded 30, closed\n")
        for event in (
            f"accepted {FIRST}",
            f"rejected {FIRST} reason=duplicate_id",
            f"trade XYZ 30 @ 9.00 resting={FIRST} incoming={OTHER}",
            f"replaced {FIRST} {SECOND} qty=50",
            f"canceled {SECOND} qty=50 reason=user",
        ):
            assert event in said
        assert "~" not in said


def test_the_id_of_a_token_gives_the_same_answer_as_the_token(node: Path, lockstep: Lockstep) -> None:
    assert lockstep("order", node, mixed(FIRST))[1] == lockstep("order", node, FIRST)[1] != ""


def test_json_names_the_token_of_each_id_and_leaves_the_events_as_they_are(node: Path, lockstep: Lockstep) -> None:
    life = json.loads(lockstep("order", node, SECOND, "--json")[1].splitlines()[0])
    assert life["tokens"] == [
        {"client_order_id": mixed(token), "token": token} for token in dict.fromkeys((FIRST, OTHER, SECOND))
    ]
    assert [moment["event"]["client_order_id"] for moment in life["history"][:1]] == [mixed(FIRST)]


def test_a_token_that_reached_no_order_has_its_refusal(node: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("order", node, "never-entered")
    assert status == 0
    assert "rejects of BETA that changed no order" in said
    assert "cancel_rejected never-entered reason=unknown_order" in said


def test_a_short_token_beyond_the_characters_of_an_id_is_its_own_id(node: Path, lockstep: Lockstep) -> None:
    status, said, _ = lockstep("order", node, "my_order")
    assert status == 0
    assert "accepted my_order" in said


@pytest.mark.parametrize("word", ["nobody-bore-it", "alice-0000001", "*", "ALICE-00000017"])
def test_a_token_that_nobody_used_is_told(word: str, node: Path, lockstep: Lockstep) -> None:
    status, said, complaint = lockstep("order", node, word)
    assert (status, said) == (2, "")
    assert f"ever had the id or token {word}" in complaint


@pytest.mark.parametrize("word", ["x" * 65, "an id of sixteen", "tab\there", "größe", "größe-und-noch-mehr"])
def test_what_is_neither_id_nor_token_is_refused_with_what_is(word: str, tmp_path: Path, lockstep: Lockstep) -> None:
    status, said, complaint = lockstep("order", tmp_path, word)
    assert (status, said) == (2, "")
    assert "a token 1 to 14 printable ones" in complaint


@pytest.mark.parametrize("text", ["550e8400-e29b-41d4-a716-446655440000", "fifteen-letters", "x" * 64])
def test_an_order_is_found_by_a_cl_ord_id_of_fix_that_is_too_long_to_be_a_token(
    text: str, tmp_path: Path, lockstep: Lockstep
) -> None:
    raw = unpack(names.id_of(text.encode()))
    (tmp_path / "day.txt").write_text(f"""\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
phase XYZ continuous
enter ALPHA {raw} buy 100 XYZ @ 9.00
enter ALPHA a1 buy 7 XYZ @ 9.00
""")
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", "--engine", "reference")[0] == 0
    status, said, _ = lockstep("order", tmp_path / "node", text)
    assert status == 0
    assert said.startswith("order 1 of ALPHA: buy 100 XYZ @ 9.00; traded 0, open 100")
    assert "order 2" not in said
    status, _, complaint = lockstep("order", tmp_path / "node", text[:-1] + "?")
    assert (status, "ever had the id or token" in complaint) == (2, True)


LONG, LONGER = "550e8400-e29b-41d4-a716-446655440000", "x" * 60 + "last"
OF_FIX = "~tilde", "~0123456789abcdef", "~0000000000000"


def named(text: str) -> str:
    """Lines of the marks that say a long ClOrdID, as a gateway of FIX writes them for user 1."""
    lines = []
    for extend, mark in marks.name_rows(1, 1, text.encode()):
        qty, context = ROW.unpack(mark)[3], ROW.unpack(mark)[1]
        lines.append(f"raw {extend.hex()}\ncancel ALPHA ~0000000000000000 qty={qty} context={context:016x}\n")
    return "".join(lines)


def of_id(text: str) -> str:
    return unpack(names.id_of(text.encode()))


@pytest.fixture(params=[1, 3, 1024])
def fix_node(request: pytest.FixtureRequest, tmp_path: Path, lockstep: Lockstep) -> Path:
    """A data directory with orders of FIX, in blocks of several sizes; each EXTEND row has 14 characters of an id."""
    head = f"token={LONG[:14]}"
    (tmp_path / "day.txt").write_text(f"""\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
phase XYZ continuous
{named(LONG)}enter ALPHA {of_id(LONG)} buy 100 XYZ @ 9.00 context=2000000000030001 {head}
{named(LONGER)}replace ALPHA {of_id(LONG)} {of_id(LONGER)} 80 @ 9.01 {head} new_token={LONGER[:14]}
enter ALPHA {of_id(OF_FIX[0])} buy 1 XYZ @ 8.00
{named(OF_FIX[1])}enter ALPHA {of_id(OF_FIX[1])} buy 2 XYZ @ 8.00 token=~{OF_FIX[1][:14].encode().hex()}
enter ALPHA {of_id(OF_FIX[2])} buy 3 XYZ @ 8.00 token=~{OF_FIX[2].encode().hex()}
""")
    made = lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", "--block-rows", request.param)
    assert made[0] == 0, made
    return tmp_path / "node"


def test_a_long_cl_ord_id_is_printed_whole(fix_node: Path, lockstep: Lockstep) -> None:
    """It was its first 14 characters, which those of other orders may share."""
    for text in (LONG, LONGER):
        status, said, complaint = lockstep("order", fix_node, text)
        assert status == 0, complaint
        assert f"accepted {LONG} " in said
        assert f"replaced {LONG} {LONGER} qty=80" in said
    life = json.loads(lockstep("order", fix_node, LONG, "--json")[1].splitlines()[0])
    assert life["tokens"] == [{"client_order_id": of_id(each), "token": each} for each in (LONG, LONGER)]
    told = lockstep("events", fix_node)[1]
    assert f"> replaced {of_id(LONG)} {of_id(LONGER)} qty=80  # ALPHA; {LONG}, {LONGER}\n" in told


def test_a_running_print_learns_the_texts_of_long_cl_ord_ids(fix_node: Path) -> None:
    tokens = TokensBeside(fix_node)
    with History.open(fix_node) as history:
        for block in history.blocks(1):
            tokens.learn(np.frombuffer(bytes(block.rows), COMMAND))
    assert [tokens.token(names.id_of(each.encode())) for each in (LONG, LONGER, *OF_FIX)] == [LONG, LONGER, *OF_FIX]


@pytest.mark.parametrize("at", range(3))
def test_an_id_of_fix_that_begins_with_a_tilde_is_found(fix_node: Path, lockstep: Lockstep, at: int) -> None:
    """A tilde and digits are the raw form of another id too."""
    status, said, complaint = lockstep("order", fix_node, OF_FIX[at])
    assert status == 0, complaint
    assert f"buy {at + 1} XYZ @ 8.00" in said
    assert f"accepted {OF_FIX[at]} " in said
    assert lockstep("order", fix_node, of_id(OF_FIX[at]))[1] == said


def test_events_have_the_tokens_of_their_ids_in_the_comment_and_stay_notation(node: Path, lockstep: Lockstep) -> None:
    said = lockstep("events", node, "--from", 6)[1].splitlines()
    assert said == [
        f"> accepted {mixed(FIRST)}  # ALPHA; {FIRST}",
        f"> rejected {mixed(FIRST)} reason=duplicate_id  # ALPHA; {FIRST}",
        f"> accepted {mixed(OTHER)}  # BETA; {OTHER}",
        f"> trade XYZ 30 @ 9.00 resting={mixed(FIRST)} incoming={mixed(OTHER)}  # ALPHA, BETA; {FIRST}, {OTHER}",
        f"> replaced {mixed(FIRST)} {mixed(SECOND)} qty=50  # ALPHA; {FIRST}, {SECOND}",
        f"> canceled {mixed(SECOND)} qty=50 reason=user  # ALPHA; {SECOND}",
        f"> cancel_rejected {mixed('never-entered')} reason=unknown_order  # BETA; never-entered",
        f"> accepted {mixed('my_order')}  # BETA; my_order",
    ]
    # Also those whose token stands before the range.
    (canceled,) = [
        line for line in lockstep("events", node, "--kind", "canceled")[1].splitlines() if "canceled" in line
    ]
    assert canceled.endswith(f"# ALPHA; {SECOND}")
    assert (
        said[-3:] == [line for line in lockstep("commands", node, "--with-events")[1].splitlines() if ">" in line][-3:]
    )


def test_why_and_book_show_tokens_in_place_of_ids(node: Path, lockstep: Lockstep) -> None:
    status, said, complaint = lockstep("why", node, "--order", OTHER)
    assert (status, complaint.count("defect")) == (0, 0)
    assert f"> trade XYZ 30 @ 9.00 resting={FIRST} incoming={OTHER}  # ALPHA, BETA (rulebook" in said
    assert f"  enter BETA {OTHER} sell 30 XYZ @ 9.00" in said
    assert "~" not in said
    book = lockstep("book", node, "XYZ", "--orders")[1]
    assert "my_order" in book
    assert "~" not in book


def test_tokens_of_a_damaged_journal_are_left_out_and_the_answer_stays(
    node: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lockstep("events", node)[1]

    def damaged(*_: object) -> object:
        raise JournalError("damaged")

    monkeypatch.setattr("cli.questions.tokens._named", damaged)
    said = lockstep("events", node)[1]
    assert [line.partition("  #")[0] for line in said.splitlines()] == [
        line.partition("  #")[0] for line in whole.splitlines()
    ]
    assert f"> accepted {mixed(FIRST)}  # ALPHA\n" in said
    assert lockstep("book", node, "XYZ", "--orders")[0] == 0


def test_commands_have_the_short_tokens_in_the_comment_and_say_the_long_ones(node: Path, lockstep: Lockstep) -> None:
    *_, long, short = lockstep("commands", node)[1].splitlines()
    assert long == f"cancel BETA {mixed('never-entered')} token=never-entered"
    assert short == f"enter BETA {mixed('my_order')} sell 30 XYZ @ 9.00  # my_order"


@pytest.mark.parametrize("options", [[], ["--commands"], ["--commands", "--with-events"]], ids=str)
def test_tail_has_the_tokens_that_events_and_commands_have(
    options: list[str], node: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "commands" if options else "events"
    last_seq = lockstep("commands", node, "--with-seq")[1].split()[-2]
    wanted = lockstep(command, node, "--from", 6, "--to", last_seq, *options[1:])[1]
    assert "my_order" in wanted
    told = lockstep("tail", node, "--from", 6, "--to", last_seq, *options)
    assert told[:2] == (0, wanted)

    # Of a running node the journal that was read ends before what comes: those rows are learned as they pass.
    monkeypatch.setattr("cli.questions.tokens.TokensBeside.read", lambda _: None)
    assert lockstep("tail", node, "--from", 6, "--to", last_seq, *options)[1] == wanted
    monkeypatch.setattr("cli.questions.tokens.TokensBeside.learn", lambda *_: None)
    said = lockstep("tail", node, "--from", 6, "--to", last_seq, *options)[1]
    assert (said == wanted) == (options == ["--commands"]), "the control: nothing is known"


def test_a_tail_that_passed_many_tokens_reads_them_again(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.questions.tokens._PASSED_MAX", 1)
    tokens = TokensBeside(node)
    with History.open(node) as history:
        for block in history.blocks(1):
            tokens.learn(np.frombuffer(block.rows, COMMAND))
            assert len(tokens._passed) <= max(2 * len(block.rows) // 64, 1)  # a replace has two
    for token in (FIRST, SECOND, OTHER):
        assert tokens.of(f"> accepted {mixed(token)}") == token


def test_inspect_names_the_tokens_of_what_it_shows(node: Path, lockstep: Lockstep) -> None:
    (facts,) = checked(["inspect"], lockstep("inspect", node, "--json")[1])
    assert facts["tokens"][0] == {"client_order_id": mixed("my_order"), "token": "my_order"}
    (trade,) = [line for line in lockstep("commands", node, "--with-seq")[1].splitlines() if "enter BETA" in line][:1]
    (facts,) = checked(["inspect"], lockstep("inspect", node, "--json", "--at", trade.split()[-1])[1])
    named = {each["client_order_id"]: each["token"] for each in facts["tokens"]}
    assert named == {mixed(OTHER): OTHER, mixed(FIRST): FIRST}
    tokens = TokensBeside(node, what="")
    assert tokens.lacks(texts_of(facts), facts["seq"])
    tokens.read()
    assert not tokens.lacks(texts_of(facts), facts["seq"])
    shown = with_words(facts, tokens.shown)
    assert "~" not in "".join(texts_of(shown))
    assert mixed(FIRST) in "".join(texts_of(facts)), "the control"


def test_the_id_that_a_cancel_by_fix_has_of_its_own_is_a_word_of_its_line(tmp_path: Path, lockstep: Lockstep) -> None:
    line = "cancel ALPHA F4 context=2000000000080007 new_token=F6"
    (tmp_path / "day.txt").write_text(f"participant ALPHA\n{line}\n")
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    words = ("commands", tmp_path / "node", "--kind", "cancel")
    assert lockstep(*words)[1] == f"{line}\n"
    assert json.loads(lockstep(*words, "--json")[1])["new_token"] == "F6"
