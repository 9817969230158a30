"""Checkpoints, which are images of the state: `lockstep checkpoint list|create|verify|prune`."""

from pathlib import Path

from checkpoints import CheckpointInfo, CheckpointStore
from checkpoints.store import summary_of
from cli import errors, screen
from cli.questions.reading import check_whole
from cli.warmup import ready
from directory.recover import checkpoint, usable
from directory.recover import prune as prune_checkpoints
from journal.history import History
from journal.slices import Place, start_seq
from replay.rebuild import begins, journal_of


def _store(directory: Path) -> CheckpointStore:
    """Checkpoints of the open slice of a data directory. Raises JournalError if ``directory`` is none."""
    with journal_of(directory) as journal:
        return CheckpointStore(journal.place.folder)


def holds_streams(directory: Path) -> bool:
    """True for the directory of a node, which has users' streams; that of `lockstep run` has none."""
    return (directory / "streams").is_dir()


def list_checkpoints(directory: Path, *, as_json: bool) -> int:
    """`lockstep checkpoint list`: list the checkpoints of all slices, damaged ones too, and the images at the start of
    slices."""
    _store(directory)  # raises where the directory is none of ours
    with History.open(directory) as history:
        found = [(place, info) for place in history.places for info in _images(place)]
        gaps = [gap.sentence for gap in history.gaps()]
    if as_json:
        for place, info in found:
            screen.print_json({"slice": place.number, "is_start": _is_start(place, info)} | _facts(info))
        return errors.FINE
    for sentence in gaps:
        screen.notice(f"note: {sentence}")
    if not found:
        screen.print_line(f"no checkpoints in {directory}; `lockstep checkpoint create {directory}` takes one")
        return errors.FINE
    rows = [
        (
            place.number,
            screen.count(info.seq),
            screen.size(info.bytes),
            _digest(info),
            f"invalid: {info.why}" if not info.valid else "start of the slice" if _is_start(place, info) else "",
        )
        for place, info in found
    ]
    screen.table(["slice", "seq", "size", "state digest", ""], rows, right=("slice", "seq", "size"))
    return errors.FINE


def _images(place: Place) -> list[CheckpointInfo]:
    """The image that a slice starts from, unless it is the first, and the checkpoints of the slice."""
    start = summary_of(place.start_image, start_seq(place)) if place.start_image.exists() else None
    return [*([] if start is None else [start]), *CheckpointStore(place.folder).list()]


def _is_start(place: Place, info: CheckpointInfo) -> bool:
    return info.path == place.start_image


def create(directory: Path, *, as_json: bool) -> int:
    """`lockstep checkpoint create`: write one at the last durable command; a node may run."""
    check_whole(directory)
    ready()
    with screen.Bar("replaying") as bar:
        seq, path = checkpoint(directory, progress=bar.to)
    if as_json:
        screen.print_json({"seq": seq, "path": None if path is None else str(path), "created": path is not None})
    elif path is None:
        screen.print_line(f"there is a checkpoint at command {screen.count(seq)} already")
    else:
        screen.print_line(f"checkpoint at command {screen.count(seq)}: {path}")
    if path is not None and holds_streams(directory):
        screen.notice(
            "note: it lacks the users' streams, so a node that starts from it rebuilds them from an older checkpoint; "
            f"`lockstep admin checkpoint {directory}` has a running node write one that has them"
        )
    return errors.FINE


def verify(directory: Path, *, as_json: bool) -> int:
    """`lockstep checkpoint verify`: exit status 1 if one cannot be used."""
    with errors.finding():
        check_whole(directory)
    infos = _store(directory).list()
    with errors.finding(), screen.Bar("reading checkpoints"), journal_of(directory) as journal:
        good, wrong = usable(directory)
        starts = begins(good[0].seq if good else journal.start_seq, journal)
    if as_json:
        for info in infos:
            screen.print_json({"seq": info.seq, "valid": info.path not in wrong, "why": wrong.get(info.path)})
        return errors.FOUND if wrong else errors.FINE
    for info in infos:
        screen.print_line(f"{screen.count(info.seq)}: {wrong.get(info.path, 'good')}")
    if not infos:
        screen.print_line(f"no checkpoints in {directory}; recovery starts {starts}")
    elif wrong:
        cannot = f"{len(wrong)} of {screen.counted(len(infos), 'checkpoint')} cannot be used"
        screen.verdict(False, f"{cannot}; recovery starts {starts}")
    else:
        screen.verdict(True, "it is good" if len(infos) == 1 else f"all {len(infos)} are good")
    return errors.FOUND if wrong else errors.FINE


def prune(directory: Path, keep: int, *, as_json: bool) -> int:
    """`lockstep checkpoint prune`: remove all but the newest usable checkpoints."""
    check_whole(directory)
    with screen.Bar("reading checkpoints"):
        removed, kept = prune_checkpoints(directory, keep)
    if as_json:
        screen.print_json({"removed": removed, "kept": kept})
    elif kept:
        screen.print_line(f"removed {screen.counted(len(removed), 'checkpoint')}, kept {len(kept)}")
    else:
        screen.print_line("removed nothing: recovery could use none of the checkpoints")
    return errors.FINE


def _digest(info: CheckpointInfo) -> str:
    digest = info.state_digest
    return digest.hex() if isinstance(digest, bytes) else str(digest or "")


def _facts(info: CheckpointInfo) -> dict[str, object]:
    return {
        "seq": info.seq,
        "path": str(info.path),
        "size_bytes": info.bytes,
        "state_digest": _digest(info) or None,
        "valid": info.valid,
        "why": info.why or None,
        "projections": {
            name: {"version": form.version, "digest": form.digest.hex() or None}
            for name, form in info.projections.items()
        },
    }
