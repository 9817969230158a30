"""Supervision of a node's programs (`node.programs.supervisor`), with small programs in their place."""

import asyncio
import io
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from node.gateways.programs import GatewayOption, GatewayPrograms
from node.node import NodeOptions
from node.programs import child_lines, supervisor
from node.programs.child_lines import object_of_line
from node.programs.logs import Log
from node.programs.report import ProgramReport, agent_values
from node.programs.supervisor import Program, State, Supervised, Supervisor, process_figures
from tape.agents import Always, Measured
from tests.running import ROOT

#: A program that reports its number and waits for the end of its input, or for a signal.
LIVES = "import json, os, sys; print(json.dumps({'figures': {'mine': os.getpid()}}), flush=True); sys.stdin.read()"
#: The rest of one that has written something odd.
GOES_ON = 'print(\'{"figures": {"orders": 7}}\', flush=True); sys.stdin.read()'
#: One that takes no notice of either.
STUBBORN = """
import json, os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(json.dumps({'figures': {'mine': os.getpid()}}), flush=True)
while True:
    time.sleep(60)
"""


def python(source: str) -> tuple[str, ...]:
    return (sys.executable, "-c", source)


def exists(pid: int) -> bool:
    """True while a process is there, and is more than the record of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Callable[[], object], what: str = "it did not come about") -> None:
    for _ in range(12_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(what)


def with_supervisor(story: Callable[[Supervisor], Awaitable[None]]) -> list[dict[str, Any]]:
    """Play a story with a supervisor; gives the lines of its log. No program is left."""
    stream = io.StringIO()
    log = Log(stream, pretty=False)

    async def run() -> None:
        made = Supervisor(log)
        try:
            await story(made)
        finally:
            pids = [each.pid for each in made if each.pid]
            made.close()
            assert not [pid for pid in pids if exists(pid)]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    log.close(60)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def events(lines: list[dict[str, Any]]) -> list[str]:
    return [each["event"] for each in lines]


@pytest.mark.slow
def test_a_program_that_is_killed_at_random_moments_comes_back_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "STEADY_S", 0.0)
    dice = random.Random(1)

    async def story(made: Supervisor) -> None:
        one = made.start(Program("one", python(LIVES)))
        other = made.start(Program("other", python(LIVES)))
        await until(lambda: other.report)
        pid, seen = other.pid, set[int]()
        for kills in range(20):
            await until(lambda: one.pid and one.pid not in seen)
            seen.add(one.pid)
            await asyncio.sleep(dice.random() / 20)  # it may still be on its way to its own program
            os.kill(one.pid, signal.SIGKILL)
            await until(lambda kills=kills: one.restarts > kills)
        await until(lambda: one.report.get("figures") == {"mine": one.pid})
        assert (one.restarts, one.state, other.pid, other.restarts) == (20, State.RUNNING, pid, 0)

    lines = with_supervisor(story)
    told = [each for each in lines if each["event"] == "a program ended"]
    assert told[0]["process"] == "one"
    assert told[0]["why"] == "signal 9 ended it"


@pytest.mark.slow
def test_a_program_that_cannot_run_is_tried_with_growing_pauses_and_reported_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "PAUSE_MAX_S", 0.04)
    pauses: list[float] = []

    async def story(made: Supervisor) -> None:
        loop = asyncio.get_running_loop()
        later = loop.call_later

        class Noting:
            def __getattr__(self, name: str) -> Any:
                return getattr(loop, name)

            def call_later(self, delay_s: float, call: Any) -> Any:
                if call.__name__ == "start":
                    pauses.append(delay_s)
                return later(delay_s, call)

        source = "import sys; sys.exit('the port is taken')"
        one = made.start(Program("one", python(source), without="nobody can connect"))
        one._loop = Noting()  # type: ignore[assignment]
        await until(lambda: one.restarts >= 4)
        [warning] = made.warnings()
        assert "it ended with status 1: the port is taken; nobody can connect until then" in warning

    lines = with_supervisor(story)
    assert pauses[:4] == [0.01, 0.02, 0.04, 0.04]
    assert [each["event"] for each in lines] == ["a program said", "a program ended"]
    assert lines[1]["why"] == "it ended with status 1: the port is taken"


def test_a_program_that_does_not_exist_is_said_in_a_sentence() -> None:
    async def story(made: Supervisor) -> None:
        one = made.start(Program("one", ("/nowhere/program",)))
        await until(lambda: one.why)
        assert one.why == "it ended with status 127: /nowhere/program cannot be run: no such file or directory"

    with_supervisor(story)


def test_a_program_for_which_the_system_has_no_process_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    real, refused = subprocess.Popen, [3]

    def popen(*words: Any, **more: Any) -> Any:
        if refused[0]:
            refused[0] -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(*words, **more)

    monkeypatch.setattr(supervisor.subprocess, "Popen", popen)

    async def story(made: Supervisor) -> None:
        one = made.start(Program("one", python(LIVES)))
        assert one.why == "no process could be started: resource temporarily unavailable"
        await until(lambda: one.report)
        assert one.restarts == 3

    assert events(with_supervisor(story)) == ["a program ended"]


@pytest.mark.slow
def test_a_program_that_runs_steadily_again_is_said_to_and_its_pauses_begin_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "STEADY_S", 0.5)
    mark = tmp_path / "mark"
    source = f"import os, sys; os.path.exists({str(mark)!r}) or sys.exit(3); sys.stdin.read()"

    async def story(made: Supervisor) -> None:
        one = made.start(Program("one", python(source)))
        await until(lambda: one.restarts >= 2)
        assert one.is_failing
        mark.touch()
        await until(lambda: not one.is_failing)
        assert made.warnings() == []

    assert events(with_supervisor(story)) == ["a program ended", "a program runs again"]


#: A program that reports where it listens once a file is there, and then itself ten times a second.
REPORTS = """
import json, os, select, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
print(json.dumps({'listening': {'port': 7}}), flush=True)
while not select.select([sys.stdin], [], [], 0.1)[0]:
    print(json.dumps({'figures': {'orders': 5}}), flush=True)
