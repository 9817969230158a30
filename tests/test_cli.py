"""Promises of the command line: answers, exit statuses, one sentence instead of a traceback.

Most tests call ``run_line`` in this process, which is the whole program but for the console script; those about
processes (status, pipes, interrupts, start-up time) run the real one.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.main import run_line
from tests.conftest import Lockstep
from tests.nodes import TINY

DAY = """\
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA a1 sell 100 XYZ @ 10.00
enter BETA b1 buy 150 XYZ @ 10.10
at 09:31
replace BETA b1 b2 120 @ 10.05
enter ALPHA a2 sell 30 XYZ @ 10.20
enter ALPHA a2 sell 30 XYZ @ 10.20
cancel GHOST g1
cancel ALPHA a2
enter ALPHA a3 sell 5 XYZ @ 10.00
"""
EVENTS = """\
> phase XYZ continuous
> accepted a1  # ALPHA
> accepted b1  # BETA
> trade XYZ 100 @ 10.00 resting=a1 incoming=b1  # ALPHA, BETA
> replaced b1 b2 qty=20  # BETA
> accepted a2  # ALPHA
> rejected a2 reason=duplicate_id  # ALPHA
> cancel_rejected g1 reason=unknown_order
> canceled a2 qty=30 reason=user  # ALPHA
> accepted a3  # ALPHA
> trade XYZ 5 @ 10.05 resting=b2 incoming=a3  # BETA, ALPHA
"""


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with DAY in it."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "day.txt").write_text(DAY)
    if run_line(["run", str(folder / "day.txt"), "--data", str(folder / "node"), "--block-rows", "4", *TINY]) != 0:
        raise RuntimeError("the day could not be run")
    return folder / "node"


@pytest.fixture
def node(written: Path, tmp_path: Path) -> Path:
    """A copy of it, to spoil."""
    return Path(shutil.copytree(written, tmp_path / "node"))


def program(*arguments: object, **options: object) -> "subprocess.CompletedProcess[str]":
    """The console script's own main, in a process."""
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.slow
def test_help_loads_nothing_heavy_beside_what_a_command_line_needs() -> None:
    libraries = (
        "import sys\n{}\nprint(*sorted({{name.split('.')[0] for name, module in list(sys.modules.items())"
        " if 'site-packages' in str(getattr(module, '__file__', ''))}}), file=sys.stderr)"
    )

    def loaded(work: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", libraries.format(work)], capture_output=True, text=True, check=True
        )
        return set(done.stderr.split())

    bare = loaded("import typer, rich.console, rich.markdown, rich.panel, typer.rich_utils")
    shown = loaded("from cli.main import run_line\nassert run_line(['--help']) == 0")
    assert {"typer", "rich"} <= shown <= bare
    assert "numpy" in loaded("import engine.records") - bare, "the control"


def test_a_scenario_run_into_a_directory_prints_as_what_happened(written: Path, lockstep: Lockstep) -> None:
    assert lockstep("events", written) == (0, EVENTS, "")
    status, said, _ = lockstep("events", written, "--kind", "trade", "--with-seq")
    assert said.splitlines()[0] == "> trade XYZ 100 @ 10.00 resting=a1 incoming=b1  # 7 ALPHA, BETA"
    status, said, _ = lockstep("events", written, "--from", 8, "--participant", "BETA", "--json")
    kinds = [json.loads(line)["kind"] for line in said.splitlines()]
    assert (status, kinds) == (0, ["replaced", "trade"])


