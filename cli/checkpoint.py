"""Images of the state: `lockstep checkpoint list|create|verify|prune`."""

from pathlib import Path

from checkpoints import CheckpointError, CheckpointInfo, CheckpointStore
from cli import errors, screen
from cli.errors import WrongUse
from cli.node import check_whole
from cli.warmup import ready
from replay.rebuild import journal_of
from replay.recover import checkpoint


def _store(directory: Path) -> CheckpointStore:
    """The checkpoints of a data directory. Raises what the journal raises where ``directory`` is none."""
    with journal_of(directory):
        return CheckpointStore(directory)


def list_checkpoints(directory: Path, *, as_json: bool) -> int:
    """`lockstep checkpoint list`."""
    infos = _store(directory).list()
    if as_json:
        for info in infos:
            screen.say_json(_facts(info))
        return errors.FINE
    if not infos:
        screen.say(f"no checkpoints in {directory}; `lockstep checkpoint create {directory}` takes one")
        return errors.FINE
    rows = [
        (screen.count(info.seq), screen.size(info.bytes), _digest(info), "" if info.valid else f"invalid: {info.why}")
        for info in infos
    ]
    screen.table(["seq", "size", "state digest", ""], rows, right=("seq", "size"))
    return errors.FINE


def create(directory: Path, *, as_json: bool) -> int:
    """`lockstep checkpoint create`: at the last durable command, beside a running node."""
    check_whole(directory)
    ready()
    with screen.Bar("replaying") as bar:
        seq, path = checkpoint(directory, progress=bar.to)
    if as_json:
        screen.say_json({"seq": seq, "path": None if path is None else str(path), "created": path is not None})
    elif path is None:
        screen.say(f"there is a checkpoint at command {screen.count(seq)} already")
    else:
        screen.say(f"checkpoint at command {screen.count(seq)}: {path}")
    return errors.FINE


def verify(directory: Path, *, as_json: bool) -> int:
    """`lockstep checkpoint verify`: exit status 1 when one is damaged."""
    store = _store(directory)
    infos = store.list()
    wrong: dict[Path, str] = {}
    with screen.Bar("reading checkpoints") as bar:
        for done, info in enumerate(infos):
            bar.to(done, len(infos))
            try:
                if not info.valid:
                    raise CheckpointError(info.why)
                store.verify(info.path)
            except CheckpointError as error:
                wrong[info.path] = str(error)
    if as_json:
        for info in infos:
            screen.say_json({"seq": info.seq, "valid": info.path not in wrong, "why": wrong.get(info.path)})
    else:
        for info in infos:
            screen.say(f"{screen.count(info.seq)}: {wrong.get(info.path, 'good')}")
        said = (
            f"{len(wrong)} of {len(infos)} are damaged; recovery uses the one before"
            if wrong
            else f"all {len(infos)} are good"
        )
        screen.verdict(not wrong, said)
    return errors.FOUND if wrong else errors.FINE


def prune(directory: Path, keep: int, *, as_json: bool) -> int:
    """`lockstep checkpoint prune`."""
    if keep < 1:
        raise WrongUse("at least one checkpoint is kept; give --keep 1 or more")
    store = _store(directory)
    before = {info.seq for info in store.list()}
    store.prune(keep)
    kept = {info.seq for info in store.list()}
    if as_json:
        screen.say_json({"removed": sorted(before - kept), "kept": sorted(kept)})
    else:
        screen.say(f"removed {len(before - kept)} checkpoints, kept {len(kept)}")
    return errors.FINE


def _digest(info: CheckpointInfo) -> str:
    digest = info.state_digest
    return digest.hex() if isinstance(digest, bytes) else str(digest or "")


def _facts(info: CheckpointInfo) -> dict[str, object]:
    return {
        "seq": info.seq,
        "path": str(info.path),
        "bytes": info.bytes,
        "state_digest": _digest(info),
        "valid": info.valid,
        "why": info.why or None,
    }