"""


@pytest.mark.slow
def test_a_program_that_reports_runs_and_is_said_to_run_again_only_once_it_listens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "STEADY_S", 0.1)
    mark = tmp_path / "mark"

    async def story(made: Supervisor) -> None:
        one = made.start(Program("one", (*python(REPORTS), str(mark)), reports=True))
        await asyncio.sleep(0.3)
        assert (one.state, one.is_failing) == (State.STARTING, False)
        os.kill(one.pid, signal.SIGKILL)
        await until(lambda: one.restarts == 1 and one.pid)
        await asyncio.sleep(0.3)  # longer than STEADY_S
        assert (one.state, one.is_failing) == (State.STARTING, True)
        mark.touch()
        await until(lambda: one.state is State.RUNNING)
        assert (one.is_failing, made.warnings()) == (False, [])

    assert events(with_supervisor(story)) == ["a program ended", "a program runs again"]


@pytest.mark.slow
def test_a_program_that_is_stopped_is_said_not_to_answer_until_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "SILENT_S", 1.0)
    monkeypatch.setattr(supervisor, "_LOOK_S_MAX", 3_600.0)
    mark = tmp_path / "mark"
    mark.touch()

    async def story(made: Supervisor) -> None:
        one = made.start(Program("one", (*python(REPORTS), str(mark)), "nobody is served", reports=True))
        other = made.start(Program("other", python(LIVES)))  # the control: it need not report

        def is_now(state: State) -> bool:
            made.look()
            return one.state is state

        await until(lambda: is_now(State.RUNNING) and other.report)
        os.kill(one.pid, signal.SIGSTOP)
        await until(lambda: is_now(State.SILENT))
        then = f"nobody is served meanwhile: end process {one.pid}, and it is started again"
        assert made.warnings() == [f"the program one does not answer; {then}"]
        os.kill(one.pid, signal.SIGCONT)
        await until(lambda: is_now(State.RUNNING))
        assert (other.state, made.warnings()) == (State.RUNNING, [])

    told = with_supervisor(story)
    assert set(events(told)) == {"a program does not answer", "a program answers again"}
    assert {each["process"] for each in told} == {"one"}


def test_a_node_that_stood_still_itself_takes_no_program_for_silent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "SILENT_S", 60.0)
    mark = tmp_path / "mark"
    mark.touch()

    async def story(made: Supervisor) -> None:
        one = made.start(Program("one", (*python(REPORTS), str(mark)), reports=True))
        await until(lambda: one.state is State.RUNNING)
        one.heard_s -= 3_600
        made._looked_s -= 3_600
        made.look()
        assert one.state is State.RUNNING
        one.heard_s -= 3_600
        made.look()  # the control
        assert one.state is State.SILENT

    with_supervisor(story)


@pytest.mark.slow
def test_programs_end_in_order_and_one_that_does_not_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "END_S", 0.5)
    ended: list[str] = []

    async def story(made: Supervisor) -> None:
        first = made.start(Program("first", python(LIVES)))
        for name, order, source in (("gateway", 1, LIVES), ("stubborn", 2, STUBBORN)):
            made.start(Program(name, python(source), order=order))
        await until(lambda: all(each.report for each in made))
        for each in made:
            asyncio.ensure_future(note(each)).add_done_callback(lambda _: None)
        await asyncio.sleep(0)
        await made.stop()
        await until(lambda: len(ended) == 3)
        assert first.state is State.ENDED
        assert all(each.restarts == 0 and not each.pid for each in made)

    async def note(each: Supervised) -> None:
        await each.gone.wait()
        ended.append(each.program.name)

    lines = with_supervisor(story)
    assert ended == ["stubborn", "gateway", "first"]
    assert [each["process"] for each in lines if "killed" in each["event"]] == ["stubborn"]


@pytest.mark.slow
def test_a_program_with_patience_ends_by_itself_and_one_without_gets_a_signal() -> None:
    source = "import sys, time; print('{\"figures\": {}}', flush=True); sys.stdin.read(); time.sleep(0.3)"

    async def story(made: Supervisor) -> None:
        patient = made.start(Program("patient", python(source), patience_s=60, order=1))
        other = made.start(Program("other", python(source)))
        await until(lambda: "figures" in patient.report and "figures" in other.report)
        await made.stop()
        assert (patient.why, other.why) == ("it ended with status 0", "signal 15 ended it")

    with_supervisor(story)


def test_a_program_that_does_its_work_once_is_not_started_again() -> None:
    ends: list[tuple[int, str]] = []

    async def story(made: Supervisor) -> None:
        def note(status: int, complaint: str) -> None:
            ends.append((status, complaint))

        made.start(Program("work", python("pass"), restarts=False, on_end=note))
        await until(lambda: ends)
        made.start(Program("work", python("import sys; sys.exit('no room')"), restarts=False, on_end=note))
        await until(lambda: len(ends) == 2)
        [row] = made
        assert (row.state, row.restarts) == (State.ENDED, 1)

    assert with_supervisor(story) == []
    assert ends == [(0, ""), (1, "no room")]


def test_lines_of_a_program_s_log_become_lines_of_the_node_s_with_its_name() -> None:
    source = """
