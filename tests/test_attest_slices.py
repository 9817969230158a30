"""Attestations beside closed slices, by `lockstep attest slices` and by a running node that has a key."""

import json
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="the extra attest is not installed")

from attestation import signatures, statements
from attestation.chain import hash_of
from attestation.errors import AttestationError
from attestation.slices import sign_slice
from engine.records import RULES_VERSION
from journal import Journal
from journal.slices import ArchiveNote, places, write_note
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

    # A statement that names another one before it, and one of another key.
    signed_again(place, second, previous="11" * 32)
    assert "statement 2 follows another one than statement 1" in found()
    second.unlink()
    assert signed(lockstep, place, "other") == [2]
    assert "statement 2 is not signed by this key" in found(node, "--public", public), "its key was not given"


def test_slices_signed_by_an_old_and_a_new_key_are_verified_by_both(place: Path, lockstep: Lockstep) -> None:
    node = place / "node"
    assert signed(lockstep, place) == [1, 2]
    places(node)[1].attestation.unlink()
    assert signed(lockstep, place, "other") == [2]
    keys = place / "keys"
    keys.mkdir()
    public, other = place / "key.pub", place / "other.pub"
    assert "has no file *.pub" in lockstep("attest", "verify", node, "--public", keys)[2]
    for each in (public, other):
        shutil.copy(each, keys)
    both = [signatures.public_key(each).hex() for each in (public, other)]
    one, two = ("--public", public), ("--public", other)
    for given in ((*one, *two), (*two, *one), ("--public", keys), ()):
        status, facts = verified(lockstep, node, *given)
        assert (status, facts["ok"], facts["keys"], facts["faults"]) == (0, True, both, [])
        assert "is signed by these keys" in lockstep("attest", "verify", node, *given)[1]
    for each, wrong in ((public, 2), (other, 1)):
        status, facts = verified(lockstep, node, "--public", each)
        assert (status, facts["ok"]) == (1, False)
        assert f"statement {wrong} is not signed by this key" in facts["faults"]
    # A statement of one key that a file gives as the other's.
    first = places(node)[0].attestation
    content = json.loads(first.read_text()) | {"key": both[1]}
    first.write_text(json.dumps(content))
    status, facts = verified(lockstep, node, "--public", keys)
    assert (status, facts["faults"]) == (1, ["statement 1 is not signed by this key"])


def test_slices_without_an_attestation_are_named(place: Path, lockstep: Lockstep) -> None:
    status, said, complaint = lockstep("attest", "verify", place / "node")
    assert (status, said, "no slice of" in complaint) == (2, "", True)
    assert signed(lockstep, place) == [1, 2]
    places(place / "node")[1].attestation.unlink()
    status, said, complaint = lockstep("attest", "verify", place / "node")
    assert status == 0
    assert "note: no attestation is beside closed slice 2" in complaint
    assert "slice 2, commands 201 to 400, is not signed, and no signed slice behind it vouches for it\n" in said
    assert "slice 3 is open, and not signed from command 401 on\n" in said


# A chain that is right in every order of signing.


def signed_again(place: Path, path: Path, **values: object) -> None:
    """Write an attestation with other values in its statement, signed by the right key."""
    statement = json.loads(path.read_text())["statements"][0]["statement"] | values
    path.write_text(json.dumps(statements.signed([statement], *signatures.private_key(place / "key"))))


FOUR = [120, 240, 360, 480]


@pytest.fixture
def longer(place: Path) -> Path:
    """The folder with a node of five slices in place of three."""
    shutil.rmtree(place / "node")
    write_slices(place / "node", ROWS, FOUR)
    return place


def sign(place: Path, *numbers: int, key: str = "key") -> None:
    for number in numbers:
        sign_slice(place / "node", number, place / key)


