"""Records of logins and attestations of slices beside a journal: `lockstep doctor` tells whether they are whole, and
`lockstep repair` keeps them, or takes them from a copy, or says that they could not be had."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="the extra attest is not installed")

from attestation import signatures, statements
from attestation.slices import sign_slice
from gateway.login_log import LOGIN, LoginKind, checked_logins
from gateway.login_log import MAGIC as LOGINS
from gateway.side_files import HEAD_BYTES
from journal import Journal
from journal.slices import places
from replication.fetch import fetch
from replication.repair import Repaired, repair
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.kills import calls_of, killed, places_among
from tests.nodes import write_slices
from tests.streams import random_stream
from tests.test_fetch import SECRET, serving
from tests.test_set_aside import changed

ROWS = random_stream(5, 200, hostile=0.0, garbage=0.0)
CUTS = [40, 80, 120]
#: Times of the first row of each file of logins, ns.
STARTS = (1_790_000_000_000_000_000, 1_790_000_100_000_000_000)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a node "a" of three closed slices that are signed, logins beside it, and two pairs of keys."""
    folder = tmp_path_factory.mktemp("made")
    write_slices(folder / "a", ROWS, CUTS)
    for name in ("key", "other"):
        signatures.new_key(folder / name)
    for place in places(folder / "a")[:-1]:
        sign_slice(folder / "a", place.number, folder / "key")
    with Journal.open(folder / "a", readonly=True) as journal:
        journal_id = journal.journal_id
    (folder / "a" / "logins").mkdir(mode=0o700)
    for start_ns in STARTS:
        rows = np.zeros(3, LOGIN)
        rows["time_ns"] = start_ns + np.arange(3)
        rows["kind"] = (LoginKind.START, LoginKind.LOGIN, LoginKind.LOGOUT)
        rows["user"], rows["name"] = (0, 1, 1), (b"", b"UA", b"UA")
        path = folder / "a" / "logins" / f"{start_ns:020}.logins"
        path.write_bytes(LOGINS + journal_id + rows.tobytes())
        path.chmod(0o600)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Iterator[Path]:
    """Nodes "a" and "b" with the same content, and the keys."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    shutil.copytree(made / "a", tmp_path / "b")
    yield tmp_path
    assert not list((tmp_path / "b").rglob("repair.new"))


def finding(lockstep: Lockstep, node: Path, name: str) -> tuple[str, str]:
    """Grade and text of a finding of the doctor, which all have the form of the schema."""
    (facts,) = checked(["doctor"], lockstep("doctor", node, "--json")[1])
    (found,) = (each for each in facts["findings"] if each["name"] == name)
    assert found["grade"] == "good" or found["then"], "who reads of a fault reads what to do"
    return found["grade"], found["what"]


def signed_again(place: Path, path: Path, key: str = "key", **values: object) -> None:
    """Write an attestation with other values in its statement, signed as it has to be."""
    statement = json.loads(path.read_text())["statements"][0]["statement"] | values
    path.write_text(json.dumps(statements.signed([statement], *signatures.private_key(place / key))))


def verified(lockstep: Lockstep, place: Path) -> int:
    return lockstep("attest", "verify", place / "b", "--public", place / "key.pub")[0]


def beside(node: Path) -> list[Path]:
    return [each.attestation for each in places(node)[:-1]]


# The doctor.


def test_the_doctor_says_that_logins_and_attestations_are_whole_or_that_there_are_none(
    place: Path, lockstep: Lockstep
) -> None:
    assert finding(lockstep, place / "b", "logins") == ("good", "6 records in 2 files, whole")
    assert finding(lockstep, place / "b", "attestations") == (
        "good",
        "beside 3 of 3 closed slices, each signed and in order",
    )
    shutil.rmtree(place / "b" / "logins")
    for path in beside(place / "b"):
        path.unlink()
    assert finding(lockstep, place / "b", "logins") == ("good", "none recorded")
    assert finding(lockstep, place / "b", "attestations") == ("good", "none")


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (0, "is no file of logins of this version"),
        (10, "was taken from another journal"),
        (HEAD_BYTES + 8, "begins with another time than its name says"),
        (HEAD_BYTES + LOGIN.itemsize + LOGIN.fields["kind"][1], "is damaged in its row 2 of 3"),  # type: ignore[index]
        (HEAD_BYTES + 2 * LOGIN.itemsize + 7, "is damaged in its row 3 of 3"),
    ],
)
def test_the_doctor_finds_a_damaged_file_of_logins_and_repair_takes_it_from_a_copy(
    at: int, said: str, place: Path, lockstep: Lockstep
) -> None:
    path = sorted((place / "b" / "logins").iterdir())[0]
    truth = path.read_bytes()
    path.write_bytes(truth[:at] + bytes([truth[at] ^ 0xC0]) + truth[at + 1 :])
    assert finding(lockstep, place / "b", "logins") == ("bad", f"{path} {said}")
    assert lockstep("doctor", place / "b")[0] == 1
    status, told, _ = lockstep("repair", place / "b", "--from", place / "a")
    assert (status, path.read_bytes()) == (0, truth)
    assert f"it was taken from {place / 'a'}, with 3 records" in told
    assert not list((place / "b" / "logins").glob("*.damaged"))


def test_a_row_that_is_cut_short_is_no_damage(place: Path, lockstep: Lockstep) -> None:
    path = sorted((place / "b" / "logins").iterdir())[1]
    path.write_bytes(path.read_bytes()[:-5])
    grade, said = finding(lockstep, place / "b", "logins")
    assert (grade, said) == ("notice", f"5 records in 2 files; the last of {path} is cut short, as by a crash")


def changed_text(path: Path, before: str, after: str) -> None:
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


Change = Callable[[Path, list[Path]], object]
OTHER = "22" * 32
FAULTS: list[tuple[str, Change]] = [
    ("cannot be read as an attestation", lambda _, files: files[1].write_text("{")),
    ("has not one statement", lambda _, files: changed_text(files[1], "statements", "x")),
    ("is not signed by this key", lambda _, files: changed_text(files[1], '"slice": 2', '"slice": 3')),
    ("names no key", lambda _, files: files[1].write_text(json.dumps(json.loads(files[1].read_text()) | {"key": 7}))),
    ("is about another journal", lambda place, files: signed_again(place, files[1], journal_id="00" * 16)),
    ("is about slice 1", lambda _, files: shutil.copy(files[0], files[1])),
    ("is about commands 1 to ", lambda place, files: signed_again(place, files[1], first_seq=1)),
    ("follows another one than that of slice 1", lambda place, files: signed_again(place, files[1], previous=OTHER)),
    ("and it is of the first slice", lambda place, files: signed_again(place, files[0], previous=OTHER)),
]  # fmt: skip


@pytest.mark.parametrize(("said", "change"), FAULTS)
def test_the_doctor_finds_what_is_wrong_with_an_attestation_as_a_file(
    said: str, change: Change, place: Path, lockstep: Lockstep
) -> None:
    change(place, beside(place / "b"))
    grade, what = finding(lockstep, place / "b", "attestations")
    assert (grade, said in what) == ("bad", True), what
    assert lockstep("doctor", place / "b")[0] == 1


def test_the_doctor_tells_a_slice_without_one_before_those_that_have_one(place: Path, lockstep: Lockstep) -> None:
    files = beside(place / "b")
    for number in (2, 1):
        files[number - 1].unlink()
        grade, what = finding(lockstep, place / "b", "attestations")
        assert (grade, f"none beside slice {number}" in what) == ("notice", True)
        sign_slice(place / "b", number, place / "key")
        assert finding(lockstep, place / "b", "attestations")[0] == "good"
    # The newest slice may be signed later, and another key is no fault of a file.
    for file in files[1:]:
        file.unlink()
    signed_again(place, files[0], "other")
    assert finding(lockstep, place / "b", "attestations") == (
        "good",
        "beside 1 of 3 closed slices, each signed and in order",
    )


def test_the_doctor_tells_a_statement_that_names_none_before_it(place: Path, lockstep: Lockstep) -> None:
    signed_again(place, beside(place / "b")[1], previous="")  # as a release before had it, whose slice 1 was not signed
    grade, what = finding(lockstep, place / "b", "attestations")
    assert (grade, "that of slice 2 names none before it, so its root vouches for nothing" in what) == ("notice", True)


def test_the_doctor_tells_of_both_where_the_journal_is_damaged(place: Path, lockstep: Lockstep) -> None:
    damage(place / "b", 2)
    (facts,) = checked(["doctor"], lockstep("doctor", place / "b", "--json")[1])
    graded = {each["name"]: each["grade"] for each in facts["findings"]}
    assert [graded[name] for name in ("journal", "logins", "attestations")] == ["bad", "good", "good"]


def test_attestations_are_not_checked_where_the_package_is_not_installed(
    place: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Any:
        raise signatures.AttestationError("not installed")

    monkeypatch.setattr(signatures, "_library", missing)
    (facts,) = checked(["doctor"], lockstep("doctor", place / "b", "--json")[1])
    (found,) = (each for each in facts["findings"] if each["name"] == "attestations")
    assert (found["grade"], found["what"]) == ("notice", "not checked: not installed")
    assert repair(place / "b", place / "a").notes == ["attestations were not checked: not installed"]


# A repair.


def damage(node: Path, number: int) -> None:
    """Flip bits in the middle of the first block of a slice."""
    found = places(node)[number - 1]
    with Journal.open(node, readonly=True, slice_number=number) as journal:
        rows = bytes(next(iter(journal.blocks())).rows)
    data = found.journal / "data.mdb"
    data.chmod(0o600)
    content, at = data.read_bytes(), -1
    while (at := content.find(rows, at + 1)) >= 0:
        content = changed(content, at + 5)
    data.write_bytes(content)


def lose(node: Path, number: int) -> None:
    (places(node)[number - 1].journal / "data.mdb").unlink()


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("harm", [damage, lose])
def test_a_repaired_slice_keeps_its_attestation(
    harm: Callable[[Path, int], None], number: int, place: Path, lockstep: Lockstep
) -> None:
    truth = [path.read_bytes() for path in beside(place / "b")]
    harm(place / "b", number)
    for path in beside(place / "a"):
        path.unlink()  # so that none comes from there
    done = repair(place / "b", place / "a")
    assert (done.left, done.notes) == ([], [])
    assert done.sentences[-1].endswith(f"is byte for byte what {beside(place / 'b')[number - 1]} attests")
    assert [path.read_bytes() for path in beside(place / "b")] == truth
    assert len(list((place / "b").rglob("attestation"))) == 3
    assert not list((place / "b").rglob("*.damaged"))
    assert verified(lockstep, place) == 0


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("number", [1, 2])
def test_a_kill_at_any_step_of_a_repair_loses_no_attestation(number: int, place: Path) -> None:
    truth = [path.read_bytes() for path in beside(place / "b")]
    for path in beside(place / "a"):
        path.unlink()
    lose(place / "b", number)
    shutil.copytree(place / "b", place / "damaged")
    with serving(place / "a") as address:

        def run() -> Repaired:
            return repair(place / "b", address, secret=SECRET)

        calls = calls_of(run)
        for at in places_among(calls, 8, 3):
            shutil.rmtree(place / "b")
            shutil.copytree(place / "damaged", place / "b")
            killed(run, at)
            done = run()
            assert (done.left, done.notes) == ([], [])
            assert [path.read_bytes() for path in beside(place / "b")] == truth
            assert len(list((place / "b").rglob("attestation"))) == 3


@pytest.mark.parametrize("is_served", [False, True])
def test_a_lost_or_damaged_attestation_comes_from_a_copy(place: Path, lockstep: Lockstep, *, is_served: bool) -> None:
    files = beside(place / "b")
    truth = [path.read_bytes() for path in files]
    files[0].unlink()
    files[1].write_bytes(changed(truth[1], len(truth[1]) // 2))
    with serving(place / "a") as address:
        done = repair(place / "b", address if is_served else place / "a", secret=SECRET)
    assert (done.left, done.notes) == ([], [])
    assert "its attestation was not there; it was taken from" in done.sentences[0]
    assert "its attestation is not right" in done.sentences[1]
    assert [path.read_bytes() for path in files] == truth
    assert not list((place / "b").rglob("*.damaged"))
    assert verified(lockstep, place) == 0
    assert repair(place / "b", place / "a") == Repaired()


def test_an_attestation_of_another_key_or_of_other_blocks_is_not_taken(place: Path, lockstep: Lockstep) -> None:
    files, of_copy = beside(place / "b"), beside(place / "a")
    files[1].unlink()
    signed_again(place, of_copy[1], "other")
    done = repair(place / "b", place / "a")
    assert (done.left, done.sentences) == ([], [])
    (note,) = done.notes
    assert "is signed by another key than those here; sign it again with `lockstep attest slices" in note
    signed_again(place, of_copy[1], blocks_sha256="00" * 32)
    (note,) = repair(place / "b", place / "a").notes
    assert "is of other blocks than those that are here" in note
    assert not files[1].exists()
    status, said, _ = lockstep("repair", place / "b", "--from", place / "a", "--json")
    (facts,) = checked(["repair"], said)
    assert (status, facts["notes"]) == (0, [note])


def test_an_attestation_of_other_blocks_that_no_copy_has_right_is_left_and_told(
    place: Path, lockstep: Lockstep
) -> None:
    for node in "ab":
        signed_again(place, beside(place / node)[1], blocks_sha256="00" * 32)
    truth = beside(place / "b")[1].read_bytes()
    status, said, _ = lockstep("repair", place / "b", "--from", place / "a")
    plain = " ".join(said.split())
    assert status == 1
    assert "still wrong: slice 2 in" in plain
    assert f"run `lockstep attest verify {place / 'b'}`" in plain
    assert beside(place / "b")[1].read_bytes() == truth


def test_an_empty_directory_gets_attestations_and_logins_of_its_copy(place: Path, lockstep: Lockstep) -> None:
    shutil.rmtree(place / "b")
    (place / "b").mkdir(mode=0o700)
    status, said, _ = lockstep("repair", place / "b", "--from", place / "a")
    assert (status, "6 records of logins were taken from" in said) == (0, True)
    for name in ("logins", "attestations"):
        assert finding(lockstep, place / "b", name) == finding(lockstep, place / "a", name)
    assert verified(lockstep, place) == 0
    for path in (place / "b" / "logins", *(place / "b" / "logins").iterdir()):
        assert path.stat().st_mode & 0o077 == 0


def test_what_of_logins_could_not_be_had_is_told(place: Path, lockstep: Lockstep) -> None:
    files = sorted((place / "b" / "logins").iterdir())
    of_copy = sorted((place / "a" / "logins").iterdir())
    files[0].write_bytes(changed(files[0].read_bytes(), 3))
    words = ["repair", place / "b", "--from", place / "a"]

    # The copy was made before the last record.
    damaged = files[0].read_bytes()
    of_copy[0].write_bytes(of_copy[0].read_bytes()[: -LOGIN.itemsize])
    status, said, _ = lockstep(*words)
    plain = " ".join(said.split())
    assert (status, "the last 1 were not had" in plain) == (0, True)
    kept = files[0].with_name(f"{files[0].name}.damaged")
    assert (kept.read_bytes(), files[0].read_bytes()) == (damaged, of_copy[0].read_bytes())

    # The copy has not that file.
    of_copy[1].unlink()
    files[1].write_bytes(changed(files[1].read_bytes(), 3))
    status, said, _ = lockstep(*words)
    plain = " ".join(said.split())
    assert (status, "no data directory among the copies has it whole" in plain) == (1, True)
    assert "who was logged in from 2026-09-21T14:15:00 on may not be known" in plain

    # None here, and some there, which may be another node's.
    shutil.rmtree(place / "b" / "logins")
    status, said, _ = lockstep(*words)
    plain = " ".join(said.split())
    assert (status, "they do not say of which node they are" in plain) == (0, True)
    assert not (place / "b" / "logins").exists()


def test_a_copy_over_a_link_gives_no_logins(place: Path, lockstep: Lockstep) -> None:
    shutil.rmtree(place / "b")
    (place / "b").mkdir(mode=0o700)
    (place / "secret").write_bytes(SECRET)
    (place / "secret").chmod(0o600)
    with serving(place / "a") as (host, port):
        words = ["repair", place / "b", "--from", f"{host}:{port}", "--secret-file", place / "secret"]
        status, said, _ = lockstep(*words)
    assert (status, "no records of logins were had for" in said) == (0, True), said


def test_a_directory_that_began_with_the_open_slice_gets_the_attestations_of_those_before(
    place: Path, lockstep: Lockstep
) -> None:
    shutil.rmtree(place / "b")
    with serving(place / "a") as address:
        fetch(address, SECRET, place / "b", name="B")
    assert checked_logins(place / "b" / "logins", b"") == []
    assert repair(place / "b", place / "a").left == []
    assert len(beside(place / "b")) == 3
    assert verified(lockstep, place) == 0
