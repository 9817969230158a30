"""Operators of the page: who may sign in, how often, for how long, and that an act is a command and has an author."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marketdata.web.market import WebMarket
from node.programs.operator_socket import BoundSocket
from node.web import operator_desk
from node.web.operator_desk import ATTEMPT_S, ATTEMPTS, IDLE_S, SESSION_S, Desk
from node.web.operators import (
    OperatorFileError,
    hashed,
    parse_operators,
    read_operators,
    remove_operator,
    set_operator,
    verify,
)
from tests.json_schemas import checked
from tests.running import ROOT, started
from tests.test_web_market import CAPACITY

PASSWORD = "correct-horse"


def command(*words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "cli.main", "operator", *words]
    return subprocess.run(line, cwd=ROOT, input=given, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_the_command_writes_hashes_that_only_the_right_password_has(tmp_path: Path) -> None:
    file = tmp_path / "operators"
    for done in ("added", "changed"):
        ran = command(str(file), "ada", "--password-stdin", "--json", given=f"{PASSWORD}\n")
        assert ran.returncode == 0, ran.stderr
        (said,) = checked(("operator",), ran.stdout)
        assert said == {"operator": "ada", "file": str(file), "done": done}
    assert file.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in file.read_text(encoding="ascii")
    found = read_operators(file)
    # Control: the right one.
    assert verify(found, "ada", PASSWORD)
    for name, password in (("ada", "correct-horsf"), ("ada", ""), ("eve", PASSWORD), ("ADA", PASSWORD)):
        assert not verify(found, name, password)
    assert command(str(file), "ada", "--remove").returncode == 0
    with pytest.raises(OperatorFileError, match="has no operator; add one"):
        read_operators(file)


@pytest.mark.slow
def test_bad_names_passwords_and_files_are_told_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "operators"
    for words, given, why in (
        ((str(file), "a b", "--password-stdin"), PASSWORD, "1 to 40 letters"),
        ((str(file), "ada", "--password-stdin"), "short", "give 8 to 128"),
        ((str(file), "ada"), "", "no terminal"),
        ((str(file), "ada", "--remove", "--password-stdin"), PASSWORD, "give one of them"),
        ((str(tmp_path / "none"), "ada", "--remove"), "", "none"),
    ):
        ran = command(*words, given=given)
        assert (ran.returncode, "Traceback" in ran.stderr) == (2, False), ran.stderr
        assert why in ran.stderr.replace("\n", " "), ran.stderr
    set_operator(file, "ada", PASSWORD)
    with pytest.raises(OperatorFileError, match="has no operator 'eve'"):
        remove_operator(file, "eve")
    file.chmod(0o644)
    with pytest.raises(OperatorFileError, match="chmod 600"):
        read_operators(file)
    line = file.read_text(encoding="ascii").strip()
    for text in ("ada", "ada scrypt:14:x:y", line.replace("scrypt:14", "scrypt:60"), f"{line}\n{line}", f"{line} more"):
        with pytest.raises(OperatorFileError) as refused:
            parse_operators(text, "operators")
        assert line.split()[1] not in str(refused.value)


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.found: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.found.append((event, fields))

    warning = error = info


class Clock:
    """A clock that is set."""

    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def desk_of(directory: Path, market: WebMarket | None = None, **options: Any) -> tuple[Desk, Lines, Clock]:
    lines, clock = Lines(), Clock()
    market = WebMarket(CAPACITY) if market is None else market
    operators = {"ada": hashed(PASSWORD), "bob": hashed(PASSWORD)}
    return Desk(directory, operators, market, lines, now_s=clock, **options), lines, clock  # type: ignore[arg-type]


def run(directory: Path, check: Callable[[Desk, Lines, Clock], Any], market: WebMarket | None = None) -> None:
    async def checked_() -> None:
        desk, lines, clock = desk_of(directory, market, answer_s=30.0)
        try:
            await check(desk, lines, clock)
        finally:
            desk.close()

    asyncio.run(checked_())


@pytest.mark.slow
def test_wrong_passwords_are_refused_slowed_down_and_logged_without_them(tmp_path: Path) -> None:
    async def check(desk: Desk, lines: Lines, clock: Clock) -> None:
        for _ in range(round(ATTEMPTS)):
            answer = await desk.sign_in("10.0.0.1", "ada", "wrong-password")
            assert (answer.status, answer.cookie) == (401, None)
        assert (await desk.sign_in("10.0.0.1", "ada", PASSWORD)).status == 429
        # Control: another address is not slowed down by it, and this one is not for ever.
        assert (await desk.sign_in("10.0.0.2", "ada", PASSWORD)).status == 200
        clock.now_s += ATTEMPT_S
        assert (await desk.sign_in("10.0.0.1", "ada", PASSWORD)).status == 200
        said = json.dumps(lines.found)
        assert "an operator was refused on the page" in said
        assert "wrong-password" not in said
        assert PASSWORD not in said

    run(tmp_path, check)


def test_a_session_ends_without_use_after_its_time_and_by_its_operator(tmp_path: Path) -> None:
    async def signed_in(desk: Desk) -> str:
        answer = await desk.sign_in("10.0.0.1", "ada", PASSWORD)
        assert answer.cookie
        assert answer.value["operator"] == "ada"
        return answer.cookie

    async def check(desk: Desk, _lines: Lines, clock: Clock) -> None:
        token = await signed_in(desk)
        for _ in range(round(SESSION_S / IDLE_S)):
            clock.now_s += IDLE_S - 1.0
            assert desk.session(token) is not None
        clock.now_s += IDLE_S - 1.0
        assert desk.session(token) is None  # in all too long
        token = await signed_in(desk)
        clock.now_s += IDLE_S + 1.0
        assert desk.session(token) is None
        token, other = await signed_in(desk), await signed_in(desk)
        assert token != other
        assert desk.sign_out(token).cookie == ""
        assert desk.session(token) is None
        assert desk.session(other) is not None
        assert (await desk.report(token)).status == 401
        assert desk.who("").value == {"operator": None, "proof": None}

    run(tmp_path, check)


def test_a_page_that_only_reads_does_not_keep_its_session(tmp_path: Path) -> None:
    async def check(desk: Desk, _lines: Lines, clock: Clock) -> None:
        answer = await desk.sign_in("10.0.0.1", "ada", PASSWORD)
        token, proof = str(answer.cookie), answer.value["proof"]
        for _ in range(2):
            for _ in range(9):
                clock.now_s += IDLE_S / 10.0
                assert (await desk.report(token)).status == 503  # no node is there
                assert desk.who(token).value["operator"] == "ada"
            # Control: an act is a use, so the session goes on for as long again.
            assert (await desk.act(token, proof, "kill", "NOBODY")).status == 404
        for _ in range(10):
            clock.now_s += IDLE_S / 10.0
            await desk.report(token)
        clock.now_s += 1.0
        assert (await desk.report(token)).status == 401
        assert desk.who(token).value == {"operator": None, "proof": None}

    run(tmp_path, check)


@pytest.mark.slow
def test_an_act_needs_session_proof_and_known_name_and_is_a_journaled_command(tmp_path: Path) -> None:
    node = started(tmp_path)
    market = WebMarket(CAPACITY)
    market.participants = {"ALPHA": False, "NOBODY": False}

    async def check(desk: Desk, lines: Lines, _clock: Clock) -> None:
        answer = await desk.sign_in("10.0.0.1", "ada", PASSWORD)
        token, proof = str(answer.cookie), answer.value["proof"]
        before = (await desk.report(token)).value["status"]["seq"]
        for given, status in (
            ((token, "x", "kill", "ALPHA"), 403),
            (("", proof, "kill", "ALPHA"), 401),
            ((token, proof, "shutdown", "ALPHA"), 400),
            ((token, proof, "kill", "GAMMA"), 404),
            ((token, proof, "kill", "*"), 404),
            ((token, proof, "kill", "ALPHA\nkill BETA"), 404),
            ((token, proof, "halt", "ALPHA"), 404),
        ):
            assert (await desk.act(*given)).status == status, given
        assert (await desk.report(token)).value["status"]["seq"] == before
        # The market refuses what it does not know, and that is told.
        refused = await desk.act(token, proof, "kill", "NOBODY")
        assert refused.status == 409
        done = await desk.act(token, proof, "kill", "ALPHA")
        assert (done.status, done.value["operator"], done.value["command"]) == (200, "ada", "kill ALPHA")
        assert "> killed ALPHA" in done.value["events"]
        acted = [fields for event, fields in lines.found if event == "an operator acted on the page"]
        assert {"operator": "ada", "command": "kill ALPHA"}.items() <= acted[-1].items()

    try:
        run(node.data, check, market)
    finally:
        node.stop()
    said = subprocess.run(
        [sys.executable, "-m", "cli.main", "commands", str(node.data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert "kill ALPHA" in said
    assert "kill BETA" not in said


def test_a_node_that_is_not_there_is_told_in_a_sentence_and_its_next_life_is_asked(tmp_path: Path) -> None:
    node = started(tmp_path)

    async def check(desk: Desk, _lines: Lines, _clock: Clock) -> None:
        token = str((await desk.sign_in("10.0.0.1", "ada", PASSWORD)).cookie)
        assert (await desk.report(token)).status == 200
        node.end(9)
        answer = await desk.report(token)
        assert answer.status == 503
        assert answer.value["message"].startswith("no report of the node: ")
        await asyncio.to_thread(node.start)
        assert (await desk.report(token)).status == 200

    try:
        run(node.data, check)
    finally:
        node.stop()


class SlowNode:
    """A node's end of ``operator.sock`` that answers requests of the names in ``answered`` alone, and keeps all."""

    def __init__(self, directory: Path, *answered: str) -> None:
        self.answered, self.asked = set(answered), list[dict[str, Any]]()
        self._bound = BoundSocket(directory)
        self._bound.socket.listen(8)
        self._open = list[Any]()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._bound.socket.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: Any) -> None:
        with contextlib.suppress(OSError), connection.makefile("rw", encoding="ascii") as lines:

            def say(told: dict[str, Any]) -> None:
                lines.write(json.dumps({"ok": True, **told}) + "\n")
                lines.flush()

            say({"node": {"data": "d", "pid": os.getpid(), "directory": self._bound.identity._asdict()}})
            for line in lines:
                request = json.loads(line)
                self.asked.append(request)
                if request["do"] in self.answered:
                    say({"seq": len(self.asked), "rejected": 0, "events": ["> done"]})

    def commands(self) -> list[str]:
        return [each["text"] for each in self.asked if each["do"] == "commands"]

    def close(self) -> None:
        for connection in self._open:
            connection.close()
        self._bound.close()