@pytest.mark.parametrize("order", [(1, 2, 3, 4), (4, 3, 2, 1), (2, 4, 1, 3), (3, 1, 4, 2)])
def test_statements_are_the_same_in_every_order_of_signing(
    order: tuple[int, ...], longer: Path, lockstep: Lockstep
) -> None:
    node, public = longer / "node", longer / "key.pub"
    words = ["attest", "sign", node, "--key", longer / "key", "--out", longer / "whole"]
    assert lockstep(*words)[0] == 0
    whole = [each["statement"] for each in statements.read(longer / "whole")["statements"]]
    done: set[int] = set()
    for number in order:
        sign(longer, number)
        done.add(number)
        status, facts = verified(lockstep, node, "--public", public)
        assert (status, facts["faults"], facts["notes"]) == (0, [], [])
        assert [each["slice"] for each in facts["statements"]] == sorted(done)
        expected = [(at, min((each for each in done if each > at), default=None)) for at in {1, 2, 3, 4} - done]
        told = [(each["slice"], each["vouched_by"]) for each in facts["unsigned"]]
        assert told == [*expected, (5, None)]
        assert facts["statements"] == [whole[each - 1] for each in sorted(done)]
        assert lockstep("doctor", node)[0] == 0


def test_a_slice_that_is_not_signed_has_to_be_what_the_next_one_names(longer: Path, lockstep: Lockstep) -> None:
    node, public = longer / "node", longer / "key.pub"
    sign(longer, 1, 4)
    status, said, _ = lockstep("attest", "verify", node, "--public", public)
    assert status == 0
    assert "slice 2, commands 121 to 240, is not signed itself, and is what slice 4, which is, names as before" in said
    assert said.endswith(f"and {node} is what it attests, but for what is not signed\n")
    # A forger who makes all checksums right changes a command of an unsigned slice, and keeps the signed files.
    with Journal.open(node, readonly=True) as journal:
        journal_id = journal.journal_id
    for seq in (130, 250):
        forged, other = longer / f"forged{seq}", ROWS.copy()
        other.view(np.uint8).reshape(len(other), 64)[seq, 40] ^= 1
        write_slices(forged, other, FOUR, journal_id=journal_id)
        for number in (1, 4):
            shutil.copy(places(node)[number - 1].attestation, places(forged)[number - 1].attestation)
        status, facts = verified(lockstep, forged, "--public", public)
        assert (status, "slice 3 is not what slice 4 names as before it" in facts["faults"]) == (1, True)
    signed_again(longer, places(node)[3].attestation, previous="11" * 32)
    status, facts = verified(lockstep, node, "--public", public)
    assert (status, facts["faults"]) == (1, ["slice 3 is not what slice 4 names as before it"])


def test_attestations_of_releases_that_named_none_before_an_unsigned_slice_stay_right(
    longer: Path, lockstep: Lockstep
) -> None:
    node, public = longer / "node", longer / "key.pub"
    files = [each.attestation for each in places(node)[:-1]]

    def right() -> dict[str, Any]:
        status, facts = verified(lockstep, node, "--public", public)
        assert (status, facts["faults"]) == (0, [])
        assert lockstep("doctor", node)[0] == 0
        return facts

    sign(longer, 2)
    signed_again(longer, files[1], previous="")
    sign(longer, 3)  # which names the one of slice 2 as it is
    said = "slice 2 names no slice before it, so its root vouches for nothing before it"
    assert [right()["notes"], [each["vouched_by"] for each in right()["unsigned"]]] == [[said], [None, None, None]]
    sign(longer, 1, 4)
    assert right()["notes"] == [said]
    files[1].unlink()
    assert [each for each in right()["unsigned"] if each["vouched_by"]] == [
        {"slice": 2, "first_seq": 121, "last_seq": 240, "vouched_by": 3}
    ]
    sign(longer, 2)  # which names that of slice 1 now: slice 3 names it as it was before
    assert right()["notes"] == []
    for file in files:
        file.unlink()
        right()
        sign(longer, files.index(file) + 1)
        assert right()["notes"] == []


