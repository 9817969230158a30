"""Attestations of a journal, their verification, and proofs from them: `lockstep attest`."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from attestation import merkle, proofs, signatures, slices, stamps, statements
from attestation.chain import Chain, Statement, hash_of, octets
from attestation.errors import AttestationError
from attestation.leaves import Leaves
from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.choice import Selection
from cli.questions.history import chosen_plays
from cli.questions.reading import rebuilt_at
from directory.small_file import write_whole
from engine.market_time import ClockPosition
from engine.names import Directory
from engine.records import COMMAND, EVENT
from engine.row_bytes import ROW
from journal.history import History
from journal.slices import Place, read_note
from notation.fix_marks import meanings
from notation.print import command_text, print_event
from replay.past import PlayedBlock

_DAY_S: Final = 86_400
_SINCE_KEY: Final = "take the public key from its owner, and give it with --public"


def new_key(path: Path, *, as_json: bool) -> int:
    """`lockstep attest key`."""
    public = signatures.new_key(path)
    if as_json:
        screen.print_json({"private": str(path), "public": str(public), "key": signatures.public_key(public).hex()})
    else:
        screen.facts([("private key", f"{path} (keep it secret)"), ("public key", f"{public} (give it away)")])
    return errors.FINE


def _write(out: Path, content: dict[str, Any]) -> None:
    """Write a file that is given away: whole, or not at all. Raises OSError."""
    write_whole(out, json.dumps(content, indent=1) + "\n", mode=0o644)


def sign(directory: Path, key_file: Path, out: Path, *, as_json: bool) -> int:
    """`lockstep attest sign`: write a signed statement about each slice."""
    if out.exists():
        raise WrongUse(f"{out} exists already; name a new file with --out")
    key, public = signatures.private_key(key_file)
    made = _statements(directory)
    _write(out, statements.signed(made, key, public))
    if as_json:
        screen.print_json(_facts(out, made, public, []))
    else:
        _show(made, public)
        screen.print_line(
            f"{out} attests this; publish its root, or get a time stamp (lockstep attest request {out}), "
            "so that nobody can sign another past later"
        )
    return errors.FINE


def _statements(directory: Path) -> list[Statement]:
    """The statement about each slice, up to its last block. Raises WrongUse where no command is."""
    made: list[Statement] = []
    with History.open(directory) as history:
        for place in history.places:
            follows = bool(made) and made[-1]["slice"] == place.number - 1
            previous = hash_of(made[-1]) if follows else ""
            to_seq = history.end_of(place)
            if to_seq >= slices.first_seq_of(history, place):
                made.append(_statement(directory, history, place, to_seq, previous))
    if not made:
        raise WrongUse(f"{directory} has no command yet, so there is nothing to attest")
    return made


def _statement(directory: Path, history: History, place: Place, to_seq: int, previous: str) -> Statement:
    """The statement about the commands of a slice up to one."""
    plays = _plays(directory, slices.first_seq_of(history, place), to_seq)

    def event_digest() -> bytes:
        return rebuilt_at(directory, str(to_seq)).engine.event_digest

    return slices.statement_of(history, place, to_seq, previous, plays, event_digest)


def _plays(directory: Path, first_seq: int, last_seq: int) -> Iterator[PlayedBlock]:
    return chosen_plays(directory, Selection(first_seq, last_seq))


def sign_slices(directory: Path, key_file: Path, *, as_json: bool) -> int:
    """`lockstep attest slices`: write the attestation of each closed slice that has none beside it."""
    signatures.check_own(key_file)
    made = []
    for place in slices.unsigned(directory):
        with screen.Bar(f"attesting slice {place.number}"):
            made.append(slices.sign_slice(directory, place.number, key_file))
        if not as_json:
            screen.print_line(f"slice {place.number} is attested by {place.attestation}")
    if as_json:
        attested = [{"slice": each["slice"], "root": hash_of(each)} for each in made]
        screen.print_json({"path": str(directory), "attested": attested})
    elif not made:
        screen.print_line(f"no closed slice of {directory} is without its attestation")
    return errors.FINE


def _facts(path: Path, made: list[Statement], public: bytes, faults: list[str]) -> dict[str, Any]:
    root = hash_of(made[-1]) if made else ""
    return {
        "path": str(path),
        "ok": not faults,
        "key": public.hex(),
        "root": root,
        "statements": made,
        "faults": faults,
    }


def _show(made: list[Statement], *publics: bytes) -> None:
    for each in made:
        screen.print_line(
            f"slice {each['slice']}: commands {each['first_seq']:,} to {each['last_seq']:,}, "
            f"{screen.counted(each['days'], 'day')} of participants, commands root {each['commands_root'][:16]}…"
        )
    screen.facts([*(("key", each.hex()) for each in publics), ("root", hash_of(made[-1]))])


def _signers(public_files: list[Path], named: list[str]) -> list[bytes]:
    """The public keys by which attestations have to be signed, which name these keys, one for each.

    That is the named one where it was given: after a roll of keys a directory has attestations of both. Raises what
    ``_public`` raises, WrongUse for a folder without a key.
    """
    files: list[Path] = []
    for path in public_files:
        found = sorted(path.glob("*.pub")) if path.is_dir() else [path]
        if not found:
            raise WrongUse(f"{path} has no file *.pub; name the file of a public key, or a folder of such files")
        files += found
    if not files:
        return [_public(None, each) for each in named]
    given = {key.hex(): key for key in map(signatures.public_key, files)}
    return [given.get(each, next(iter(given.values()))) for each in named]


def _public(path: Path | None, named: Any) -> bytes:
    """The public key: of a file, else the one that the attestation or proof names."""
    if path is not None:
        return signatures.public_key(path)
    screen.notice(f"note: the key is the one that the file itself names; {_SINCE_KEY}")
    try:
        key = bytes.fromhex(named)
    except (TypeError, ValueError) as error:
        raise AttestationError(f"the file names no key; {_SINCE_KEY}") from error
    return key


class Anchor(NamedTuple):
    """A root of the attestation that somebody else keeps. ``time``, ``authority``: of a time stamp; else None."""

    statement: Statement
    time: datetime | None = None
    authority: str | None = None


class Kept(NamedTuple):
    """Copies of an attestation that others keep: the published root, a time stamp with its authority's certificates."""

    root: str | None
    stamp: Path | None
    authority: Path | None

    def check(self) -> None:
        """Raise WrongUse for what cannot be."""
        if (self.stamp is None) != (self.authority is None):
            raise WrongUse("--stamp needs --authority FILE, the certificates that you trust, and the other way round")
        if self.root is not None and not re.fullmatch("[0-9a-fA-F]{64}", self.root):
            raise WrongUse(f"--root is {self.root!r}; a root has 64 hexadecimal digits")


