"""Files and folders in a data directory that no release wrote there: each is left alone, or named in a sentence."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exports.days import number_of
from gateway.login_log import LOGIN
from gateway.side_files import side_files, side_paths
from marketdata.itch.feed import session_name
from marketdata.itch.spool import SessionSpool
from tests.conftest import Lockstep
from tests.nodes import write_slices
from tests.streams import random_stream

ROWS = random_stream(5, 200, hostile=0.0, garbage=0.0)
#: Names that end as a program's own do, and are none.
NAMES = (
    "notes.txt", "x.logins", "x.arrivals", "x.latencies", "²³.logins", "x.gone", "x.new", "000009.gone", "0000².new",
    "000007.new", "x.tmp", ".tmp", "x.1.tmp", "x.checkpoint", "x.invalid", "x.events", "x.sketch", "x.archived",
    "x.archived.1.tmp", "divergence-x.bundle", "x.quarantine", "x.spool", "attestation.old", "verified.x.tmp",
    "x.register", f"{99:020}.checkpoint", f"{99:020}.logins", f"{99:020}.arrivals", f"000001-{1:020}-{200:020}.events",
)  # fmt: skip
COMMANDS = (
    "doctor", "journal check", "journal info", "state", "events --to 20", "arrivals", "latency", "sessions",
    "checkpoint list", "checkpoint create", "checkpoint verify", "checkpoint prune --keep 1", "journal index", "verify",
    "journal keep-events", "roll", "archive --older-than 9999d --to archive",
)  # fmt: skip


@pytest.fixture
def node(tmp_path: Path, lockstep: Lockstep) -> Iterator[Path]:
    """A node of three slices with kept events, an index and checkpoints."""
    node = tmp_path / "node"
    write_slices(node, ROWS, [60, 120])
    for words in (("journal", "index"), ("checkpoint", "create")):
        assert lockstep(*words, node)[0] == 0
    for name in ("logins", "arrivals", "latencies", "quarantine", "gateways", "feeds"):
        (node / name).mkdir(mode=0o700, exist_ok=True)
    return node


def answered(lockstep: Lockstep, node: Path, command: str) -> tuple[int, str]:
    words = command.split()
    at = 2 if words[0] in ("journal", "checkpoint") else 1
    words = [*words[:at], str(node), *words[at:]]
    if command.startswith("archive"):
        words[-1] = str(node.parent / "archive")
    status, _, complaint = lockstep(*words)
    return status, complaint


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_no_command_fails_by_a_stray_file_or_folder(kind: str, node: Path, lockstep: Lockstep) -> None:
    shutil.copytree(node, node.with_name("control"))
    for folder in [node, *(path for path in sorted(node.rglob("*")) if path.is_dir())]:
        for name in NAMES:
            path = folder / name
            if path.exists():
                continue
            if kind == "file":
                path.write_bytes(b"written by somebody")
                path.chmod(0o600)
            else:
                path.mkdir(mode=0o700)
    for command in COMMANDS:
        status, complaint = answered(lockstep, node, command)
        expected, _ = answered(lockstep, node.with_name("control"), command)
        assert (expected in (0, 2), status in (0, 1, 2, 75), "Traceback" in complaint) == (True, True, False), command
        said = [line for line in complaint.splitlines() if not line.startswith("note: ")]
        assert status < 2 or len(said) == 1, (command, complaint)


def test_side_files_are_those_whose_names_are_numbers(tmp_path: Path) -> None:
    journal_id, magic = bytes(range(16)), b"LOGINS01"
    for first in (1, 2):
        (tmp_path / f"{first:020}.logins").write_bytes(magic + journal_id + np.zeros(1, LOGIN).tobytes())
    for stray in ("x.logins", "5.logins", "²" * 20 + ".logins", "00000000000000000003.logins.damaged"):
        (tmp_path / stray).write_bytes(b"x")
    (tmp_path / f"{9:020}.logins").mkdir()
    assert [path.name for path in side_paths(tmp_path, ".logins")] == [f"{first:020}.logins" for first in (1, 2)]
    assert [after for _, _, after in side_files(tmp_path, ".logins", magic, journal_id, "logins")] == [2, None]


def test_a_spool_of_itch_leaves_what_it_did_not_write(tmp_path: Path) -> None:
    spool = SessionSpool(tmp_path)
    strays = [tmp_path / f"{name}.itch" for name in ("notes", "-1", "²")]
    for path in strays:
        path.write_bytes(b"x")
    for day in range(19_000, 19_040):
        spool._begin(session_name(day))
    assert all(path.exists() for path in strays)
    assert spool.newest_before(19_000) is None
    assert all(name.isascii() and name.isdigit() for name in spool.sessions())


def test_a_file_that_no_export_wrote_is_named(tmp_path: Path) -> None:
    assert number_of(tmp_path / "part-000012.parquet") == 12
    assert number_of(tmp_path / "orders-000003-2024-01-15.copy") == 3
    for name in ("x.parquet", "part-x.parquet", "notes"):
        with pytest.raises(ValueError, match="is no file of an export; move it away"):
            number_of(tmp_path / name)