import sys
from node.programs.logs import Log
log = Log()
log.info("listening", port=7)
log.warning("odd", password="hunter2")
log.close()
print("a torn line", file=sys.stderr, flush=True)
sys.stdin.read()
"""

    async def story(made: Supervisor) -> None:
        one = made.start(Program("one", python(source), named=True))
        await until(lambda: one._complaint)

    lines = with_supervisor(story)
    assert [(each["level"], each["event"], each["process"]) for each in lines] == [
        ("info", "listening", "one"),
        ("warning", "odd", "one"),
        ("warning", "a program said", "one"),
    ]
    assert lines[0]["port"] == 7
    assert "hunter2" not in str(lines)


@pytest.mark.parametrize(
    "text", ['{"figures": ' + "[" * 3_000, '{"a": ' * 10_000, '{"figures": ' + "[" * 20 + "]" * 20 + "}"]
)
def test_no_line_of_a_program_raises_into_the_loop(text: str) -> None:
    raised: list[object] = []

    async def story(made: Supervisor) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
        source = f"import sys\nfor out in sys.stdout, sys.stderr: print({text!r}, file=out, flush=True)\n{GOES_ON}"
        program = made.start(Program("odd", python(source), reports=True, named=True))
        await until(lambda: program.report and program._complaint)
        assert program.report == {"figures": {"orders": 7}}

    lines = with_supervisor(story)
    assert raised == []
    assert "a program said" in events(lines)


@pytest.mark.parametrize(
    ("line", "is_taken"),
    [
        (b'{"a": {"b": [1, -1.5, null, true, "\xc3\xa9"]}}', True),
        (b'{"a": 9223372036854775807}', True),
        (b'{"a": 9223372036854775808}', False),
        (b'{"a": %s}' % (b"9" * 5_000), False),
        (b'{"a": NaN}', False),
        (b'{"a": 1e999}', False),
        (b'{"a": "\\ud800"}', False),
        (b'{"\\ud800": 1}', False),
        (b'{"a": [[[[[[[1]]]]]]]}', True),
        (b'{"a": [[[[[[[[1]]]]]]]]}', False),
        (b"[1]", False),
        (b"{", False),
        (b"\xff", False),
        (b'{"a": "\xff"}', False),
    ],
)
def test_an_object_of_a_line_is_bounded(line: bytes, is_taken: bool) -> None:
    assert (object_of_line(line) is not None) is is_taken


@pytest.mark.slow
def test_a_program_that_was_started_again_logs_what_is_new_at_once_and_what_it_repeats_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "PAUSE_MAX_S", 0.01)
    source = f"""