def request(path: Path, out: Path, *, as_json: bool) -> int:
    """`lockstep attest request`: write the request for a time stamp on the root."""
    if out.exists():
        raise WrongUse(f"{out} exists already; name a new file with --out")
    attestation = statements.read(path)
    public = _public(None, attestation.get("key"))
    if faults := statements.faults(attestation, public):
        raise AttestationError(f"{path}: {faults[0]}")
    last = attestation["statements"][-1]["statement"]
    write_whole(out, stamps.request(octets(last)), mode=0o644)
    if as_json:
        screen.print_json({"path": str(out), "root": hash_of(last)})
    else:
        screen.facts([("root", hash_of(last))])
        screen.print_line(f"{out} is for a time stamp authority: POST it as application/timestamp-query")
        screen.print_line(f"then: lockstep attest verify {path} --stamp ANSWER --authority CERTIFICATES")
    return errors.FINE


def verify(path: Path, directory: Path | None, public_files: list[Path], kept: Kept, *, as_json: bool) -> int:
    """`lockstep attest verify`: the signatures, what others keep of the root, and with a directory its journal.

    path: of an attestation, or a data directory, for those beside its slices. public_files: of the signers, or folders
    of such files; none: the keys that the attestations name.
    """
    kept.check()
    is_beside = path.is_dir()
    if is_beside:
        attestation, named = slices.joined(path)
        directory = directory or path
        if left := [place.number for place in slices.unsigned(path)]:
            numbers = ", ".join(map(str, left))
            screen.notice(f"note: no attestation is beside closed slice {numbers}; lockstep attest slices signs it")
    else:
        attestation = statements.read(path)
        named = [str(attestation.get("key"))]
    signers = _signers(public_files, named)
    public = signers[-1]
    faults = statements.faults(attestation, public, signers=signers if is_beside else None, may_skip=is_beside)
    made: list[Statement] = [] if faults else [each["statement"] for each in attestation["statements"]]
    anchors: list[Anchor] = []
    found = Comparison([], [], [])
    if made:
        anchors, faults = _anchors(path, made, kept)
        found.notes.extend(_broken_chain(made))
    if directory is not None and made:
        _compare(directory, made, found, is_beside=is_beside)
        faults += found.faults
    if as_json:
        told = {"unsigned": [each._asdict() for each in found.unsigned], "notes": found.notes}
        told |= {"anchors": [_anchor_facts(each) for each in anchors]}
        told |= {"keys": [each.hex() for each in dict.fromkeys(signers)]}
        screen.print_json(_facts(path, made, public, faults) | told)
    else:
        if made:
            _show(made, *dict.fromkeys(signers))
        for line in (
            *map(_anchor_words, anchors),
            *(f"note: {each}" for each in found.notes),
            *map(_unsigned_words, found.unsigned),
            *faults,
        ):
            screen.print_line(line)
        by = "this key" if len(set(signers)) == 1 else "these keys"
        right = f"{path} is signed by {by}" + (f", and {directory} is what it attests" if directory else "")
        right += ", but for what is not signed" if found.unsigned else ""
        screen.verdict(not faults, f"NOT ATTESTED: do not rely on {directory or path}" if faults else right)
    return errors.FOUND if faults else errors.FINE


