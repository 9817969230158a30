"""`lockstep attest`: honest copies and proofs are accepted, and 1,000 forged ones are all found.

A forger can write every file: his journals have right checksums, chains and event digests. He has not the private key.
"""

import copy
import itertools
import json
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="the extra attest is not installed")

from attestation import merkle, proofs, signatures, statements
from attestation.chain import hash_of, octets
from attestation.leaves import Leaves, day_leaf
from directory.recover import create
from engine.interface import new_engine
from engine.market_time import ClockPosition
from engine.records import CommandKind, concatenate
from sequencer.pump import pump
from sequencer.stamp import FileStamp
from tests.conftest import Lockstep
from tests.json_schemas import checked
from tests.nodes import SMALL, batches, write_slices
from tests.streams import random_stream

ROWS = random_stream(5, 260, hostile=0.0, garbage=0.0)
JOURNAL_ID = b"attested" + bytes(8)
SIZE = 20
DAY = "2024-01-15"


def write(directory: Path, rows: Any, size: int = SIZE) -> None:
    """A journal of these rows with the id of the attested one."""
    journal, engine = create(directory, SMALL, durability="none", journal_id=JOURNAL_ID)
    with journal:
        pump(batches(rows, size), FileStamp(), journal, engine, durability="none")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a node, a pair of keys, another pair, and the attestation of the node. Read only."""
    from cli.main import run_line

    folder = tmp_path_factory.mktemp("attest")
    write(folder / "node", ROWS)
    for name in ("key", "other"):
        signatures.new_key(folder / name)
    words = ["attest", str(folder / "node"), "--key", str(folder / "key"), "--out", str(folder / "signed")]
    assert run_line(words) == 0
    return folder


@pytest.fixture(scope="module")
def made(place: Path) -> dict[str, Any]:
    """The attestation, proofs of a command with and without events and of a day, and the public key."""
    from cli.main import run_line

    seq = next(at for at in range(100, 260) if ROWS["kind"][at - 1] == CommandKind.ENTER)
    for name, more in (
        ("command", ["--seq", str(seq)]),
        ("short", ["--seq", str(seq), "--without-events"]),
        ("day", ["--participant", "P2", "--day", DAY]),
    ):
        words = ["attest", "prove", str(place / "node"), "--of", str(place / "signed"), "--out", str(place / name)]
        assert run_line([*words, *more]) == 0
    read = {name: json.loads((place / name).read_text()) for name in ("signed", "command", "short", "day")}
    return read | {"public": signatures.public_key(place / "key.pub"), "seq": seq}


def told(lockstep: Lockstep, status: int, what: str, *words: object) -> dict[str, Any]:
    got, said, _ = lockstep("attest", what, *words, "--json")
    assert got == status
    (facts,) = checked(["attest", what], said)
    return facts


def test_an_honest_copy_is_accepted(place: Path, made: dict[str, Any], tmp_path: Path, lockstep: Lockstep) -> None:
    public = ["--public", place / "key.pub"]
    twin = shutil.copytree(place / "node", tmp_path / "twin")
    facts = told(lockstep, 0, "verify", place / "signed", twin, *public)
    assert (facts["ok"], facts["faults"]) == (True, [])
    assert facts["root"] == sha256(octets(made["signed"]["statements"][-1]["statement"])).hexdigest()
    status, said, sentence = lockstep("attest", "verify", place / "signed", twin)
    assert (status, "names; take the public key from its owner" in sentence) == (0, True)
    assert said.endswith(f"signed is signed by this key, and {twin} is what it attests\n")
    # The node goes on, and what was signed stays true.
    write(tmp_path / "longer", concatenate([ROWS, random_stream(6, 40)]))
    assert told(lockstep, 0, "verify", place / "signed", tmp_path / "longer", *public)["ok"]


def test_proofs_are_checked_without_the_journal(place: Path, made: dict[str, Any], lockstep: Lockstep) -> None:
    public = ["--public", place / "key.pub"]
    for name in ("command", "short", "day"):
        facts = told(lockstep, 0, "check", place / name, *public)
        assert (facts["ok"], facts["fault"]) == (True, None)
    row = ROWS[made["seq"] - 1]
    status, said, _ = lockstep("attest", "check", place / "command", *public)
    assert status == 0
    assert f"{made['seq']:>10}  enter P{row['participant']}" in said
    assert lockstep("attest", "check", place / "short", *public)[1].count("> ") == 0


def test_a_day_has_all_of_a_participant_and_nothing_of_others(
    place: Path, made: dict[str, Any], lockstep: Lockstep
) -> None:
    events = [json.loads(line) for line in lockstep("events", place / "node", "--json")[1].splitlines()]
    own = [
        event["seq"]
        for event in events
        if "P2" in (event.get("participant"), event.get("buy_participant"), event.get("sell_participant"))
    ]
    rows = made["day"]["rows"]
    assert [seq for seq, kind, _ in rows if kind == "event"] == own
    sent = 1 + np.flatnonzero((ROWS["participant"] == 2) & (ROWS["kind"] >= CommandKind.ENTER))
    assert set(sent.tolist()) <= {seq for seq, kind, _ in rows if kind == "command"}
    assert len(own) > 20


def mth(leaves: list[bytes]) -> bytes:
    """The tree of RFC 6962, section 2.1, as it is defined there."""
    if len(leaves) < 2:
        return sha256(b"\0" + leaves[0]).digest() if leaves else sha256(b"").digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + mth(leaves[:split]) + mth(leaves[split:])).digest()


@pytest.mark.parametrize("pairs", [1, 3, 4_096])
def test_the_tree_is_that_of_the_rfc(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merkle, "_PIECE", 2 * merkle.HASH_BYTES * pairs)  # hashed at once
    for size in (*range(1, 40), 255, 256, 257):
        contents = [bytes([at % 256, at // 256]) for at in range(size)]
        leaves = b"".join(map(merkle.leaf_hash, contents))
        root = merkle.root(leaves)
        assert root == mth(contents)
        for at in {0, 1 % size, size // 2, size - 1}:
            found = merkle.path(leaves, at)
            assert merkle.led_to(merkle.leaf_hash(contents[at]), at, size, found) == root
            assert merkle.led_to(merkle.leaf_hash(contents[at]), (at + 1) % size, size, found) != root or size == 1
            assert merkle.led_to(merkle.leaf_hash(contents[at]), at, size, [*found, bytes(32)]) is None
    assert merkle.root(b"") == mth([])


def test_a_signature_is_one_for_other_programs(place: Path, made: dict[str, Any], tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    entry = made["signed"]["statements"][0]
    text = json.dumps(entry["statement"], sort_keys=True, separators=(",", ":")).encode()
    (tmp_path / "content").write_bytes(b"lockstep attestation 1\n" + text)
    (tmp_path / "signature").write_bytes(bytes.fromhex(entry["signature"]))
    line = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(place / "key.pub"), "-rawin"]
    line += ["-in", str(tmp_path / "content"), "-sigfile", str(tmp_path / "signature")]
    assert subprocess.run(line, check=False, capture_output=True).returncode == 0
    made_outside = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(tmp_path / "key")]
    assert subprocess.run(made_outside, check=False, capture_output=True).returncode == 0
    assert len(signatures.private_key(tmp_path / "key")[1]) == 32


# Forged journals.


#: Forgeries of a journal, by the rest of the seed divided by their number.
FORGERIES: Final = ("changed", "dropped", "inserted", "block dropped", "reordered")


def kind_of(seed: int) -> str:
    """The forgery of ``forged_rows``."""
    return FORGERIES[seed % len(FORGERIES)]


def forged_rows(seed: int) -> Any:
    """The rows with one thing changed, dropped, inserted or moved."""
    choose = random.Random(seed)
    raw = ROWS.view("V64")
    at = choose.randrange(20, len(raw) - 1)
    match kind_of(seed):
        case "changed":
            changed = ROWS.copy()
            octets = changed.view(np.uint8).reshape(len(changed), 64)
            octets[at, choose.randrange(64)] ^= 1 << choose.randrange(8)
            return changed
        case "dropped":
            return np.delete(raw, at).view(ROWS.dtype)
        case "inserted":
            return np.insert(raw, at, raw[choose.randrange(len(raw))]).view(ROWS.dtype)
        case "block dropped":
            block = at // SIZE * SIZE
            return np.delete(raw, np.arange(block, min(block + SIZE, len(raw)))).view(ROWS.dtype)
        case _:
            other = next(each for each in range(at + 1, at + 300) if raw[each % len(raw)] != raw[at]) % len(raw)
            swapped = raw.copy()
            swapped[[at, other]] = swapped[[other, at]]
            return swapped.view(ROWS.dtype)


def roots(rows: Any) -> tuple[str, str]:
    """Both roots of a market of these rows."""
    engine, leaves = new_engine("kernel", SMALL), Leaves()
    for batch in batches(rows, 64):
        first_seq, now_ns = engine.seq + 1, engine.now_ns
        events = engine.apply(np.ascontiguousarray(batch.view("V64")).view(batch.dtype))
        leaves.take(first_seq, batch, events, ClockPosition(now_ns), engine.directory)
    return merkle.root(leaves.commands).hex(), merkle.root(leaves.day_leaves()).hex()


@pytest.mark.slow
def test_300_forged_markets_have_another_root_whatever_their_blocks(made: dict[str, Any]) -> None:
    signed = made["signed"]["statements"][0]["statement"]
    assert roots(ROWS) == (signed["commands_root"], signed["days_root"]), "the control: an honest market"
    found = Counter(kind_of(seed) for seed in range(300) if roots(forged_rows(seed))[0] != signed["commands_root"])
    assert found == dict.fromkeys(FORGERIES, 60)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
def test_100_forged_journals_with_right_chains_are_refused(
    part: int, place: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    public = ["--public", place / "key.pub"]
    found: Counter[str] = Counter()
    for seed in range(1_000 + part * 20, 1_020 + part * 20):
        write(tmp_path / str(seed), forged_rows(seed))
        assert lockstep("journal", "check", tmp_path / str(seed))[0] == 0, "the forger has made all checksums right"
        facts = told(lockstep, 1, "verify", place / "signed", tmp_path / str(seed), *public)
        assert facts["faults"]
        found[kind_of(seed)] += 1
        shutil.rmtree(tmp_path / str(seed))
    assert found == dict.fromkeys(FORGERIES, 4)


def test_the_same_commands_in_other_blocks_are_told(place: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    write(tmp_path / "other", ROWS, 50)
    facts = told(lockstep, 1, "verify", place / "signed", tmp_path / "other", "--public", place / "key.pub")
    assert facts["faults"] == ["slice 1: its blocks are not those that were signed"]


# Forged statements and proofs.


def leaf_places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of all plain values in a tree of JSON."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaf_places(each, (*path, key))
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from leaf_places(each, (*path, at))
    else:
        yield path


def bent(value: Any, choose: random.Random) -> Any:
    """Another plain value."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return value + choose.choice((-1, 1, 2**31, -(2**63)))
    at = choose.randrange(len(value) + 1)
    return choose.choice([value[:at] + choose.choice("0123456789abcdefP ") + value[at + 1 :] + "0", value[:-1] + "~"])


