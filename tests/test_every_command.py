"""Promises of every command: a help page with an example, and JSON for programs.

The commands are found by walking the program itself, so that one which is added is tested without a word here.
"""

import contextlib
import io
import itertools
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import pytest
import typer
from typer.main import get_command

from benchmarks.measure import row
from cli.main import app, run_line, with_named_values, without_markup
from tests.conftest import Lockstep
from tests.json_schemas import SHARED, checked, name_of, schemas


def walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of a program and every group, the program itself too: its words, and what typer made of it."""
    yield words, command
    for name, found in getattr(command, "commands", {}).items():
        yield from walk(found, (*words, name))


ALL: Final = dict(walk(get_command(app)))
GROUPS: Final = {words for words, command in ALL.items() if hasattr(command, "commands")}
LEAVES: Final = sorted(ALL.keys() - GROUPS)

# Help pages.


def examples(page: str) -> list[str]:
    """The command lines that a help text gives as examples."""
    return [
        line.strip().removeprefix("Example: ")
        for line in page.splitlines()
        if line.strip().startswith("Example: lockstep ")
    ]


def lacks(program: Any) -> list[str]:
    """Faults of the help pages of a program. Every command has --json."""
    found = []
    for words, command in walk(program):
        name = " ".join(("lockstep", *words))
        if not any(line.startswith(f"{name} ") or line == name for line in examples(command.help or "")):
            found.append(f"{name}: no example of its own")
        options = {option for parameter in command.params for option in parameter.opts}
        if not hasattr(command, "commands") and "--json" not in options:
            found.append(f"{name}: no --json")
    return found


def test_every_help_page_of_groups_and_commands_has_an_example_and_every_command_has_json() -> None:
    assert {(), ("admin",), ("admin", "user"), ("attest",), ("checkpoint",), ("journal",), ("bench",)} == GROUPS
    assert len(LEAVES) > 20
    assert lacks(get_command(app)) == []


def test_a_command_without_an_example_or_json_is_found() -> None:
    """The control of the test above."""
    inner = typer.Typer(help="A group.")
    inner.command("good")(_good)
    inner.command("bad")(_bad)
    outer = typer.Typer(help="A program.\n\nExample: lockstep group good")
    outer.add_typer(inner, name="group")
    assert lacks(get_command(outer)) == [
        "lockstep group: no example of its own",
        "lockstep group bad: no example of its own",
        "lockstep group bad: no --json",
    ]


def _good(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Do it.

    Example: lockstep group good
    """


def _bad() -> None:
    """Do it.

    Example: lockstep group good
    """


def missing(command: Any, page: str) -> list[str]:
    """Help texts of a command and its options that its page does not show whole."""
    texts = [command.help, *(getattr(each, "help", None) for each in command.params)]
    shown = re.sub(r"[\s│]", "", page)
    return [text for text in texts if text and re.sub(r"\s", "", text) not in shown]