class Unsigned(NamedTuple):
    """Commands that no statement is about. ``slice``: their slice; its end is None where it is open.

    ``vouched_by``: the first signed slice behind it whose chain of names vouches for them; None: none does.
    """

    slice: int
    first_seq: int
    last_seq: int | None
    vouched_by: int | None


class Comparison(NamedTuple):
    """Findings beside right statements: faults of the journal, commands that are not signed, and notes."""

    faults: list[str]
    unsigned: list[Unsigned]
    notes: list[str]


def _unsigned_words(found: Unsigned) -> str:
    if found.last_seq is None:
        return f"slice {found.slice} is open, and not signed from command {found.first_seq:,} on"
    what = f"slice {found.slice}, commands {found.first_seq:,} to {found.last_seq:,}, is not signed"
    if found.vouched_by is None:
        return f"{what}, and no signed slice behind it vouches for it"
    return f"{what} itself, and is what slice {found.vouched_by}, which is, names as before it"


def _broken_chain(made: list[Statement]) -> list[str]:
    """Sentences on statements that name none before them, though they are not of the first slice."""
    return [
        f"slice {each['slice']} names no slice before it, so its root vouches for nothing before it"
        for each in made
        if each["slice"] > 1 and not each["previous"]
    ]


def _anchors(path: Path, made: list[Statement], kept: Kept) -> tuple[list[Anchor], list[str]]:
    """Roots of these statements that others keep, and sentences on what they keep of other ones."""
    by_root = {hash_of(each): each for each in made}
    anchors, faults = [], []
    if kept.root is not None:
        if (found := by_root.get(kept.root.lower())) is not None:
            anchors.append(Anchor(found))
        else:
            faults.append(f"the published root is of another attestation than {path}")
    if kept.stamp is not None and kept.authority is not None:
        stamp, why = stamps.read(kept.stamp, kept.authority)
        if stamp is None:
            faults.append(f"{kept.stamp} {why}")
        elif (found := by_root.get(stamp.root)) is not None:
            anchors.append(Anchor(found, stamp.time, stamp.authority))
        else:
            faults.append(f"{kept.stamp} is of another root, {stamp.root}, stamped at {_in_text(stamp.time)}")
    return anchors, faults


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _in_text(moment: datetime) -> str:
    """A time as texts have it, without the Z of JSON."""
    return _utc(moment).removesuffix("Z")


def _anchor_facts(anchor: Anchor) -> dict[str, Any]:
    return {
        "root": hash_of(anchor.statement),
        "slice": anchor.statement["slice"],
        "last_seq": anchor.statement["last_seq"],
        "time": None if anchor.time is None else _utc(anchor.time),
        "authority": anchor.authority,
    }