@pytest.mark.slow
def test_printed_commands_run_again_to_the_same_rows_and_digests(
    written: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    _, first, _ = lockstep("commands", written, "--with-events")
    (tmp_path / "again.txt").write_text(first)
    status, said, _ = lockstep("run", tmp_path / "again.txt", "--data", tmp_path / "node2", "--block-rows", 4, "--json")
    assert status == 0
    assert json.loads(said)["seq"] == json.loads(lockstep("state", written, "--json")[1])["seq"]
    assert lockstep("commands", tmp_path / "node2", "--with-events")[1] == first
    assert lockstep("compare", written, tmp_path / "node2")[0] == 0
    assert lockstep("scenario", tmp_path / "again.txt")[0] == 0


def test_a_selection_of_commands_is_what_was_selected(written: Path, lockstep: Lockstep) -> None:
    _, said, _ = lockstep("commands", written, "--participant", "BETA", "--kind", "enter", "--kind", "replace")
    assert said == "enter BETA b1 buy 150 XYZ @ 10.10\nreplace BETA b1 b2 120 @ 10.05\n"
    _, said, _ = lockstep("commands", written, "--from", 6, "--to", 7)
    assert said == "enter ALPHA a1 sell 100 XYZ @ 10.00\nenter BETA b1 buy 150 XYZ @ 10.10\n"


def test_the_book_of_any_moment_is_shown(written: Path, lockstep: Lockstep) -> None:
    now = json.loads(lockstep("book", written, "XYZ", "--json")[1])
    assert (now["bids"], now["offers"]) == (
        [{"price_e4": 100_500, "qty": 15, "reserve_qty": 0, "hidden_qty": 0, "orders": 1}],
        [],
    )
    assert now["last_price_e4"] == 100_500
    then = json.loads(lockstep("book", written, "XYZ", "--at", "09:30:30", "--json")[1])
    assert (then["seq"], then["bids"]) == (
        7,
        [{"price_e4": 101_000, "qty": 50, "reserve_qty": 0, "hidden_qty": 0, "orders": 1}],
    )
    assert "the book is empty" in lockstep("book", written, "XYZ", "--at", 5)[1]


def test_a_market_order_that_waits_is_shown_as_market_by_run_as_by_book(tmp_path: Path, lockstep: Lockstep) -> None:
    resting = "enter ALPHA m1 buy 370 XYZ @ market\nenter BETA s1 sell 20 XYZ @ 10.05\n"
    (tmp_path / "auction.txt").write_text(DAY[: DAY.index("phase")] + "phase XYZ pre_open\n" + resting)
    status, said, _ = lockstep("run", tmp_path / "auction.txt", "--data", tmp_path / "auction")
    assert status == 0
    assert [" ".join(line.split()) for line in said.splitlines()][-1] == "XYZ 370 @ market 20 @ 10.05 2"
    shown = json.loads(lockstep("book", tmp_path / "auction", "XYZ", "--json")[1])
    assert (shown["bids"][0]["price_e4"], shown["offers"][0]["price_e4"]) == (None, 100_500)


def test_an_order_is_followed_through_its_replaces_from_either_id(written: Path, lockstep: Lockstep) -> None:
    for name in ("b1", "b2"):
        life = json.loads(lockstep("order", written, name, "--json")[1])
        kinds = [(moment["event"]["kind"], moment["leaves_qty"]) for moment in life["history"]]
        assert kinds == [("accepted", 150), ("trade", 50), ("replaced", 20), ("trade", 15)]
        assert (life["participant"], life["cum_qty"]) == ("BETA", 105)
    said = lockstep("order", written, "a2")[1]
    assert "order 3 of ALPHA: sell 30 XYZ @ 10.20; traded 0, closed" in said
    assert "rejected a2 reason=duplicate_id" in said
    status, _, complaint = lockstep("order", written, "zzz")
    assert (status, complaint.count("\n")) == (2, 1)


def test_both_engines_verify_what_was_written(written: Path, lockstep: Lockstep) -> None:
    for engine in ("kernel", "reference"):
        status, said, _ = lockstep("verify", written, "--engine", engine, "--workers", 1, "--json")
        assert (status, json.loads(said)["ok"], json.loads(said)["commands"]) == (0, True, 15)


def test_a_directory_is_recovered_and_continued(node: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "more.txt").write_text("enter BETA b9 buy 1 XYZ @ 9.00\n> accepted b9\n")
    status, said, complaint = lockstep("run", tmp_path / "more.txt", "--data", node, "--append", "--json")
    assert (status, json.loads(said)["seq"], json.loads(said)["durable_seq"]) == (0, 16, 16)
    assert "recovered" in complaint
    assert lockstep("verify", node, "--workers", 1)[0] == 0


@pytest.mark.slow
def test_checkpoints_are_taken_listed_verified_and_pruned(node: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    assert json.loads(lockstep("checkpoint", "create", node, "--json")[1])["created"]
    assert not json.loads(lockstep("checkpoint", "create", node, "--json")[1])["created"]
    (tmp_path / "more.txt").write_text("enter BETA b9 buy 1 XYZ @ 9.00\n")
    lockstep("run", tmp_path / "more.txt", "--data", node, "--append", "--checkpoint-every", 1)
    listed = [json.loads(line) for line in lockstep("checkpoint", "list", node, "--json")[1].splitlines()]
    assert [(info["seq"], info["valid"]) for info in listed] == [(15, True), (16, True)]
    state = json.loads(lockstep("state", node, "--json")[1])
    assert (state["checkpoint_seq"], state["state_digest"]) == (16, listed[1]["state_digest"])
    flip(Path(listed[1]["path"]), 0.5)
    assert lockstep("checkpoint", "verify", node)[0] == 1
    status, said, _ = lockstep("state", node, "--json")
    assert (status, json.loads(said)["checkpoint_seq"]) == (0, 15)
    assert lockstep("checkpoint", "prune", node, "--keep", 1)[0] == 0


def test_a_failing_scenario_shows_expected_beside_got(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "wrong.txt").write_text(DAY + "> accepted a3\n> trade XYZ 5 @ 10.06 resting=b2 incoming=a3\n")
    status, said, _ = lockstep("scenario", tmp_path, "--engine", "reference")
    assert status == 1
    assert "FAILED" in said
    (tmp_path / "wrong.txt").write_text("frobnicate\n")
    status, said, complaint = lockstep("scenario", tmp_path)
    assert (status, "wrong.txt:1" in complaint) == (2, True)


def flip(path: Path, place: float) -> None:
    """Turn one bit over, at a share of the file."""
    raw = bytearray(path.read_bytes())
    raw[int(len(raw) * place)] ^= 4
    path.write_bytes(raw)


def flip_every_block(node: Path) -> None:
    """Another symbol in every row that names one; in a row a name is little-endian."""
    path = node / "journal" / "data.mdb"
    path.write_bytes(path.read_bytes().replace(b"ZYX", b"YYX"))


@pytest.mark.parametrize(
    "spoil",
    [
        shutil.rmtree,
        lambda node: (shutil.rmtree(node), node.write_text("a file")),
        lambda node: shutil.rmtree(node / "journal"),
        lambda node: (node / "journal" / "data.mdb").write_bytes(b"garbage " * 4096),
        lambda node: (node / "journal" / "data.mdb").write_bytes(b""),
        lambda node: os.truncate(node / "journal" / "data.mdb", 12_288),
        flip_every_block,
    ],
    ids=["gone", "a-file", "empty", "garbage", "empty-file", "truncated", "flipped"],
)
def test_a_bad_directory_gives_one_sentence_and_no_answer(
    spoil: Callable[[Path], object], written: Path, node: Path, lockstep: Lockstep
) -> None:
    spoil(node)
    for line in (
        ["events", node],
        ["commands", node],
        ["state", node],
        ["order", node, "a1"],
        ["book", node, "XYZ"],
        ["checkpoint", "create", node],
        ["compare", written, node],
    ):
        status, _, complaint = lockstep(*line)
        # Compare looks for damage, so that is what it found.
        assert status == 2 or (line[0] == "compare" and status == 1), (line, complaint)
        assert status == 1 or re.fullmatch(r"lockstep: [^\n]+\n", complaint), (line, complaint)
    for engine in ("kernel", "reference"):
        assert lockstep("verify", node, "--workers", 1, "--engine", engine)[0] in (1, 2)
    assert lockstep("journal", "check", node)[0] in (1, 2)
    assert lockstep("doctor", node)[0] == (1 if node.is_dir() else 2)


def test_what_is_whole_before_damage_is_still_printed(node: Path, lockstep: Lockstep) -> None:
    path = node / "journal" / "data.mdb"
    raw = bytearray(path.read_bytes())
    # The id a3, in a row of the last block; a page that a later commit set free may hold the row too.
    found = [match.start() for match in re.finditer(re.escape(b"3a" + bytes(6)), raw)]
    for place in found:
        raw[place] ^= 1
    path.write_bytes(raw)
    assert found
    status, said, complaint = lockstep("events", node)
    assert (status, complaint.count("\n")) == (2, 1)
    assert said
    assert EVENTS.startswith(said)


@pytest.mark.parametrize(
    "line",
    [
        ["events"],
        ["bogus"],
        ["events", "DIR", "--from", "0"],
        ["events", "DIR", "--from", "99"],
        ["events", "DIR", "--kind", "bogus"],
        ["events", "DIR", "--symbol", "NONE"],
        ["commands", "DIR", "--participant", "NONE"],
        ["book", "DIR", "NONE"],
        ["book", "DIR", "XYZ", "--at", "noon"],
        ["state", "DIR", "--at", "99"],
        ["verify", "DIR", "--from", "7", "--to", "3"],
        ["order", "DIR", "much-too-long"],
        ["compare", "DIR", "nowhere"],
        ["run", "nowhere.txt", "--data", "new"],
        ["run", "day.txt", "--data", "new", "--book", "day.txt"],
        ["run", "day.txt", "--data", "new", "--format", "lobster"],
        ["run", "bytes.bin", "--data", "new"],
        ["run", "day.txt", "--data", "day.txt"],
        ["run", "day.txt", "--data", "full"],
        ["run", "day.txt", "--data", "DIR"],
        ["run", "day.txt", "--data", "DIR", "--append"],
        ["run", "nothing.txt", "--data", "new"],
        ["scenario", "nowhere"],
        ["scenario", "empty"],
        ["demo", "--data", "full"],
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_status_2_and_says_what_is_wrong(
    line: list[str], node: Path, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("day.txt").write_text("at 09:30:01\n" + DAY)
    Path("bytes.bin").write_bytes(b"\xff\xfe\x00")
    Path("nothing.txt").write_text("# nothing")
    Path("empty").mkdir()
    Path("full").mkdir()
    Path("full/something").write_text("of somebody")
    status, said, complaint = lockstep(*(str(node) if word == "DIR" else word for word in line))
    assert status == 2, complaint
    assert said == ""
    assert re.fullmatch(r"lockstep: [^\n]+\n", complaint.splitlines(keepends=True)[-1])
    assert not Path("new").exists()


@pytest.mark.slow
def test_a_second_writer_is_refused_by_name(node: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "more.txt").write_text("at +1s\n")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from journal import Journal; j = Journal.open(sys.argv[1]); print(); input()",
            node,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        if holder.stdout is not None:
            holder.stdout.readline()
        status, _, complaint = lockstep("run", tmp_path / "more.txt", "--data", node)
        assert (status, str(holder.pid) in complaint) == (75, True)
        assert lockstep("events", node)[:2] == (0, EVENTS)
    finally:
        holder.communicate(b"\n")


def test_an_unforeseen_error_is_named_as_a_defect(lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> int:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("cli.warmup.version", fail)
    status, _, complaint = lockstep("version")
    assert status == 70
    assert re.fullmatch(
        r"lockstep: this is a defect in lockstep: ZeroDivisionError at .* \(reference \w{8}\); .*\n", complaint
    )
    monkeypatch.setenv("LOCKSTEP_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        lockstep("version")


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_the_program_quietly(written: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb") as gone:
        words = [sys.executable, "-m", "cli.main", "events", str(written)]
        ended = subprocess.run(words, stdout=gone, stderr=subprocess.PIPE, text=True, timeout=600, check=False)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.slow
def test_an_interrupt_ends_with_130_and_one_line(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "demo", "--seconds", "30"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    if demo.stdout is not None:
        for _ in range(2):
            demo.stdout.readline()
    demo.send_signal(signal.SIGINT)
    _, complaint = demo.communicate(timeout=600)
    assert (demo.returncode, complaint) == (130, "lockstep: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_optimised_python_is_refused() -> None:
    ended = subprocess.run(
        [sys.executable, "-O", "-m", "cli.main", "version"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
