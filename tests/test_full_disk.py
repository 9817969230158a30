"""Commands that write, on a disk without room: exit status 75, one sentence, nothing under the name of the output."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.question_day import write_day

ROOT = Path(__file__).parent.parent
#: Command lines by what they write: DIR is the data directory, DISK the folder of a disk of its own, which is full.
LINES = {
    "export of CSV": "export DIR --out DISK/out",
    "export of SQLite": "export DIR --format sqlite --out DISK/out",
    "export of Parquet": "export DIR --format parquet --out DISK/out",
    "export of Arrow": "export DIR --format arrow --out DISK/out",
    "export of SQL": "export DIR --format sql --out DISK/out",
    "replay": "replay DIR --out DISK/out",
    "whatif": "whatif DIR --drop 30 --data DISK/out",
    "incident": "incident DIR --no-pictures --out DISK/out.html",
    "attest key": "attest key DISK/out",
    "attest sign": "attest sign DIR --key DIR/../key --out DISK/out",
    "attest prove": "attest prove DIR --of DIR/../signed --seq 40 --out DISK/out",
    "events": "events DIR > DISK/out",
    "commands": "commands DIR --with-events > DISK/out",
    "reports": "events DIR --reports --json > DISK/out",
}
#: Lines whose output a shell has made before they begin.
_OUTPUT = ("events", "commands", "reports")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory, and beside it a key and an attestation."""
    from cli.main import run_line

    directory = tmp_path_factory.mktemp("full") / "node"
    write_day(directory, checkpoint_every=1_000, commands=3_000, seed=7)
    key, signed = directory.with_name("key"), directory.with_name("signed")
    assert run_line(["attest", "key", str(key)]) == 0
    assert run_line(["attest", "sign", str(directory), "--key", str(key), "--out", str(signed)]) == 0
    return directory


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("what", LINES)
def test_a_command_that_finds_no_room_says_so_and_can_be_tried_later(what: str, day: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    line = LINES[what].replace("DIR", str(day)).replace("DISK", str(disk))
    script = f"""
        mount -t tmpfs -o size=64k none "{disk}" && dd if=/dev/zero of="{disk}/other" bs=4k status=none 2>&-
        {sys.executable} -m cli.main {line}
        status=$?
        ls -A "{disk}" > "{tmp_path}/left"
        exit $status
    """
    ended = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    complaints = [each for each in ended.stderr.splitlines() if not each.startswith("note: ")]
    assert (ended.returncode, len(complaints)) == (75, 1), ended.stderr
    assert "space" in complaints[0] or "room" in complaints[0], complaints
    left = set((tmp_path / "left").read_text().split()) - {"other"}
    assert left <= ({"out"} if what in _OUTPUT else set()), left