def _anchor_words(anchor: Anchor) -> str:
    of = f"slice {anchor.statement['slice']} up to command {anchor.statement['last_seq']:,}"
    if anchor.time is None:
        return f"the published root vouches for {of}"
    return f"{of} was there at {_in_text(anchor.time)}, says {anchor.authority}"


#: Sentences on keys of a statement whose values differ.
_MEANS: Final = {
    "journal_id": "it is another journal",
    "blocks_sha256": "its blocks are not those that were signed",
    "commands_root": "its commands or their events are not those that were signed",
    "days_root": "what participants did on a day is not what was signed",
    "event_digest": "its event digest is another",
}


def _compare(directory: Path, made: list[Statement], found: Comparison, *, is_beside: bool) -> None:
    """Compare a journal with statements about its slices, and say of what there is none.

    is_beside: they are all that lie beside its slices: then slices between them are read too, to tell whether they are
    what the next one names.
    """
    signed = {each["slice"]: each for each in made}
    with History.open(directory) as history:
        if history.journal_id.hex() != made[-1]["journal_id"]:
            found.faults.append(f"{directory} is another journal than the attested one")
            return
        by_number = {place.number: place for place in history.places}
        # The first slice behind each whose statement names one before it vouches for it.
        chain, pending = Chain(), list[Unsigned]()
        for number in range(history.places[0].number if history.is_part else 1, max((*by_number, *signed)) + 1):
            place, statement = by_number.get(number), signed.get(number)
            if place is None:
                found.unsigned.extend(pending)
                chain, pending = Chain(), []
                if statement is not None:
                    history.check_there(statement["first_seq"], statement["last_seq"])
                    found.faults.append(f"{directory} has no slice {number}")
                elif is_beside and read_note(directory, number) is None:
                    found.faults.append(f"slice {number} is missing, and no note says that it was archived")
                elif is_beside:
                    found.notes.append(f"slice {number} is not here, so it was not compared")
                continue
            if statement is None:
                bounds = slices.first_seq_of(history, place), history.end_of(place)
                is_open = place is history.places[-1] and not place.is_marked_closed
                pending.append(Unsigned(number, bounds[0], None if is_open else bounds[1], None))
                if is_beside and _is_named(made, number):
                    chain.take(_statement(directory, history, place, bounds[1], chain.whole))
                continue
            if pending and chain.last is not None and chain.last["slice"] == number - 1 and statement["previous"]:
                if chain.is_named_by(statement):
                    pending = [each._replace(vouched_by=number) for each in pending]
                else:
                    found.faults.append(f"slice {number - 1} is not what slice {number} names as before it")
            found.unsigned.extend(pending)
            pending = []
            chain.take(statement)
            _compare_slice(directory, history, place, statement, found)
        found.unsigned.extend(pending)


def _is_named(made: list[Statement], number: int) -> bool:
    """True if the first statement about a later slice names the one before it."""
    behind = next((each for each in made if each["slice"] > number), None)
    return behind is not None and bool(behind["previous"])


def _compare_slice(directory: Path, history: History, place: Place, signed: Statement, found: Comparison) -> None:
    """Compare a slice with its statement."""
    number, end = signed["slice"], history.end_of(place)
    is_last = place is history.places[-1]
    if end < signed["last_seq"] or (not is_last and end != signed["last_seq"]):
        found.faults.append(f"slice {number} ends at command {end:,}, and {signed['last_seq']:,} was signed for it")
        return
    if end > signed["last_seq"]:
        found.unsigned.append(Unsigned(number, signed["last_seq"] + 1, None, None))
    try:
        got = _statement(directory, history, place, signed["last_seq"], signed["previous"])
    except AttestationError as error:
        found.faults.append(str(error))
        return
    unlike = [key for key in statements.KEYS if got[key] != signed[key]]
    means = [_MEANS[key] for key in unlike if key in _MEANS] or [f"{key} differs" for key in unlike]
    found.faults.extend(f"slice {number}: {each}" for each in means)


