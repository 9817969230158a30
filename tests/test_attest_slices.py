"""Attestations beside closed slices, by `lockstep attest slices` and by a running node that has a key."""

import json
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra attest is not installed")

from attestation import signatures, statements
from journal import Journal
from journal.slices import places
from node.core import slice_signer
from node.core.slice_signer import SliceSigner
from node.programs.supervisor import Supervisor
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.nodes import write_slices
from tests.ouch_messages import enter
from tests.running import Client, Running, until
from tests.slice_works import Note, Told, working
from tests.streams import random_stream
from tests.test_supervisor import until as soon

ROWS = random_stream(5, 600, hostile=0.0, garbage=0.0)
CUTS = [200, 400]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a node of three slices, and two pairs of keys."""
    write_slices(tmp_path / "node", ROWS, CUTS)
    for name in ("key", "other"):
        signatures.new_key(tmp_path / name)
    return tmp_path


def signed(lockstep: Lockstep, place: Path, key: str = "key") -> list[int]:
    (facts,) = checked(
        ["attest", "slices"], lockstep("attest", "slices", place / "node", "--key", place / key, "--json")[1]
    )
    return [each["slice"] for each in facts["attested"]]


def verified(lockstep: Lockstep, *words: object) -> tuple[int, dict[str, Any]]:
    status, said, _ = lockstep("attest", "verify", *words, "--json")
    (facts,) = checked(["attest", "verify"], said)
    return status, facts


def test_closed_slices_are_signed_each_beside_itself_as_a_whole_attestation_says_them(
    place: Path, lockstep: Lockstep
) -> None:
    node, public = place / "node", place / "key.pub"
    assert signed(lockstep, place) == [1, 2]
    assert signed(lockstep, place) == [], "each once"
    status, facts = verified(lockstep, node, "--public", public)
    assert (status, facts["ok"], [each["slice"] for each in facts["statements"]]) == (0, True, [1, 2])
    words = ["attest", "sign", node, "--key", place / "key", "--out", place / "whole"]
    assert lockstep(*words)[0] == 0
    whole = statements.read(place / "whole")["statements"]
    assert facts["statements"] == [each["statement"] for each in whole[:2]]
    assert {each.attestation.name for each in places(node)[:2]} == {"attestation"}
    for each in places(node)[:2]:
        assert verified(lockstep, each.attestation, node, "--public", public)[0] == 0
        assert each.attestation.stat().st_mode & 0o077 == 0
    # Kept events give the same statement as a replay.
    for each in places(node)[:2]:
        each.attestation.unlink()
    assert lockstep("journal", "keep-events", node)[0] == 0
    assert signed(lockstep, place) == [1, 2]
    assert verified(lockstep, node, "--public", public)[1]["statements"] == facts["statements"]


def test_what_was_changed_afterwards_is_found(place: Path, lockstep: Lockstep) -> None:
    node, public = place / "node", place / "key.pub"
    assert signed(lockstep, place) == [1, 2]
    first, second = (each.attestation for each in places(node)[:2])
    honest = {path: path.read_text() for path in (first, second)}

    def found(*words: object) -> str:
        status, facts = verified(lockstep, *(words or (node, "--public", public)))
        assert (status, facts["ok"]) == (1, False)
        return " ".join(facts["faults"])

    for key, value in (("last_seq", 199), ("commands_root", "00" * 32), ("previous", "11" * 32)):
        content = json.loads(honest[second])
        content["statements"][0]["statement"][key] = value
        second.write_text(json.dumps(content))
        assert "statement 2 is not signed by this key" in found()
    second.write_text(honest[second])
    assert "names another key" in found(node, "--public", place / "other.pub")

    # Of another journal with the same numbers, signed by the right key.
    other = place / "forged"
    write_slices(other, random_stream(6, 600, hostile=0.0, garbage=0.0), CUTS)
    shutil.copy(first, places(other)[0].attestation)
    shutil.copy(second, places(other)[1].attestation)
    assert "another journal" in found(other, "--public", public)

    # A statement that names none before it, and one of another key.
    last = signatures.private_key(place / "key")
    alone = json.loads(honest[second])["statements"][0]["statement"] | {"previous": ""}
    second.write_text(json.dumps(statements.signed([alone], *last)))
    assert "statement 2 follows another one than statement 1" in found()
    second.unlink()
    assert signed(lockstep, place, "other") == [2]
    status, _, complaint = lockstep("attest", "verify", node)
    assert (status, "signed by 2 keys" in complaint) == (2, True)


def test_slices_without_an_attestation_are_named(place: Path, lockstep: Lockstep) -> None:
    status, said, complaint = lockstep("attest", "verify", place / "node")
    assert (status, said, "no slice of" in complaint) == (2, "", True)
    assert signed(lockstep, place) == [1, 2]
    places(place / "node")[1].attestation.unlink()
    status, said, complaint = lockstep("attest", "verify", place / "node")
    assert status == 0
    assert "note: no attestation is beside closed slice 2" in complaint


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_key_that_others_may_read_or_change_is_refused_and_nothing_of_it_is_told(
    mode: int, place: Path, lockstep: Lockstep
) -> None:
    secret = (place / "key").read_text().splitlines()[1]
    (place / "key").chmod(mode)
    for words in (
        ["attest", "slices", place / "node", "--key", place / "key"],
        ["serve", "--data", place / "new", "--attest-key", place / "key"],
    ):
        status, said, complaint = lockstep(*words)
        assert (status, said, complaint.count("\n")) == (2, "", 1)
        assert f"others may read {place / 'key'}; run `chmod 600" in complaint
        assert secret not in complaint
    assert not (place / "node" / "attestation").exists()
    assert not (place / "new").exists(), "before anything is begun"


@pytest.mark.parametrize(
    ("name", "complaint"), [("key.pub", "no private key"), ("gone", "cannot be read"), ("node", "is no file")]
)
def test_what_is_no_key_is_refused_at_the_start_of_a_node(
    name: str, complaint: str, place: Path, lockstep: Lockstep
) -> None:
    (place / "key.pub").chmod(0o600)
    status, said, sentence = lockstep("serve", "--data", place / "new", "--attest-key", place / name)
    assert (status, said, sentence.count("\n")) == (2, "", 1)
    assert complaint in sentence


def signing(
    directory: Path,
    key: Path,
    story: Callable[[SliceSigner, Told], Awaitable[None]],
    *,
    awaits_events: bool = False,
) -> None:
    """Play a story with the signer of a directory, and what it tells."""

    async def told_by(made: Callable[[], SliceSigner], told: Told) -> None:
        await story(made(), told)

    def make(journal: Journal, supervisor: Supervisor, report: Note, warn: Note) -> SliceSigner:
        return SliceSigner(journal, supervisor, key, report, warn, awaits_events=awaits_events)

    working(directory, make, told_by)


@pytest.mark.slow
def test_a_signer_signs_what_is_closed_once_its_events_are_kept(
    place: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)  # the directory and the key may be named from here

    async def story(signer: SliceSigner, told: list[Any]) -> None:
        for _ in range(3):
            signer.look()
            assert signer._child is None, "no events yet"
        assert lockstep("journal", "keep-events", place / "node")[0] == 0
        await soon(lambda: signer.look() or len(told) == 2, "nothing came of it")
        assert [(what, fields["slice"]) for what, fields in told] == [("slice attested", 1), ("slice attested", 2)]
        signer.look()
        assert signer._looked_at == 3

    signing(Path("node"), Path("key"), story, awaits_events=True)
    assert verified(lockstep, place / "node", "--public", place / "key.pub")[0] == 0


@pytest.mark.slow
def test_a_slice_whose_events_never_come_is_signed_from_its_replay(
    place: Path, lockstep: Lockstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slice_signer, "EVENTS_LOOKS_MAX", 3)

    async def story(signer: SliceSigner, told: list[Any]) -> None:
        for _ in range(3):
            signer.look()
            assert signer._child is None, "it waits for them first"
        await soon(lambda: signer.look() or len(told) == 2, "nothing came of it")
        assert [(what, fields["slice"]) for what, fields in told] == [("slice attested", 1), ("slice attested", 2)]

    signing(place / "node", place / "key", story, awaits_events=True)
    assert verified(lockstep, place / "node", "--public", place / "key.pub")[0] == 0


@pytest.mark.slow
def test_a_signing_that_fails_is_told_once_a_slice_with_what_to_do(place: Path, lockstep: Lockstep) -> None:
    (place / "key").chmod(0o604)

    async def story(signer: SliceSigner, told: list[Any]) -> None:
        await soon(lambda: signer.look() or len(told) == 2, "nothing came of it")
        for _ in range(3):
            signer.look()
        assert [what for what, _ in told] == 2 * ["slice not attested"], "once a slice"
        assert "others may read" in told[0][1]["why"]
        assert told[0][1]["then"].startswith("run `lockstep attest slices")

    signing(place / "node", place / "key", story)
    (place / "key").chmod(0o600)
    assert signed(lockstep, place) == [1, 2]


@pytest.mark.slow
def test_a_node_signs_the_slices_that_it_closes_and_goes_on_where_it_cannot(tmp_path: Path, lockstep: Lockstep) -> None:
    key = tmp_path / "key"
    signatures.new_key(key)
    secret = key.read_text().splitlines()[1]
    node = Running(tmp_path / "node", "--attest-key", str(key))
    node.start()
    try:
        node.set_up()

        def trade(number: int) -> None:
            """An order is answered, whatever became of the signing."""
            client = Client(node.port, "UB")  # its newest login wins
            client.socket.sendall(enter(f"a{number}", "B", 5, 90_000))
            client.take(1 + number)

        def roll() -> None:
            with node.link() as link:
                link.ask("roll")

        trade(1)
        roll()
        until((node.data / "attestation").exists)
        status, facts = verified(lockstep, node.data, "--public", f"{key}.pub")
        assert (status, [each["slice"] for each in facts["statements"]]) == (0, [1])
        until(lambda: "slice attested" in node.logged())

        key.chmod(0o644)
        trade(2)
        roll()
        until(lambda: "slice not attested" in node.logged())
        assert "others may read" in node.logged()
        trade(3)
        assert not (node.data / "slices" / "000002" / "attestation").exists()
        assert secret not in node.logged()
        assert node.end(signal.SIGTERM) == 0
        key.chmod(0o600)
        node.start()  # which signs what was left
        until((node.data / "slices" / "000002" / "attestation").exists)
        assert verified(lockstep, node.data, "--public", f"{key}.pub")[0] == 0
    finally:
        node.stop()


def test_an_attestation_goes_with_its_slice_to_the_archive(place: Path, lockstep: Lockstep) -> None:
    node, public = place / "node", place / "key.pub"
    assert signed(lockstep, place) == [1, 2]
    first = (node / "attestation").read_text()
    words = ["archive", node, "--older-than", "1h", "--to", place / "archive", "--without-events"]
    assert lockstep(*words)[0] == 0
    assert not (node / "attestation").exists()
    (moved,) = (place / "archive").rglob("000001/attestation")
    assert moved.read_text() == first
    assert verified(lockstep, moved, moved.parent, "--public", public)[0] == 0, "with the archived slice alone"
