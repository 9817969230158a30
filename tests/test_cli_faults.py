"""Wrong use and bad states, and the answers of the command line.

The controls are the sound cases beside the spoilt ones: the same command line, once where nothing is wrong.
"""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cli.main import run_line
from journal import Journal
from tests import nursery
from tests.json_schemas import checked
from tests.nodes import TINY

DAY = """\
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
enter ALPHA a1 sell 100 XYZ @ 10.00
enter BETA b1 buy 150 XYZ @ 10.10
at 09:31
enter ALPHA a2 sell 30 XYZ @ 10.20
"""
LAST_SEQ = 9

Said = tuple[int, str, str]


class Lockstep:
    """Run of a command line in this process: (exit status, standard output, standard error)."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Said:
        self._capsys.readouterr()
        status = run_line([str(argument) for argument in arguments])
        said = self._capsys.readouterr()
        return status, said.out, said.err

    def complaint(self, status: int, *arguments: object) -> str:
        """The one sentence with which a command line ends that must end so."""
        ended, said, complaint = self(*arguments)
        assert (ended, said) == (status, ""), (arguments, said, complaint)
        assert complaint.startswith("lockstep: "), complaint
        assert complaint.count("\n") == 1, complaint
        return complaint.removeprefix("lockstep: ").rstrip("\n")


@pytest.fixture
def lockstep(capsys: pytest.CaptureFixture[str]) -> Lockstep:
    """Run a command line in this process."""
    return Lockstep(capsys)


@pytest.fixture
def node(tmp_path: Path, lockstep: Lockstep) -> Path:
    """A data directory with DAY in it, in blocks of 4."""
    (tmp_path / "day.txt").write_text(DAY)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node", "--block-rows", 4, *TINY)[0] == 0
    return tmp_path / "node"


def in_shell(script: str, unbuffered: str = "") -> "subprocess.CompletedProcess[str]":
    """A line for bash, in which $L is the program."""
    environment = {**os.environ, "L": f"{sys.executable} -m cli.main", "PYTHONUNBUFFERED": unbuffered}
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=600, check=False, env=environment
    )


# What is printed, and to whom.


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", ["--help", "", "run --help", "checkpoint --help", "checkpoint list --help", "version", "version --json"]
)
def test_a_reader_that_goes_away_ends_any_output_without_a_word(line: str) -> None:
    hears, says = os.pipe()
    os.close(hears)
    ended = nursery.spawn(line.split(), stdout=says)
    os.close(says)
    assert (ended.communicate(timeout=600)[1], ended.returncode) == ("", 141)


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ["--help", "compare -h", "checkpoint list --help", "version", "version --json"])
def test_output_that_cannot_be_written_is_one_sentence_about_the_output(line: str, unbuffered: str) -> None:
    sentence = "lockstep: the output cannot be written: no space left on device; make room there, or write it elsewhere"
    if unbuffered:
        ended = in_shell(f"$L {line} > /dev/full", unbuffered)
        assert (ended.returncode, ended.stderr) == (75, sentence + "\n")
        return
    with open("/dev/full", "w") as full:
        process = nursery.spawn(line.split(), stdout=full.fileno())
        assert (process.communicate(timeout=600)[1], process.returncode) == (sentence + "\n", 75)
    assert nursery.run(line.split()).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_a_disk_takes_a_part_of_is_a_failure(node: Path, tmp_path: Path, unbuffered: str) -> None:
    printed = in_shell(f"$L events {node} --json > {tmp_path}/whole", unbuffered)
    assert (printed.returncode, printed.stderr) == (0, "")
    whole = (tmp_path / "whole").read_text()
    assert len(whole) > 1024
    cut = in_shell(f"ulimit -f 1; $L events {node} --json > {tmp_path}/part", unbuffered)  # in KiB
    assert (tmp_path / "part").read_text() == whole[:1024]
    assert (cut.returncode, cut.stderr) == (
        2,
        "lockstep: the output cannot be written: file too large; make room there, or write it elsewhere\n",
    )


@pytest.mark.slow
def test_closed_and_full_standard_streams_end_with_a_status_and_no_traceback() -> None:
    closed = in_shell("$L version >&-")
    assert (closed.returncode, closed.stderr.count("\n")) == (2, 1)
    assert in_shell("$L bogus 2>/dev/full").returncode == 2
    assert in_shell("$L version 2>&-").returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify", "DIR", "--engine", "bogus"], "--engine is 'bogus'; give one of kernel, reference; see"),
        (["book", "DIR", "XYZ", "--depth", "0"], "--depth is '0'; give 1 or more; see"),
        (["verify", "DIR", "--from", "x"], "--from is 'x'; give a whole number; see"),
        (["demo", "--seconds", "900"], "--seconds is '900'; give 600 or less; see"),
        (["serve", "--tape-mb", "99999999"], "--tape-mb is '99999999'; give 1048576 or less; see"),
        (["gateway", "..", "--name", "x"], ".. has no journal; name the data directory of a running node"),
        (["demo", "--seconds", "nan"], "--seconds is 'nan'; that is no number, give one; see"),
        (["demo", "--seconds", "x"], "--seconds is 'x'; give a number; see"),
        (["stats", "DIR", "--bars", "5"], "--bars is '5'; write whole seconds from 1s to 1d, with their unit, such as"),
        (["stats", "DIR", "--bars", "350us"], "--bars is '350us'; write whole seconds from 1s to 1d, with their unit"),
        (["events"], "Missing argument 'DIR'; see"),
        (["serve", "", "--port", "0"], "word 2 of the command is empty: give a value"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_refused_value_is_told_with_what_to_give_instead(words: Sequence[str], said: str, lockstep: Lockstep) -> None:
    assert lockstep.complaint(2, *words).startswith(said)


# What is asked for that is not there.


@pytest.mark.parametrize("command", ["events", "commands", "verify"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "7", "--to", "3"], "commands 7 to 3 are no range: the first comes after the last"),
        (["--from", "30"], "there is no command 30 in DIR: its journal ends at 9"),
        (["--from", "10"], "there is no command 10 in DIR: its journal ends at 9"),
        (["--from", "2", "--to", "10"], "there is no command 10 in DIR: its journal ends at 9"),
        (["--to", "99"], "there is no command 99 in DIR: its journal ends at 9"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_range_that_is_none_is_refused_with_where_the_journal_ends(
    command: str, words: list[str], said: str, node: Path, lockstep: Lockstep
) -> None:
    assert lockstep.complaint(2, command, node, *words) == said.replace("DIR", str(node))
    assert lockstep(command, node, "--from", 9, "--to", 9)[0] == 0
    if command == "verify":
        assert lockstep.complaint(2, command, node, *words, "--engine", "reference") == said.replace("DIR", str(node))


@pytest.mark.parametrize("command", ["run", "scenario"])
@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_a_file_without_a_command_is_bad_input(command: str, text: str, tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "nothing.txt").write_text(text)
    (tmp_path / "day.txt").write_text(DAY)
    where = ["--data", tmp_path / "new"] if command == "run" else []
    for files in (["nothing.txt"], ["day.txt", "nothing.txt"]):
        status, _, complaint = lockstep(command, *(tmp_path / name for name in files), *where)
        assert (status, "nothing.txt has no command" in complaint) == (2, True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("fault", ["not UTF-8", "a binary", "gone", "bad syntax"])
def test_a_scenario_file_that_cannot_be_read_keeps_no_other_from_being_run(
    fault: str, tmp_path: Path, lockstep: Lockstep
) -> None:
    (tmp_path / "a.txt").write_text(DAY)
    (tmp_path / "c.txt").write_text(DAY + "> accepted a3\n")
    status, said, complaint = lockstep("scenario", tmp_path)
    assert (status, said.splitlines()[-1], complaint) == (1, "1 passed, 1 failed", "")
    spoilt = tmp_path / "b.txt"
    if fault == "gone":
        spoilt.symlink_to(tmp_path / "nowhere")
    else:
        raw = {"not UTF-8": DAY.encode() + b"# caf\xe9\n", "a binary": b"\x7fELF\x02\x00\xff", "bad syntax": b"frob\n"}
        spoilt.write_bytes(raw[fault])
    status, said, complaint = lockstep("scenario", tmp_path)
    assert (status, said.splitlines()[-1]) == (1, "1 passed, 1 failed, 1 could not be read")
    assert (complaint.count("\n"), str(spoilt) in complaint) == (1, True)
    status, said, _ = lockstep("scenario", tmp_path, "--json")
    told = checked(["scenario"], said)
    assert (status, [facts["passed"] for facts in told]) == (1, [True, False, False])
    assert f"lockstep: {told[1]['error']}\n" == complaint
    for name in ("a.txt", "c.txt"):
        (tmp_path / name).unlink()
    assert lockstep("scenario", tmp_path)[:2] == (2, "0 passed, 1 could not be read\n")


def test_a_date_alone_is_told_from_a_time(node: Path, lockstep: Lockstep) -> None:
    assert "is a date without a time of day" in lockstep.complaint(2, "state", node, "--at", "2024-01-15")
    for word in ("2024-13-01", "2024-02-30"):  # with a time of day it would be none either
        said = lockstep.complaint(2, "state", node, "--at", word)
        assert said.startswith(f"'{word}' is no date: "), said
    assert lockstep("state", node, "--at", "2024-01-15T16:00")[0] == 0


def test_what_is_no_data_directory_is_told_what_it_is_and_where_one_comes_from(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name, said in (
        ("nowhere", "is not there, so it holds no journal"),
        ("file", "is a file, so it holds no journal"),
        ("folder", "holds no journal"),
    ):
        complaint = lockstep.complaint(2, "state", tmp_path / name)
        assert complaint.startswith(f"{tmp_path / name} {said} of lockstep; check the path: `lockstep serve` and")
    assert lockstep.complaint(2, "doctor", tmp_path / "nowhere").endswith("is not there; check the path")
    assert "is no data directory, and no bundle" in lockstep.complaint(2, "doctor", tmp_path / "file")
    (tmp_path / "day.txt").write_text(DAY)
    assert "is a file; name a new directory" in lockstep.complaint(
        2, "run", tmp_path / "day.txt", "--data", tmp_path / "file"
    )


def test_a_journal_that_this_release_cannot_replay_is_told_by_the_doctor_as_what_is_wrong(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    for name, meta in (("rules", {"rules_version": 99}), ("capacity", {"rules_version": 1})):
        Journal.create(tmp_path / name, meta).close()
        status, said, complaint = lockstep("doctor", tmp_path / name)
        assert (status, "wrong: recovery" in said, complaint) == (1, True, "")
        assert lockstep.complaint(2, "state", tmp_path / name)


# What is damaged.

FINDERS = ("verify", "compare", "journal check", "checkpoint verify", "doctor")
READERS = ("events", "commands", "state", "order", "book", "journal info", "checkpoint create", "run")


def line_of(command: str, node: Path, sound: Path) -> list[object]:
    """A whole line for a command."""
    more: dict[str, list[object]] = {
        "order": ["a1"],
        "book": ["XYZ"],
        "compare": [sound],
        "verify": ["--workers", 1],
        "run": ["--append", "--data", node],
    }
    return [*command.split(), sound.parent / "more.txt" if command == "run" else node, *more.get(command, [])]


@pytest.fixture
def sound(node: Path) -> Path:
    """A sound copy of ``node``, and beside it a file to append."""
    (node.parent / "more.txt").write_text("at 10:00\n")
    return Path(shutil.copytree(node, node.parent / "sound"))


def cut(node: Path) -> None:
    """Cut the journal short."""
    os.truncate(node / "journal" / "data.mdb", 12_288)


def garble(node: Path) -> None:
    """Leave nothing of the journal as it was."""
    (node / "journal" / "data.mdb").write_bytes(b"garbage " * 4_096)


def change(node: Path) -> None:
    """Other bytes in every block; in a row the symbol is little-endian."""
    path = node / "journal" / "data.mdb"
    path.write_bytes(path.read_bytes().replace(b"ZYX", b"YYX"))


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [cut, garble, change])
def test_damage_is_what_a_finder_found_and_what_keeps_others_from_their_work(
    spoil: Callable[[Path], None], node: Path, sound: Path, lockstep: Lockstep
) -> None:
    spoil(node)
    for commands, status in ((FINDERS, 1), (READERS, 2)):
        for command in commands:
            ended, _, complaint = lockstep(*line_of(command, node, sound))
            assert ended == status, (command, complaint)
            assert complaint.count("\n") <= 1, (command, complaint)
    for command in (*FINDERS, *READERS):
        there = sound.parent / "again"
        shutil.copytree(sound, there)
        assert lockstep(*line_of(command, there, sound))[0] == 0, command
        shutil.rmtree(there)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tail", "is missing, so a loss of the newest commands cannot be detected"),
        ("genesis", "is missing, of which the journal has a copy inside"),
    ],
)
def test_a_missing_side_file_is_noticed_by_whoever_opens_the_journal(
    name: str, said: str, node: Path, sound: Path, lockstep: Lockstep
) -> None:
    (node / "journal" / name).unlink()
    for command in ("events", "commands", "state", "order", "book", "verify", "compare", "checkpoint create"):
        status, _, complaint = lockstep(*line_of(command, node, sound))
        assert (status, complaint.count(said)) == (0, 1), (command, complaint)
        assert said not in lockstep(*line_of(command, sound, node))[2] or command == "compare"
    for command, status in (("journal check", 1), ("doctor", 1), ("journal info", 2)):
        ended, told, _ = lockstep(*line_of(command, node, sound))
        assert (ended, f"{name} {said}" in told) == (status, True), command
    assert said in lockstep.complaint(2, *line_of("run", node, sound))
    assert not (node / "journal" / name).exists()


@pytest.mark.slow
def test_where_recovery_starts_is_said_as_it_is(node: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    lockstep("checkpoint", "create", node)
    (tmp_path / "more.txt").write_text("at 10:00\n")
    lockstep("run", tmp_path / "more.txt", "--append", "--data", node)
    lockstep("checkpoint", "create", node)
    first, second = sorted((node / "checkpoints").iterdir())
    spoil(second)
    assert (
        "1 of 2 checkpoints cannot be used; recovery starts from checkpoint 9"
        in lockstep("checkpoint", "verify", node)[1]
    )
    status, said, _ = lockstep("doctor", node)
    assert (status, "recovery starts from checkpoint 9" in said) == (1, True)
    assert said.endswith("wrong: checkpoints\n")
    assert "the replay started from checkpoint 9" in lockstep("state", node)[2]
    spoil(first)
    assert (
        "2 of 2 checkpoints cannot be used; recovery starts from command 1" in lockstep("checkpoint", "verify", node)[1]
    )
    assert "recovery starts from command 1" in lockstep("doctor", node)[1]
    assert lockstep("state", node)[2].count("the replay started from command 1") == 2


def test_the_doctor_counts_its_notes_and_names_them(
    node: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    lockstep("checkpoint", "create", node)
    monkeypatch.setattr("engine.state.STATE_LAYOUT", bytes(16))
    status, said, _ = lockstep("doctor", node)
    assert (status, "holds the state in another form" in said) == (0, True)
    assert said.endswith("nothing is wrong; see the note on checkpoints\n")


def spoil(checkpoint: Path) -> None:
    """Another byte in an array, which no header tells."""
    raw = bytearray(checkpoint.read_bytes())
    raw[len(raw) // 2] ^= 4
    checkpoint.write_bytes(raw)


# What is said.


def test_the_clock_of_a_journal_is_told_from_its_first_value_on(node: Path, lockstep: Lockstep) -> None:
    """A block's header bears the clock at its end, which is not where it began."""
    said = lockstep("journal", "info", node)[1]
    assert re.search(r"clock +2024-01-15T09:30:00 to 2024-01-15T09:31:00\n", said)
    told = json.loads(lockstep("journal", "info", node, "--json")[1])
    assert (told["first_time"], told["last_time"]) == (
        "2024-01-15T09:30:00.000000000Z",
        "2024-01-15T09:31:00.000000000Z",
    )
    (node.parent / "one.txt").write_text(DAY)
    lockstep("run", node.parent / "one.txt", "--data", node.parent / "one")
    assert "2024-01-15T09:30:00 to 2024-01-15T09:31:00\n" in lockstep("journal", "info", node.parent / "one")[1]