def prove(
    directory: Path,
    by: tuple[Path | None, Path | None],
    seq: int | None,
    participant: str | None,
    day: str | None,
    out: Path,
    *,
    with_events: bool,
    as_json: bool,
) -> int:
    """`lockstep attest prove`: write a proof of a command, or of a participant's day.

    ``by``: the attestation that vouches for it, or the private key that signs the journal as it is now.
    """
    of, key_file = by
    if (of is None) == (key_file is None):
        raise WrongUse("say what vouches for it: an attestation with --of, or a private key with --key")
    if (seq is None) == (participant is None) or (participant is None) != (day is None):
        raise WrongUse("name what to prove: a command with --seq, or --participant and --day")
    day_number = None if day is None else _day_number(day)
    if out.exists():
        raise WrongUse(f"{out} exists already; name a new file with --out")
    if of is not None:
        attestation = statements.read(of)
        public = _public(None, attestation.get("key"))
        if faults := statements.faults(attestation, public):
            raise AttestationError(f"{of}: {faults[0]}")
    else:
        assert key_file is not None
        private, public = signatures.private_key(key_file)
        attestation = statements.signed(_statements(directory), private, public)
    entries, key = attestation["statements"], public.hex()
    if participant is not None and day_number is not None:
        asked, proof = f"{participant} on {day}", _proof_of_day(directory, entries, key, day_number, participant)
    else:
        assert seq is not None
        asked, proof = f"command {seq:,}", _proof_of_command(directory, entries, key, seq, with_events=with_events)
    if proof is None:
        if of is None:
            raise WrongUse(f"{directory} has nothing of {asked}; ask for another")
        raise WrongUse(f"{of} attests nothing of {asked}; attest the journal again, or ask for another")
    assert not proofs.fault(proof, public)
    _write(out, proof)
    if as_json:
        screen.print_json({"path": str(out), "kind": proof["kind"], "slices": _slices(proof)})
    else:
        _show_proof(proof)
        screen.print_line(f"{out} proves this to whoever has the public key: lockstep attest check {out}")
    return errors.FINE


def _proof_of_command(
    directory: Path, entries: list[dict[str, Any]], key: str, seq: int, *, with_events: bool
) -> proofs.Proof | None:
    """Proof of a command by the statement of its slice; None where no statement has it."""
    for entry in entries:
        signed = entry["statement"]
        if signed["first_seq"] <= seq <= signed["last_seq"]:
            leaves = Leaves()
            _check_leaves(directory, signed, leaves)
            row, events = _rows(directory, seq)
            return proofs.of_command(entry, key, leaves.commands, seq, row, events, with_events=with_events)
    return None


def _proof_of_day(
    directory: Path, entries: list[dict[str, Any]], key: str, day: int, participant: str
) -> proofs.Proof | None:
    """Proof of a participant's day by the statements of all slices that have it; None where none has."""
    found: dict[int, proofs.Proof] = {}
    for at, entry in enumerate(entries):
        leaves = Leaves((day, participant))
        _check_leaves(directory, entry["statement"], leaves)
        places = [each[:2] for each in leaves.days()]
        if (day, participant) in places:
            index, rows = places.index((day, participant)), proofs.rows_of(leaves.kept)
            found[at] = proofs.of_day(entry, key, leaves.day_leaves(), index, day, participant, rows)
    if len(found) < 2:
        return next(iter(found.values()), None)
    return proofs.of_slices(entries[min(found) : max(found) + 1], list(found.values()))


def _check_leaves(directory: Path, signed: Statement, leaves: Leaves) -> None:
    """Take the leaves of the journal. Raises AttestationError unless they are those that were signed."""
    for play, before, names in _plays(directory, signed["first_seq"], signed["last_seq"]):
        leaves.take(play.first_seq, play.commands, play.events, ClockPosition(before.now_ns, play.extended), names)
    roots = merkle.root(leaves.commands).hex(), merkle.root(leaves.day_leaves()).hex()
    if roots != (signed["commands_root"], signed["days_root"]):
        raise AttestationError(f"{directory} is not what was attested; `lockstep attest verify` says in what")


def _rows(directory: Path, seq: int) -> tuple[bytes, bytes]:
    """The row of a command, and those of its events."""
    for play, _, _ in _plays(directory, seq, seq):
        events = play.events[play.events["seq"] == seq]
        at = seq - play.first_seq
        return play.commands[at : at + 1].tobytes(), np.ascontiguousarray(events).tobytes()
    raise AttestationError(f"there is no command {seq:,} in {directory}")