@pytest.mark.parametrize("words", list(ALL), ids=lambda words: " ".join(words) or "lockstep")
def test_a_help_page_shows_its_example_and_every_word_of_its_texts(
    words: tuple[str, ...], lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    status, page, _ = lockstep(*words, "--help")
    assert status == 0
    shown = " ".join(page.split())
    for line in examples(ALL[words].help):
        assert f"Example: {line}" in shown
    assert words in GROUPS or "--json" in shown
    assert missing(ALL[words], page) == []


def test_text_in_brackets_is_on_the_help_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    program = typer.Typer()
    program.command()(_bracketed)
    page = help_page(without_markup(get_command(program)))
    assert missing(get_command(program), page) == []
    assert "[default: ([none], or [b])]" in " ".join(page.split())
    # The control: as typer shows it by itself.
    assert len(missing(get_command(program), help_page(get_command(program)))) == 2


@pytest.mark.slow
def test_the_lines_of_a_help_page_end_where_the_terminal_does() -> None:
    """A line that ends early has no room for the word behind it."""
    found = [line for _, command in walk(without_markup(get_command(app))) for line in ragged(help_page(command))]
    assert found == []
    # The control: as typer shows them by itself.
    assert len([line for _, command in walk(get_command(app)) for line in ragged(help_page(command))]) > 5


#: An option on a help page whose value has a Python type for its name.
TYPED: Final = re.compile(r"--[a-z-]+ [^│]*<(bool|str|int|float|path|file)")


def test_an_option_names_its_value_by_a_word_and_a_flag_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    pages = {words: help_page(command) for words, command in walk(with_named_values(get_command(app)))}
    assert [line for page in pages.values() for line in page.splitlines() if TYPED.search(line)] == []
    shown = " ".join(pages["serve",].split())
    assert "--host HOST Address" in shown
    assert "--durability fsync|replica|both|none Answers" in shown
    assert "--roll-daily Begin" in shown
    # The control: as typer shows them by itself.
    serve = next(command for words, command in walk(get_command(app)) if words == ("serve",))
    assert len([line for line in help_page(serve).splitlines() if TYPED.search(line)]) > 10


def ragged(page: str) -> list[str]:
    """Lines of a help page above its tables that end while there is room for the word behind."""
    found = []
    for paragraph in re.split(r"\n\s*\n", page.split("╭", maxsplit=1)[0]):
        lines = [line.strip() for line in paragraph.strip().splitlines()]
        for line, behind in itertools.pairwise(lines):
            if not behind.startswith("-") and len(line) + 1 + len(behind.split()[0]) <= 78:
                found.append(line)
    return found


def help_page(command: Any) -> str:
    """The help page of a command as it is printed."""
    with contextlib.redirect_stdout(io.StringIO()) as page:
        command.main(["--help"], standalone_mode=False)
    return page.getvalue()


def _bracketed(
    bounds: Annotated[
        str, typer.Option(help="The [limit] of [1-9], [red]x[/red].", show_default="[none], or [b]")
    ] = "",
) -> None:
    """Take text in [brackets], as [OPTIONS], \\[escaped] and [/].

    Example: lockstep bracketed [file]
    """


@pytest.mark.parametrize("words", list(ALL), ids=lambda words: " ".join(words) or "lockstep")
def test_every_example_is_a_command_line_that_the_program_takes(words: tuple[str, ...]) -> None:
    for example in examples(ALL[words].help):
        for line in example.split(" && "):
            given = shlex.split(line.partition(" > ")[0])[1:]
            leaf = max((found for found in LEAVES if tuple(given[: len(found)]) == found), key=len)
            # Reads the words as the program would, raising for what it would refuse, and runs nothing.
            ALL[leaf].make_context(" ".join(leaf), given[len(leaf) :])


# JSON. The command lines run one after the other on one small data directory and a copy of it.

DAY = """\
instrument XYZ tick=0.01 lot=1 reference=10.00
participant ALPHA
participant BETA
phase XYZ continuous
> phase XYZ continuous
enter ALPHA a1 sell 100 XYZ @ 10.00
> accepted a1
enter BETA b1 buy 150 XYZ @ 10.10
> accepted b1
> trade XYZ 100 @ 10.00 resting=a1 incoming=b1
at 09:31
cancel GHOST g1
> cancel_rejected g1 reason=unknown_order
"""
#: Arguments after each command's words; NODE and COPY are data directories, DAY is a file, NEW does not exist yet.
LINES: Final[dict[tuple[str, ...], str]] = {
    ("run",): "DAY --data NEW",
    ("scenario",): "DAY --engine both",
    ("events",): "NODE --with-seq",
    ("commands",): "NODE --with-events",
    ("book",): "NODE XYZ",
    ("order",): "NODE b1",
    ("state",): "NODE",
    ("export",): "NODE --out EXPORT",
    ("replay",): "NODE --out FEED",
    ("incident",): "NODE --no-pictures --out INCIDENT",
    ("ask",): "",
    ("whatif",): "NODE --drop 6 --data WHATIF",
    ("why",): "NODE 5",
    ("positions",): "NODE",
    ("stats",): "NODE",
    ("limits",): "NODE",
    ("verify",): "NODE --workers 1",
    ("compare",): "NODE COPY",
    ("doctor",): "NODE",
    ("warmup",): "",
    ("version",): "",
    ("checkpoint", "create"): "NODE",
    ("checkpoint", "list"): "NODE",
    ("checkpoint", "verify"): "NODE",
    ("checkpoint", "prune"): "NODE",
    ("roll",): "COPY",
    ("upgrade",): "NODE",
    ("journal", "info"): "NODE",
    ("journal", "check"): "NODE",
    ("journal", "index"): "NODE",
    ("journal", "keep-events"): "ROLLED",
    ("repair",): "COPY --from NODE",
    ("archive",): "COPY --older-than 1d --to ARCHIVE",
}
#: Commands that take long, and the test that reads their JSON instead.
LEFT_OUT: Final = {
    ("demo",): "trades for seconds of the clock; test_cli runs it once, with --json",
    ("bench", "engine"): "measures for a minute; its rows are printed below, without the measurement",
    ("bench", "journal"): "likewise",
    ("bench", "replay"): "likewise",
    ("bench", "slices"): "likewise",
    ("bench", "wire"): "likewise; test_wire_sockets runs what loads the node",
    ("simulate",): "wants a running node; test_simulate runs it, with --json",
    ("bench", "takeover"): "likewise",
    ("bench", "catch-up"): "likewise; test_catch_up runs it small",
    ("audit",): "wants a running primary; test_divergence runs it",
    ("serve",): "runs until it is told to end",
    ("status",): "wants a running node; test_pair_report runs it, with --json",
    ("switchover",): "wants a running pair; test_operations_runbook runs it, with --json",
    ("promote",): "wants a running pair; test_promotion runs it, with --json",
    ("gateway",): "likewise; test_gateway_process runs it",
    ("web",): "likewise; test_web_process runs it",
    ("nats",): "likewise; test_nats_process runs it",
    ("fix-data",): "likewise; test_fix_data_process runs it",
    ("feed",): "likewise; test_feed_process runs it",
    ("witness",): "likewise; test_witness reads its JSON",
    ("operator",): "asks for a password; test_operators runs it, with --json",
    ("arrivals",): "wants the records of a node; test_arrivals reads them, with --json",
    ("sessions",): "likewise",
    ("fix",): "wants a gateway of FIX; test_fix_command reads its sessions, with --json",
    ("latency",): "wants the records of a node; test_latency reads them, with --json",
    ("trade",): "wants a running node; test_trade runs it against an exchange of its own, with --json",
    ("inspect",): "is a screen; test_inspect reads its JSON",
    ("tail",): "prints until it is told to end; test_tail runs it, with --json",
    ("top",): "wants a running node; test_top runs it, with --json",
    **{
        words: "wants the package cryptography; test_attest runs each, with --json"
        for words in LEAVES
        if words[0] == "attest"
    },
    **{
        words: "wants a running node; test_admin_commands runs each, with --json"
        for words in LEAVES
        if words[0] == "admin"
    },
}


def objects(said: str) -> list[dict[str, Any]]:
    """The lines of an output, each of which has to be a JSON object; NaN and Infinity are not JSON."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    found = [json.loads(line, parse_constant=refuse) for line in said.splitlines()]
    assert all(isinstance(each, dict) for each in found), said
    return found


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Values for the capital words of LINES."""
    folder = tmp_path_factory.mktemp("every")
    (folder / "day.txt").write_text(DAY)
    if run_line(["run", str(folder / "day.txt"), "--data", str(folder / "node"), "--block-rows", "4"]) != 0:
        raise RuntimeError("the day could not be run")
    if run_line(["checkpoint", "create", str(folder / "node")]) != 0:
        raise RuntimeError("no checkpoint could be made")
    for copy in ("copy", "rolled"):
        shutil.copytree(folder / "node", folder / copy)
    if run_line(["roll", str(folder / "rolled")]) != 0:
        raise RuntimeError("no slice could be closed")
    return {
        "DAY": folder / "day.txt",
        "NODE": folder / "node",
        "COPY": folder / "copy",
        "ROLLED": folder / "rolled",
        "NEW": folder / "new",
        "ARCHIVE": folder / "archive",
        "EXPORT": folder / "export",
        "FEED": folder / "feed",
        "INCIDENT": folder / "incident.html",
        "WHATIF": folder / "whatif",
    }


def test_every_command_has_a_line_here_or_a_reason_why_not() -> None:
    assert sorted([*LINES, *LEFT_OUT]) == LEAVES


def test_every_command_has_a_schema_of_its_json_and_no_schema_is_of_none() -> None:
    assert sorted([*map(name_of, LEAVES), SHARED]) == sorted(schemas())


@pytest.mark.slow
@pytest.mark.parametrize("words", list(LINES), ids=" ".join)
def test_each_line_that_a_command_writes_with_json_is_a_json_object(
    words: tuple[str, ...], places: dict[str, Path], lockstep: Lockstep
) -> None:
    status, said, complaint = lockstep(*words, *(places.get(word, word) for word in LINES[words].split()), "--json")
    assert status == 0, complaint
    assert checked(words, said)


@pytest.mark.parametrize("what", ["engine", "journal", "replay", "slices"])
def test_a_benchmark_writes_a_json_object_a_row(what: str, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row("W1, 1 symbol", [np.float64(1.5e6), 1e6, 2e6], "commands/s", at_least=1e6), row("size", [2], "MB")]
    monkeypatch.setattr(f"benchmarks.{what}.run", lambda: rows)
    status, said, _ = lockstep("bench", what, "--json")
    told = checked(("bench", what), said)
    assert (status, [each["value"] for each in told], [each["met"] for each in told]) == (0, [1.5e6, 2], [True, None])
    status, said, _ = lockstep("bench", what)
    assert ">= 1,000,000" in said
    assert "1,500,000" in said


@pytest.mark.parametrize("said", ["no JSON\n", '"a string"\n', "{}\nnote: something\n", '{"rate": NaN}\n', "{}\n\n"])
def test_what_is_no_json_object_is_found(said: str) -> None:
    """The control of the tests above."""
    with pytest.raises((ValueError, AssertionError)):
        objects(said)