import os, sys
from pathlib import Path
from node.programs.logs import Log
lives = Path({str(tmp_path / "lives")!r})
life = len(lives.read_text()) if lives.exists() else 0
lives.write_text("x" * (life + 1))
log = Log()
log.info("listening", pid=os.getpid())
log.warning("login refused", user=f"U{{life}}")
log.warning("login refused", user=f"U{{life}}")
log.close()
print("no room", file=sys.stderr, flush=True)
if life < 3:
    sys.exit(1)
print("it lives", file=sys.stderr, flush=True)
sys.stdin.read()
"""

    async def story(made: Supervisor) -> None:
        one = made.start(Program("one", python(source)))
        await until(lambda: one._complaint == "it lives")
        assert one.restarts == 3

    lines = with_supervisor(story)
    assert [each["user"] for each in lines if each["event"] == "login refused"] == [
        user for life in range(4) for user in [f"U{life}"] * 2
    ]
    assert events(lines).count("listening") == events(lines).count("a program ended") == 1
    assert [each["text"] for each in lines if each["event"] == "a program said"] == ["no room", "it lives"]


#: A gateway of a kind: it serves each client with its number, on a socket that it was lent.
ECHO = """
import os, socket, sys
with socket.socket(fileno=int(sys.argv[1])) as listening:
    while True:
        connected, _ = listening.accept()
        connected.sendall(str(os.getpid()).encode())
        connected.close()