def _day_number(day: str) -> int:
    try:
        moment = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise WrongUse(f"--day is {day!r}; write it as 2024-01-15") from error
    return int(moment.timestamp()) // _DAY_S


def check(path: Path, public_file: Path | None, *, as_json: bool) -> int:
    """`lockstep attest check`: a proof, without the journal."""
    proof = proofs.read(path)
    public = _public(public_file, proof.get("key"))
    why = proofs.fault(proof, public)
    if as_json:
        told = {key: proof.get(key) for key in ("kind", "seq", "day", "participant")} if not why else {}
        told |= {"slices": _slices(proof)} if not why else {}
        nothing = dict.fromkeys(("kind", "seq", "day", "participant", "slices"))
        facts = {"path": str(path), "ok": not why, "fault": why or None, "key": public.hex()}
        screen.print_json(facts | nothing | told)
    elif not why:
        _show_proof(proof)
    if not as_json:
        screen.verdict(not why, f"NOT PROVED: {why}" if why else f"{path} proves this by the key {public.hex()}")
    return errors.FOUND if why else errors.FINE


def _show_proof(proof: proofs.Proof) -> None:
    of_slices = {each["entry"]["statement"]["slice"]: each for each in proofs.by_slice(proof)}
    signed = [each["statement"] for each in proof.get("statements", [proof.get("entry")])]
    screen.facts([("journal", signed[0]["journal_id"])])
    before = signed[0]["slice"] - 1
    for statement in signed:
        for number in range(before + 1, statement["slice"]):
            screen.print_line(f"nothing is proved of slice {number}, which the signer did not have")
        before = statement["slice"]
        if statement["slice"] in of_slices:
            _show_slice(of_slices[statement["slice"]])
        else:
            screen.print_line(f"nothing is proved of {_slice_in_words(statement)}: it may have more of them or nothing")


def _slices(proof: proofs.Proof) -> list[int]:
    """Numbers of the slices of which something is proved."""
    return [each["entry"]["statement"]["slice"] for each in proofs.by_slice(proof)]


def _slice_in_words(signed: Statement) -> str:
    return f"slice {signed['slice']}, commands {signed['first_seq']:,} to {signed['last_seq']:,}"


def _show_slice(proof: proofs.Proof) -> None:
    """Print what the proof of one slice proves. A day is proved as far as the statement goes."""
    signed = proof["entry"]["statement"]
    names = Directory(tuple(signed["symbols"]), tuple(signed["participants"]))
    of_slice = _slice_in_words(signed)
    if proof["kind"] == "command":
        screen.print_line(f"command {proof['seq']:,} of {of_slice}")
        rows = [(proof["seq"], "command", proof["row"])]
        rows += [(proof["seq"], "event", row) for row in proof.get("events", ())]
    else:
        day = datetime.fromtimestamp(proof["day"] * _DAY_S, UTC).date()
        counted = screen.counted(len(proof["rows"]), "row")
        screen.print_line(f"all of {proof['participant']} on {day} in {of_slice}: {counted}")
        rows = proof["rows"]
    marks = _marks([(seq, bytes.fromhex(row)) for seq, kind, row in rows if kind == "command"])
    for seq, kind, row in rows:
        mark = f"  # {marks[seq]}" if seq in marks else ""
        screen.print_line(f"{seq:>10}  {_words(kind, bytes.fromhex(row), names)}{mark}")


def _marks(commands: list[tuple[int, bytes]]) -> dict[int, str]:
    """Meanings of the messages of FIX sessions among COMMAND rows by their numbers."""
    rows = np.frombuffer(b"".join(row for _, row in commands), COMMAND)
    return meanings(rows, np.array([seq for seq, _ in commands], np.int64))


def _words(kind: str, row: bytes, names: Directory) -> str:
    """A row in the notation; the bytes of one that has no words."""
    words = ""
    with suppress(KeyError, ValueError, IndexError):
        if kind == "event":
            return print_event(np.frombuffer(row, EVENT)[0], names)
        words = command_text(ROW.unpack(row), (0,) * 6, names)
    return words or f"raw {row.hex()}"
