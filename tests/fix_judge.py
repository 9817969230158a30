"""QuickFIX's suite of definitions and its dictionaries, from Debian's source package, which .ci/run fetches."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.fix.session import COMP_ID
from tests.running import ROOT
from wire.fix_dictionary import Dictionary, joined, read_xml

#: Folder into which .ci/run unpacks the source.
QUICKFIX = ROOT / "var" / "judges" / "quickfix"
SPEC = QUICKFIX / "spec"
#: Dictionaries of each version, that of the session first.
XML = {
    "FIX.4.2": ["FIX42.xml"],
    "FIX.4.4": ["FIX44.xml"],
    "FIXT.1.1": ["FIXT11.xml", "FIX50SP2.xml"],
}

needs_quickfix = pytest.mark.skipif(
    not SPEC.is_dir(), reason="QuickFIX's source is not in var/judges/quickfix, where .ci/run puts it"
)
needs_runner = pytest.mark.skipif(
    not SPEC.is_dir() or shutil.which("ruby") is None,
    reason="ruby is not installed, or QuickFIX's source is not in var/judges/quickfix, where .ci/run puts it",
)


def judge_dictionary(version: str) -> Dictionary:
    """QuickFIX's dictionary of a version."""
    read = [read_xml(SPEC / name) for name in XML[version]]
    return read[0] if len(read) == 1 else joined(*read)


@contextmanager
def echo(version: str, *arguments: str) -> Iterator[int]:
    """The port of an echo behind our session, in a process of its own."""
    command = [sys.executable, "-m", "tests.fix_echo", version, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline())
        finally:
            child.stdin.close()
            if child.poll() is None:
                child.terminate()


def verdicts(version: str, definitions: Iterable[Path], dictionaries: Iterable[Path]) -> tuple[set[str], str]:
    """Names of the definitions that an echo behind our session passes by QuickFIX's runner, and what it printed."""
    with echo(version, *map(str, dictionaries)) as port:
        return passed_by(port, definitions)


#: Messages that an exchange does not give back: orders and definitions, which a definition behind an echo expects.
_ECHOED = re.compile(r"^E.*\x0135=[dD]\x01", re.MULTILINE)


def without_echo(folder: Path) -> list[Path]:
    """Definitions that need no echo behind the session."""
    return [each for each in sorted(folder.glob("*.def")) if not _ECHOED.search(each.read_text("latin-1"))]


def for_exchange(definition: str, user: str) -> str:
    """A definition between ISLD and TW as one between the exchange and a user of two characters, with a password."""
    lines = []
    for line in definition.split("\n"):
        said = line
        if line.startswith("E"):
            before, length, behind = re.split(r"(?<=\x019=)(\d+)", line, maxsplit=1)
            more = (len(COMP_ID) - len("ISLD")) * line.count("=ISLD\x01")
            said = f"{before}{int(length) + more}{behind}"
        elif line.startswith("I") and "\x0135=A\x01" in line:
            said = re.sub(r"\x0198=", "\x01554=secret\x0198=", line, count=1)
        said = said.replace("=ISLD\x01", f"={COMP_ID}\x01").replace("=TW\x01", f"={user}\x01")
        lines.append(said)
    return "\n".join(lines)


def passed_by(port: int, definitions: Iterable[Path]) -> tuple[set[str], str]:
    """Names of the definitions that an acceptor passes by QuickFIX's runner, and what it printed."""
    done = subprocess.run(
        ["ruby", "-I.", "Runner.rb", "127.0.0.1", str(port), *map(str, definitions)],
        cwd=QUICKFIX / "test",
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    found = re.findall(r"<test name='([^']*)' result='success'", done.stdout)
    return {Path(name).stem for name in found}, done.stdout + done.stderr