"""


@pytest.mark.slow
def test_a_gateway_has_its_port_through_all_its_lives_and_who_connects_between_two_is_served(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.3)
    monkeypatch.setattr("node.gateways.programs.command", lambda _option, _node, fd: (*python(ECHO), str(fd)))

    async def served_by(port: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        pid = int(await reader.read())
        writer.close()
        return pid

    async def story(made: Supervisor) -> None:
        gateways = GatewayPrograms(made, NodeOptions(tmp_path))
        gateways.open(GatewayOption("one", "ouch", 0))
        port = gateways.ports["one"]
        [one] = made
        assert await served_by(port) == one.pid
        for kills in range(3):
            os.kill(one.pid, signal.SIGKILL)
            await until(lambda: not one.pid)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)  # nobody is there to take it
            assert one.restarts == kills
            pid = int(await reader.read())
            writer.close()
            assert pid == one.pid
        with pytest.raises(OSError, match="in use"):
            gateways.open(GatewayOption("other", "ouch", port))
        await made.stop()
        gateways.close()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.1", port)

    with_supervisor(story)


@pytest.mark.parametrize("waits", [False, True])
def test_a_gateway_whose_port_is_closed_goes_on_and_is_not_started_again(
    waits: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 1_000.0 if waits else 0.01)
    monkeypatch.setattr(supervisor, "PAUSE_MAX_S", 1_000.0)
    monkeypatch.setattr("node.gateways.programs.command", lambda *_: python(LIVES))

    async def story(made: Supervisor) -> None:
        gateways = GatewayPrograms(made, NodeOptions(tmp_path))
        gateways.open(GatewayOption("one", "ouch", 0))
        [one] = made
        await until(lambda: one.report)
        if waits:
            os.kill(one.pid, signal.SIGKILL)
            await until(lambda: one.state is State.WAITING)
        gateways.close()
        if not waits:
            assert (one.state, exists(one.pid)) == (State.STARTING, True)
            os.kill(one.pid, signal.SIGKILL)
        await until(lambda: one.state is State.ENDED, "it is started again")
        await asyncio.sleep(0.1)
        assert (one.state, one.restarts, made.warnings()) == (State.ENDED, 0, [])
        gateways.close()
        await made.stop()

    [said] = [each for each in with_supervisor(story) if each["event"] == "a program ended"]
    assert said["why"] == "signal 9 ended it"
    assert said["then"].startswith("it is started again" if waits else "it is not started again: its port is closed")


def test_a_program_reports_itself_and_never_waits_for_a_node_that_does_not_read() -> None:
    hears, says = os.pipe()
    report = ProgramReport(says)
    agent = Measured(Always("clock", lambda: None))
    agent.turn()
    assert report.write(listening={"port": 7}, agents=agent_values([agent]))
    first = json.loads(os.read(hears, 4_096))
    assert first["listening"] == {"port": 7}
    assert (first["agents"][0]["agent"], first["agents"][0]["worked"]) == ("clock", 1)
    written = 0
    while report.write(figures={"orders": written}, pad="x" * 50_000):
        written += 1
    assert (written > 0, report.left_out) == (True, 1)
    read = os.read(hears, 1 << 20)
    assert report.write(figures={"orders": 99}), "there is room again, behind the rest of the one before"
    read += os.read(hears, 1 << 20)
    told = [json.loads(line)["figures"]["orders"] for line in read.splitlines()]
    assert told == [*range(written), 99]
    os.close(hears)
    with pytest.raises(OSError, match="Broken pipe"):
        report.write(figures={})
    os.close(says)


def test_a_program_that_floods_its_log_waits_and_the_loop_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_lines, "REST_S", 1_000.0)
    source = "import sys\nwhile True: sys.stderr.write('x' * 99 + chr(10))"

    async def story(made: Supervisor) -> None:
        one = made.start(Program("one", python(source)))
        await until(lambda: one._complaint)
        for _ in range(20):
            await asyncio.sleep(0.01)

    lines = with_supervisor(story)
    written = sum(each.get("more", 1) for each in lines)
    assert 0 < written <= 2 * child_lines.READ_BYTES // 100 + 8 * child_lines.READ_BYTES // 100


#: A parent that is killed, with two children: one that a supervisor made, and one that just any program makes.
PARENT = """
import asyncio, subprocess, sys
from node.programs.logs import Log
from node.programs.supervisor import Program, Supervisor
from tests.test_supervisor import STUBBORN

async def run():
    made = Supervisor(Log(open("/dev/null", "w")))
    ours = made.start(Program("ours", (sys.executable, "-c", STUBBORN)))
    while not ours.report:
        await asyncio.sleep(0.01)
    plain = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=True)
    plain.stdout.readline()
    print(ours.pid, plain.pid, flush=True)
    await asyncio.sleep(3600)

asyncio.run(run())
"""


@pytest.mark.slow
def test_no_program_is_left_when_the_core_is_killed_and_a_plain_child_would_be() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    ours, plain = map(int, parent.stdout.readline().split())
    try:
        assert exists(ours)
        assert exists(plain)
        parent.kill()
        parent.wait()
        with asyncio.Runner() as runner:
            runner.run(until(lambda: not exists(ours), "it outlived the core"))
        assert exists(plain), "the control: what nobody supervises goes on"
    finally:
        parent.kill()
        parent.stdout.close()
        if exists(plain):
            os.kill(plain, signal.SIGKILL)


def test_the_figures_of_a_process_are_those_of_the_system() -> None:
    own = process_figures(os.getpid())
    assert own["memory_rss_bytes"] > 1 << 20
    assert own["cpu_s"] > 0
    assert process_figures(2**22 + 1) == {}