def changed_at(tree: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    made = copy.deepcopy(tree)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = change(inner[path[-1]])
    return made


def in_place(tree: Any, seed: int) -> Any:
    choose = random.Random(seed)
    places = list(leaf_places(tree))
    return changed_at(tree, choose.choice(places), lambda value: bent(value, choose))


def restructured(tree: Any, seed: int) -> Any:
    """A list of the tree with an entry dropped, doubled or moved, or an object without a key or with one more."""
    choose = random.Random(seed)
    made = copy.deepcopy(tree)
    inner: list[Any] = [made]
    for each in inner:
        inner += [
            value for value in (each.values() if isinstance(each, dict) else each) if isinstance(value, dict | list)
        ]
    chosen = choose.choice([each for each in inner if len(each) > 0])
    if isinstance(chosen, dict):
        if choose.random() < 0.5:
            del chosen[choose.choice(list(chosen))]
        else:
            chosen["more"] = 1
    elif choose.random() < 0.5 or len(chosen) < 2 or all(each == chosen[0] for each in chosen):
        chosen.insert(0, copy.deepcopy(chosen[-1]))
    else:
        chosen.append(chosen.pop(next(at for at, each in enumerate(chosen) if each != chosen[-1])))
    return made


def forgeries(forge: Callable[[Any, int], Any], tree: Any, form: str, version: int) -> Iterator[Any]:
    """A hundred of a kind that still are of the form; what is of none is refused when it is read."""
    made = (forge(tree, seed) for seed in itertools.count())
    for forged in itertools.islice(
        (each for each in made if (each.get("format"), each.get("version")) == (form, version)), 100
    ):
        assert forged != tree
        yield forged


@pytest.mark.slow
def test_600_forged_proofs_are_refused(made: dict[str, Any]) -> None:
    for name in ("command", "short", "day"):
        proof = made[name]
        assert proofs.fault(proof, made["public"]) == "", "the control: an honest proof"
        for forge in (in_place, restructured):
            count = 0
            for forged in forgeries(forge, proof, proofs.FORMAT, proofs.VERSION):
                assert proofs.fault(forged, made["public"]) != "", (name, count, forge)
                count += 1
            assert count == 100


def test_200_forged_attestations_are_refused(made: dict[str, Any]) -> None:
    signed = made["signed"]
    assert statements.faults(signed, made["public"]) == [], "the control: an honest attestation"
    for forge in (in_place, restructured):
        count = 0
        for forged in forgeries(forge, signed, statements.FORMAT, statements.VERSION):
            assert statements.faults(forged, made["public"]), (count, forge)
            count += 1
        assert count == 100


def test_a_proof_with_values_of_other_kinds_is_refused_though_its_own_key_signed_it(
    place: Path, made: dict[str, Any], tmp_path: Path, lockstep: Lockstep
) -> None:
    """Anybody can sign a proof by a key of his own, and give it to somebody who checks it."""
    key, public = signatures.private_key(place / "key")
    signed = made["signed"]["statements"][0]["statement"]
    for day, ok in ((19_000, True), (10_000_000, False), (2**62, False), (-10_000_000, False)):
        leaf = day_leaf(day, "P1", 0, 0, sha256(b"").digest())
        statement = signed | {"days": 1, "days_root": merkle.root(leaf).hex()}
        (entry,) = statements.signed([statement], key, public)["statements"]
        proof = proofs.of_day(entry, public.hex(), leaf, 0, day, "P1", [])
        (tmp_path / "proof").write_text(json.dumps(proof))
        assert told(lockstep, 0 if ok else 1, "check", tmp_path / "proof")["ok"] == ok
        assert lockstep("attest", "check", tmp_path / "proof")[0] == (0 if ok else 1)
    for proof in (made["day"], made["command"], made["short"]):
        for name in proof.keys() - {"format", "version"}:  # which are looked at as a file is read
            for value in (None, 5, [], {}, "x", 1e300, True, [[]], [[1, 2]], [None]):
                assert proofs.fault(proof | {name: value}, public), (name, value)


def test_what_another_key_has_signed_is_refused(
    place: Path, made: dict[str, Any], tmp_path: Path, lockstep: Lockstep
) -> None:
    key, other = signatures.private_key(place / "other")
    plain = [each["statement"] for each in made["signed"]["statements"]]
    (tmp_path / "forged").write_text(json.dumps(statements.signed(plain, key, other)))
    words = [tmp_path / "forged", "--public"]
    assert told(lockstep, 0, "verify", *words, place / "other.pub")["ok"], "the control: it is signed"
    faults = told(lockstep, 1, "verify", *words, place / "key.pub")["faults"]
    assert faults == ["it names another key", "statement 1 is not signed by this key"]
    for name in ("command", "day"):
        entry = statements.signed(plain, key, other)["statements"][0]
        forged = made[name] | {"entry": entry, "key": other.hex()}
        assert proofs.fault(forged, other) == ""
        assert proofs.fault(forged, made["public"]) == "its statement is not signed by this key"


def test_slices_are_attested_in_a_chain(place: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    rows = random_stream(9, 600, hostile=0.0, garbage=0.0)
    write_slices(tmp_path / "node", rows, [200, 400])
    out = tmp_path / "signed"
    facts = told(lockstep, 0, "sign", tmp_path / "node", "--key", place / "key", "--out", out)
    made = facts["statements"]
    assert [each["slice"] for each in made] == [1, 2, 3]
    assert [each["previous"] for each in made] == ["", *(hash_of(each) for each in made[:2])]
    public = ["--public", place / "key.pub"]
    assert told(lockstep, 0, "verify", out, tmp_path / "node", *public)["ok"]
    for order in ([0, 2], [1, 0, 2], [0, 1, 1, 2]):
        attestation = json.loads(out.read_text())
        attestation["statements"] = [attestation["statements"][at] for at in order]
        (tmp_path / "forged").write_text(json.dumps(attestation))
        assert told(lockstep, 1, "verify", tmp_path / "forged", *public)["faults"]
    words = ["attest", "prove", tmp_path / "node", "--of", out, "--seq", "300", "--out", tmp_path / "proof"]
    assert lockstep(*words)[0] == 0
    assert told(lockstep, 0, "check", tmp_path / "proof", *public)["seq"] == 300


def test_statements_of_two_pasts_are_no_chain_though_one_key_has_signed_both(
    place: Path, tmp_path: Path, lockstep: Lockstep
) -> None:
    rows = random_stream(9, 600, hostile=0.0, garbage=0.0)
    signed = []
    for name, count in (("one", 600), ("other", 590)):
        write_slices(tmp_path / name, np.delete(rows, 150) if name == "other" else rows[:count], [200, 400])
        told(lockstep, 0, "sign", tmp_path / name, "--key", place / "key", "--out", tmp_path / f"{name}.signed")
        signed.append(json.loads((tmp_path / f"{name}.signed").read_text()))
    public = signatures.public_key(place / "key.pub")
    assert [statements.faults(each, public) for each in signed] == [[], []], "the control"
    mixed = signed[0] | {"statements": [signed[0]["statements"][0], *signed[1]["statements"][1:]]}
    assert statements.faults(mixed, public) == ["statement 2 follows another one than statement 1"]
    for broken in ("text", {}, {"statement": "text", "signature": "00"}):
        mixed["statements"][0] = broken
        (found,) = statements.faults(mixed, public)
        assert found.startswith("statement 1 ")


def test_a_day_that_goes_over_slices_is_proved_in_each_of_them(place: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    write_slices(tmp_path / "node", ROWS, [60, 120, 180])
    out, public = tmp_path / "day", ["--public", place / "key.pub"]
    words = ["--key", place / "key", "--participant", "P2", "--day", DAY, "--out", out]
    assert told(lockstep, 0, "prove", tmp_path / "node", *words) == {
        "path": str(out), "kind": "days", "slices": [1, 2, 3, 4],
    }  # fmt: skip
    proof = json.loads(out.read_text())
    shown = told(lockstep, 0, "check", out, *public)
    assert (shown["ok"], shown["kind"], shown["participant"]) == (True, "days", "P2")
    assert shown["slices"] == [1, 2, 3, 4]
    events = [json.loads(line) for line in lockstep("events", tmp_path / "node", "--json")[1].splitlines()]
    names = ("participant", "buy_participant", "sell_participant")
    own = [event["seq"] for event in events if "P2" in [event.get(name) for name in names]]
    assert [seq for part in proof["parts"] for seq, kind, _ in part["rows"] if kind == "event"] == own
    said = lockstep("attest", "check", out, *public)[1]
    assert f"all of P2 on {DAY} in slice 1, commands 1 to " in said
    assert f"all of P2 on {DAY} in slice 4, commands " in said
    # Of a slice between them that has no part nothing is proved, and that is said.
    without = proof | {"parts": [part for part in proof["parts"] if part["slice"] != 2]}
    (tmp_path / "without").write_text(json.dumps(without))
    assert told(lockstep, 0, "check", tmp_path / "without", *public)["slices"] == [1, 3, 4]
    assert "nothing is proved of slice 2, commands " in lockstep("attest", "check", tmp_path / "without", *public)[1]
    key = signatures.public_key(place / "key.pub")
    for parts in (proof["parts"][1:], proof["parts"][:-1], proof["parts"][::-1], proof["parts"][:1]):
        assert "are not those of its statements" in proofs.fault(proof | {"parts": parts}, key)
    assert "follows another" in proofs.fault(proof | {"statements": proof["statements"][::2]}, key)
    for forge in (in_place, restructured):
        for count, forged in enumerate(forgeries(forge, proof, proofs.FORMAT, proofs.VERSION)):
            assert proofs.fault(forged, key) != "", (count, forge)


def test_a_proof_says_which_rows_are_messages_of_a_fix_session(place: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "day.txt").write_text(
        "participant ALPHA\ncancel ALPHA ~0000000000000000 qty=5 context=2001000000030007\n"
        "cancel ALPHA ~0000000000000000 qty=5\n"
    )
    assert lockstep("run", tmp_path / "day.txt", "--data", tmp_path / "node")[0] == 0
    words = ["--key", place / "key", "--participant", "ALPHA", "--day", DAY, "--out", tmp_path / "day"]
    said = lockstep("attest", "prove", tmp_path / "node", *words)[1]
    rows = [line for line in said.splitlines() if "~0000000000000000" in line]
    message = "  # FIX session message, no order"
    assert [message in line for line in rows] == [True, True, False, False]
    assert rows[:2] == [line for line in said.splitlines() if line.endswith(message)]


def test_the_private_key_is_nobody_elses(place: Path) -> None:
    assert (place / "key").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("made")
def test_wrong_use_is_refused_in_a_sentence(place: Path, tmp_path: Path, lockstep: Lockstep) -> None:
    (tmp_path / "text").write_text("no key")
    node, signed = place / "node", place / "signed"
    for words, why in (
        ([node, "--key", place / "key", "--out", signed], "exists already"),
        ([node, "--key", tmp_path / "none", "--out", tmp_path / "a"], "there is no"),
        ([node, "--key", tmp_path / "text", "--out", tmp_path / "a"], "no private key"),
        ([node, "--key", place / "key.pub", "--out", tmp_path / "a"], "in PEM: it is the public one of a"),
        (["key", place / "key"], "exists already"),
        (["verify", tmp_path / "none"], "there is no"),
        (["verify", tmp_path / "text"], "cannot be read as an attestation"),
        (["verify", place / "command"], "is no attestation"),
        (["check", signed], "is no proof"),
        (["verify", signed, "--public", place / "key"], "no public key in PEM: it is the private one of a pair"),
        (["verify", signed, "--public", tmp_path / "text"], "no public key in PEM; `lockstep attest key FILE` makes"),
        (["prove", node, "--of", signed, "--out", tmp_path / "a"], "name what to prove"),
        (["prove", node, "--seq", "1", "--out", tmp_path / "a"], "say what vouches for it"),
        (["prove", node, "--of", signed, "--key", place / "key", "--seq", "1", "--out", tmp_path / "a"], "say what"),
        (["prove", node, "--key", place / "key", "--seq", "99999", "--out", tmp_path / "a"], "nothing of command"),
        (["prove", node, "--of", signed, "--seq", "1", "--participant", "P1", "--out", tmp_path / "a"], "name what"),
        (["prove", node, "--of", signed, "--seq", "99999", "--out", tmp_path / "a"], "attests nothing of command"),
        (
            ["prove", node, "--of", signed, "--participant", "P2", "--day", "1999-01-01", "--out", tmp_path / "a"],
            "nothing",
        ),
        (["prove", node, "--of", signed, "--participant", "P2", "--day", "May", "--out", tmp_path / "a"], "2024-01-15"),
    ):
        status, said, sentence = lockstep("attest", *words)
        assert (status, said, why in sentence) == (2, "", True), sentence
    assert not (tmp_path / "a").exists()
