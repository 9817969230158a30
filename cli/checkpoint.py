"""Checkpoints, which are images of the state: `lockstep checkpoint list|create|verify|prune`."""

from pathlib import Path

from checkpoints import CheckpointInfo, CheckpointStore
from cli import errors, screen
from cli.node import check_whole
from cli.warmup import ready
from directory.recover import checkpoint, usable
from directory.recover import prune as prune_checkpoints
from replay.rebuild import begins, journal_of


def _store(directory: Path) -> CheckpointStore:
    """Checkpoints of the open slice of a data directory. Raises JournalError if ``directory`` is none."""
    with journal_of(directory) as journal:
        return CheckpointStore(journal.place.folder)


def holds_streams(directory: Path) -> bool:
    """True for the directory of a node, which has users' streams; that of `lockstep run` has none."""
    return (directory / "streams").is_dir()


def list_checkpoints(directory: Path, *, as_json: bool) -> int:
    """`lockstep checkpoint list`: list the checkpoints, damaged ones too."""
    infos = _store(directory).list()
    if as_json:
        for info in infos:
            screen.print_json(_facts(info))
        return errors.FINE
    if not infos:
        screen.print_line(f"no checkpoints in {directory}; `lockstep checkpoint create {directory}` takes one")
        return errors.FINE
    rows = [
        (screen.count(info.seq), screen.size(info.bytes), _digest(info), "" if info.valid else f"invalid: {info.why}")
        for info in infos
    ]
    screen.table(["seq", "size", "state digest", ""], rows, right=("seq", "size"))
    return errors.FINE


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
    with errors.finding(), screen.Bar("reading checkpoints"):
        good, wrong = usable(directory)
    if as_json:
        for info in infos:
            screen.print_json({"seq": info.seq, "valid": info.path not in wrong, "why": wrong.get(info.path)})
        return errors.FOUND if wrong else errors.FINE
    for info in infos:
        screen.print_line(f"{screen.count(info.seq)}: {wrong.get(info.path, 'good')}")
    if not infos:
        screen.print_line(f"no checkpoints in {directory}; recovery starts from command 1")
    elif wrong:
        cannot = f"{len(wrong)} of {screen.counted(len(infos), 'checkpoint')} cannot be used"
        screen.verdict(False, f"{cannot}; recovery starts {begins(good[0].seq if good else 0)}")
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