@pytest.mark.slow
def test_one_of_something_is_not_told_as_several(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text("at 09:30\n")
    said = [lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")]
    said += [lockstep("checkpoint", "create", tmp_path / "node")]
    for words in (["journal", "check"], ["checkpoint", "verify"], ["checkpoint", "prune"], ["state"], ["verify"]):
        said.append(lockstep(*words, tmp_path / "node"))
    said.append(lockstep("doctor", tmp_path / "node"))
    text = "".join(out + complaint for _, out, complaint in said)
    assert "1 block" in text
    assert (
        re.findall(r"\b1 [a-z ]*?(?:blocks|commands|digests|checkpoints|files|workers|problems|are)\b(?!/s)", text)
        == []
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["commands", "DIR", "--participant", "ü"], "'ü' is not a valid participant name"),
        (["commands", "DIR", "--symbol", "toolongsymbol"], "'toolongsymbol' is not a valid instrument name"),
        (["events", "DIR", "--symbol", ""], "'' is not a valid instrument name"),
        (["book", "DIR", "\x1b[31mX"], r"'\x1b[31mX' is not a valid instrument name"),
        (["order", "DIR", "\x1b[31mX"], r"'\x1b[31mX' is neither a client order id, as a17, nor an order token"),
        (["demo", "--seed", "-1"], "--seed is '-1'; give 0 or more"),
        (["run", "/dev/zero", "--data", "new"], "/dev/zero is a device"),
        (["run", "day.txt", "--data", "new", "--symbol", "XYZ"], "--book, --check, --symbol and --date belong to"),
        (["state", "\x1b[31m\udcff"], r"\x1b[31m\udcff is not there"),
    ],
    ids=lambda value: ascii(" ".join(value)) if isinstance(value, list) else "",
)
def test_hostile_words_are_refused_in_words_that_a_terminal_can_take(
    words: list[str], said: str, node: Path, tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lockstep.complaint(2, *(str(node) if word == "DIR" else word for word in words)).startswith(said)
    assert not Path("new").exists()


def test_a_line_of_a_megabyte_is_not_told_in_full_and_a_byte_order_mark_is_none_of_the_commands(
    tmp_path: Path, lockstep: Lockstep
) -> None:
    (tmp_path / "long.txt").write_text("at 09:30\n" + "a" * 1_000_000)
    complaint = lockstep.complaint(2, "run", tmp_path / "long.txt", "--data", tmp_path / "new")
    assert len(complaint) < 600
    assert complaint.startswith(f"{tmp_path / 'long.txt'}:2: there is no command 'aaaa")
    assert complaint.endswith("venue.")
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbfat 09:30\r\nparticipant ALPHA\r\n")
    assert lockstep("run", tmp_path / "marked.txt", "--data", tmp_path / "new")[0] == 0


def test_doctor_says_where_a_folder_comes_from_and_which_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lockstep: Lockstep
) -> None:
    (tmp_path / "a_folder_of_others").mkdir()
    (tmp_path / "a_package_of_others").mkdir()
    (tmp_path / "a_package_of_others" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    others = ("a_folder_of_others", "a_package_of_others", "a_folder_of_nobody")
    monkeypatch.setattr("cli.upkeep.doctor._PARTS", ("engine", *others))
    status, said, _ = lockstep("doctor", "--json")
    (finding,) = (each for each in json.loads(said)["findings"] if each["name"] == "folders")
    assert status == 1
    here = Path(__file__).parent.parent
    assert f"a_folder_of_others comes from {tmp_path / others[0]}, and not from {here / others[0]}" in finding["what"]
    assert f"a_package_of_others comes from {tmp_path / others[1]}, and not from" in finding["what"]
    assert "a_folder_of_nobody is missing" in finding["what"]
    assert "engine" not in finding["what"]
    assert "None" not in finding["what"]


@pytest.mark.parametrize("named", [None, "/a/file/of/it"])
def test_a_node_whose_disk_is_full_names_what_is_on_that_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lockstep: Lockstep, named: str | None
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", named)

    monkeypatch.setattr("node.program.serve", fails)
    complaint = lockstep.complaint(75, "serve", "--data", tmp_path / "node", "--port", 0)
    of = named or tmp_path / "node"
    assert complaint == f"the disk of {of} is full; free some space and run again; durable commands are safe"


def test_a_directory_of_another_user_is_told_with_what_to_do(
    node: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its node is another's: the option's reader finds that, and not the command."""
    allowed = os.access
    monkeypatch.setattr("os.access", lambda path, mode, **more: str(path) != str(node) and allowed(path, mode, **more))
    for words in (("book", node, "XYZ"), ("admin", "status", node), ("run", "day.txt", "--data", node)):
        status, out, complaint = lockstep(*words)
        said = f"lockstep: no permission for {node}; run as the user who owns it, or change its mode\n"
        assert (status, out, complaint) == (2, "", said)


def test_quantities_have_their_separators_in_the_table_of_instruments_too(tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(
        "instrument XYZ tick=0.01 lot=1 reference=10.00\nparticipant ALPHA\nphase XYZ pre_open\n"
        "enter ALPHA a1 sell 12345 XYZ @ 10.00\n"
    )
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    lines = [line.split() for line in lockstep("state", tmp_path / "node")[1].splitlines()]
    assert ["XYZ", "pre_open", "-", "0", "1", "12,345"] in lines


def test_a_lock_for_which_there_is_no_room_is_told_with_what_to_do(
    tmp_path: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "day.txt").write_text(DAY)
    monkeypatch.setattr("journal.lock.os.pwrite", full)
    status, out, complaint = lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "full")
    said = f"{tmp_path}/full/lock cannot be written: No space left on device; make room on its disk, or look at that,"
    assert (status, out, complaint) == (75, "", f"lockstep: {said} and repeat the command\n")