def test_a_slice_is_named_whatever_lies_beside_it(longer: Path, lockstep: Lockstep) -> None:
    """A file that others wrote there is not relied on: the name is then made of the journal."""
    node, public = longer / "node", longer / "key.pub"
    files = [each.attestation for each in places(node)[:-1]]
    sign(longer, 1, 2)
    (honest,) = statements.read(files[1])["statements"]
    other = signatures.private_key(longer / "other")
    for foreign in (
        "{",
        json.dumps(statements.signed([honest["statement"]], *other)),
        json.dumps(statements.signed([honest["statement"] | {"commands_root": "00" * 32}], *other)),
    ):
        files[1].write_text(foreign)
        sign(longer, 3)
        assert statements.read(files[2])["statements"][0]["statement"]["previous"] == hash_of(honest["statement"])
    files[1].unlink()
    assert verified(lockstep, node, "--public", public)[0] == 0


def test_a_slice_is_not_signed_before_one_that_is_damaged(longer: Path, lockstep: Lockstep) -> None:
    data = places(longer / "node")[1].journal / "data.mdb"
    data.chmod(0o600)
    data.write_bytes(b"x" * data.stat().st_size)
    sign(longer, 1)
    status, said, complaint = lockstep("attest", "slices", longer / "node", "--key", longer / "key")
    assert (status, said) == (2, "")
    assert str(data.parent) in complaint
    assert not places(longer / "node")[2].attestation.exists()


def test_a_slice_that_is_archived_is_named_from_its_archive_and_a_dropped_one_is_missed(
    longer: Path, lockstep: Lockstep
) -> None:
    node, public = longer / "node", longer / "key.pub"
    sign(longer, 1, 2)
    named = hash_of(statements.read(places(node)[1].attestation)["statements"][0]["statement"])
    archived = longer / "archive" / "000002"
    shutil.move(places(node)[1].folder, archived)
    note = ArchiveNote(
        2, str(archived), 121, 240, 0, 0, RULES_VERSION, {}, 0, "", "2024-01-15T00:00:00Z", has_events=False
    )
    write_note(node, note)
    sign(longer, 3, 4)
    assert statements.read(places(node)[1].attestation)["statements"][0]["statement"]["previous"] == named
    status, facts = verified(lockstep, node, "--public", public)
    assert (status, facts["faults"]) == (0, [])
    assert facts["notes"] == ["slice 2 is not here, so it was not compared"]
    (archived / "attestation").unlink()
    with pytest.raises(AttestationError, match="slice 4 names another statement of slice 3, one that followed slice 2"):
        sign(longer, 3)
    places(node)[2].attestation.unlink()
    sign(longer, 3, 4)
    assert "slice 3 names no slice before it" in verified(lockstep, node, "--public", public)[1]["notes"][0]
    shutil.rmtree(node)
    write_slices(node, ROWS, FOUR)
    sign(longer, 1, 2, 3, 4)
    shutil.rmtree(places(node)[1].folder)
    status, facts = verified(lockstep, node, "--public", public)
    assert (status, facts["faults"]) == (1, ["slice 2 is missing, and no note says that it was archived"])
    attested = json.loads((node / "attestation").read_text())
    attested["statements"] += statements.read(places(node)[1].attestation)["statements"]
    (longer / "joined").write_text(json.dumps(attested))
    status, facts = verified(lockstep, longer / "joined", "--public", public)
    assert (status, facts["faults"]) == (1, ["statement 2 follows another one than statement 1"])


def test_a_statement_with_a_value_of_another_kind_is_refused(place: Path, lockstep: Lockstep) -> None:
    node = place / "node"
    sign(place, 1, 2)
    file = places(node)[1].attestation
    truth = file.read_text()
    for values in ({"slice": "2"}, {"slice": None}, {"last_seq": True}, {"previous": 5}, {"symbols": "XYZ"}):
        signed_again(place, file, **values)
        status, facts = verified(lockstep, node, "--public", place / "key.pub")
        assert status == 1
        assert "statement 2 has a value in another form than a statement has" in facts["faults"]
        assert lockstep("doctor", node)[0] == 1
        file.write_text(truth)


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
