"""`lockstep tail`: what a running node does, as it comes, as `lockstep events` and `commands` print it afterwards."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.errors import READER_GONE
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.ouch_messages import cancel, enter
from tests.running import ROOT, Client, Running, started

DAY = """\
at 2024-01-15T09:30:00
instrument XYZ tick=0.01 lot=1 reference=10.00
instrument ABC tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
phase ABC continuous
enter ALPHA a1 sell 300 XYZ @ 10.05
enter BETA b1 buy 350 XYZ @ 10.05
enter BETA b2 buy 1 ABC @ 9.00
cancel BETA b2
enter BETA b2 buy 1 ABC @ 9.00
"""


@pytest.fixture
def past(tmp_path: Path, lockstep: Lockstep) -> Path:
    (tmp_path / "day.txt").write_text(DAY)
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "past", "--block-rows", "3")[0] == 0
    return tmp_path / "past"


@pytest.mark.parametrize("options", [[], ["--json"], ["--with-seq"]], ids=["text", "json", "seq"])
@pytest.mark.parametrize(
    "chosen",
    [
        ["--from", "1"],
        ["--from", "9"],
        ["--from", "10", "--symbol", "ABC"],
        ["--from", "2", "--participant", "BETA", "--kind", "trade"],
    ],
    ids=["all", "part", "symbol", "trades"],
)
def test_what_is_there_is_printed_as_by_events(
    past: Path, lockstep: Lockstep, chosen: list[str], options: list[str]
) -> None:
    wanted = lockstep("events", past, *chosen, *options)
    assert wanted[:2] == lockstep("tail", past, *chosen, *options, "--to", "12")[:2]
    assert wanted[1]


def test_commands_and_reports_are_printed_as_by_their_commands(past: Path, lockstep: Lockstep) -> None:
    for command, option in (("commands", "--commands"), ("events", "--reports")):
        options = ["--reports"] if command == "events" else []
        wanted = lockstep(command, past, *options, "--from", "8", "--with-seq")
        assert wanted[:2] == lockstep("tail", past, option, "--from", "8", "--to", "12", "--with-seq")[:2]
        assert wanted[1]


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_commands_have_their_events_below_them(past: Path, lockstep: Lockstep, options: list[str]) -> None:
    words = ["--participant", "BETA", "--from", "8", "--with-events", *options]
    wanted = lockstep("commands", past, *words)
    assert wanted[:2] == lockstep("tail", past, "--commands", "--to", "12", *words)[:2]
    assert "> trade XYZ 300" in wanted[1] or '"events": [{' in wanted[1]


@pytest.mark.parametrize("option", [[], ["--commands"], ["--reports"]], ids=["events", "commands", "reports"])
def test_its_json_fits_its_schema(past: Path, lockstep: Lockstep, option: list[str]) -> None:
    assert checked(["tail"], lockstep("tail", past, *option, "--from", "1", "--to", "12", "--json")[1])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--from", "5", "--to", "3"], "commands 5 to 3 are no range: the first comes after the last"),
        (["--to", "12"], "command 12 is past already, and 13 comes next; give --from too"),
        (["--from", "1", "--symbol", "NONE", "--to", "12"], "there is no instrument NONE"),
        (["--from", "14"], "has no command 14 yet: it ends with command 12"),
        (["--from", "14", "--reports"], "has no command 14 yet: it ends with command 12"),
        (["--kind", "flood"], "there is no kind 'flood'"),
        (["--commands", "--reports"], "--commands and --reports exclude each other"),
        (["--with-events"], "--with-events prints the events of each command below it; give --commands too"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(past: Path, lockstep: Lockstep, options: list[str], why: str) -> None:
    status, said, sentence = lockstep("tail", past, *options)
    assert (status, said, why in sentence) == (2, "", True), sentence


class Tail:
    """A tail in a process of its own."""

    def __init__(self, data: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "tail", str(data), *options],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lines(self, count: int) -> list[str]:
        """The next lines."""
        assert self.process.stdout is not None
        return [self.process.stdout.readline() for _ in range(count)]

    def sentence(self) -> str:
        """The next line of standard error."""
        stream = self.process.stderr
        assert stream is not None
        assert select.select([stream], [], [], 120.0)[0], "nothing was said"
        return stream.readline().rstrip("\n")

    def end(self, number: int) -> tuple[int, str, str]:
        """Send a signal; exit status, and the rest of both streams."""
        self.process.send_signal(number)
        said, sentences = self.process.communicate(timeout=60)
        return self.process.returncode, said, sentences


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    running = started(tmp_path)
    yield running
    running.stop()


def test_a_tail_whose_reader_has_gone_ends_though_nothing_happens(node: Running) -> None:
    tail = Tail(node.data, "--from", str(node.status()["seq"] + 1))
    try:
        assert tail.process.stdout is not None
        Client(node.port, "UA").socket.sendall(enter("a1", "B", 5, 90_000))
        assert " accepted " in tail.lines(1)[0]
        tail.process.stdout.close()
        assert tail.process.wait(60) == READER_GONE
        assert tail.process.stderr is not None
        assert not tail.process.stderr.read()
    finally:
        tail.process.kill()
        tail.process.wait()


@pytest.mark.slow
def test_a_tail_follows_a_node_through_a_roll_and_a_kill_and_ends_with_ctrl_c(
    node: Running, lockstep: Lockstep
) -> None:
    begin = node.status()["seq"]
    tail = Tail(node.data, "--from", str(begin + 1), "--with-seq")
    try:
        client = Client(node.port, "UA")
        for number in range(20):
            client.socket.sendall(enter(f"a{number}", "B", 5, 90_000) + cancel(f"a{number}"))
        client.take(41)
        got = tail.lines(40)
        with node.link() as link:
            link.ask("roll")
        client.socket.sendall(enter("b1", "B", 5, 90_000))
        client.take(42)
        got += tail.lines(1)
        node.end(signal.SIGKILL)
        assert tail.sentence() == f"no node writes a tape in {node.data}: its journal is read, until one does"
        node.start()
        again = Client(node.port, "UA")
        again.socket.sendall(enter("c1", "B", 5, 90_000))
        again.take(2)
        got += tail.lines(1)
    finally:
        status, rest, sentences = tail.end(signal.SIGINT)
    assert (status, rest, sentences) == (130, "", "lockstep: interrupted\n")
    node.end(signal.SIGTERM)
    wanted = lockstep("events", node.data, "--from", str(begin + 1), "--with-seq")[1]
    assert [line for line in wanted.splitlines(keepends=True) if " accepted " in line or " canceled " in line] == got


@pytest.mark.slow
def test_a_tail_goes_on_in_a_slice_with_larger_tables(tmp_path: Path, lockstep: Lockstep) -> None:
    """Names beyond the tables before are defined in its reports."""
    day = tmp_path / "day.txt"
    day.write_text(
        "at 2024-01-15T09:30:00\ninstrument XYZ tick=0.01 lot=1 reference=10.00\n"
        "participant P1\nparticipant P2\nphase XYZ continuous\n"
    )
    past = tmp_path / "past"
    assert lockstep("run", day, "--data", past, "--participants-max", 2)[0] == 0
    tail = Tail(past, "--from", "1", "--to", "11", "--reports")
    try:
        got = tail.lines(1)
        assert lockstep("roll", past, "--participants-max", 16)[0] == 0
        more = tmp_path / "more.txt"
        more.write_text(
            "at 2024-01-15T09:31:00\nparticipant P3\nparticipant P4\nparticipant P5\n"
            "enter P3 c1 buy 5 XYZ @ 10.00\nenter P4 d1 sell 5 XYZ @ 10.00\n"
        )
        assert lockstep("run", more, "--data", past, "--append")[0] == 0
        assert tail.process.stdout is not None
        said = "".join(got) + tail.process.stdout.read()
    finally:
        tail.process.kill()
        tail.process.wait()
    assert said == lockstep("events", past, "--reports")[1]
    assert "participant=P3" in said.splitlines()[-1] + said.splitlines()[-2]