def with_slow_node(
    directory: Path, node: SlowNode, check: Callable[[Desk, Lines, str, str], Any], **options: float
) -> None:
    market = WebMarket(CAPACITY)
    market.participants = {"ALPHA": False, "BETA": False}

    async def checked_() -> None:
        desk, lines, _clock = desk_of(directory, market, **options)
        try:
            answer = await desk.sign_in("10.0.0.1", "ada", PASSWORD)
            await check(desk, lines, str(answer.cookie), answer.value["proof"])
        finally:
            desk.close()

    try:
        asyncio.run(checked_())
    finally:
        node.close()


def test_an_act_does_not_wait_for_a_report_that_has_no_answer(tmp_path: Path) -> None:
    node = SlowNode(tmp_path, "commands")

    async def check(desk: Desk, _lines: Lines, token: str, proof: str) -> None:
        report = asyncio.create_task(desk.report(token))
        while not node.asked:
            await asyncio.sleep(0.01)
        done = await desk.act(token, proof, "kill", "ALPHA")
        assert done.status == 200
        assert not report.done()
        assert (await report).status == 503

    with_slow_node(tmp_path, node, check, answer_s=3.0)


def test_an_act_without_an_answer_is_told_as_not_known_and_one_behind_it_as_not_done(tmp_path: Path) -> None:
    node = SlowNode(tmp_path)

    async def check(desk: Desk, lines: Lines, token: str, proof: str) -> None:
        began_s = time.monotonic()
        first = asyncio.create_task(desk.act(token, proof, "kill", "ALPHA"))
        while not node.asked:
            await asyncio.sleep(0.01)
        unsent = await desk.act(token, proof, "kill", "BETA")
        assert unsent.status == 503
        assert unsent.value["message"].startswith("`kill BETA` was not done: ")
        unknown = await first
        assert unknown.status == 503
        assert unknown.value["message"].startswith("`kill ALPHA` is not confirmed, it may be done: ")
        assert time.monotonic() - began_s < 10.0
        await asyncio.sleep(1.5)  # the thread has given up the first one
        # What was told as not done is not done later either.
        node.answered = {"commands"}
        assert (await desk.act(token, proof, "unkill", "BETA")).status == 200
        assert node.commands() == ["kill ALPHA", "unkill BETA"]
        said = [event for event, _ in lines.found]
        assert said.count("an act on the page has no answer") == 1
        assert said.count("an act on the page was not sent") == 1

    with_slow_node(tmp_path, node, check, answer_s=1.5, act_s=1.0)


def test_an_act_on_a_node_that_is_not_there_is_told_as_not_done(tmp_path: Path) -> None:
    node = SlowNode(tmp_path, "commands")

    async def check(desk: Desk, _lines: Lines, token: str, proof: str) -> None:
        assert (await desk.act(token, proof, "kill", "ALPHA")).status == 200  # control
        node.close()
        answer = await desk.act(token, proof, "kill", "ALPHA")
        assert answer.status == 503
        assert answer.value["message"].startswith("`kill ALPHA` was not done: ")

    with_slow_node(tmp_path, node, check, answer_s=2.0)


def test_only_four_acts_are_possible() -> None:
    assert set(operator_desk.ACT_LINES) == {"kill", "unkill", "halt", "resume"}
