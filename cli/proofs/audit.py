"""`lockstep audit`: a third copy that follows the primary, or another directory, and compares digests."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.errors import WrongUse
from cli.options import EngineChoice
from cli.questions.reading import check_whole
from cli.servers.pair import address_of
from cli.warmup import ready

_LINE_S: Final = 1.0


def audit(
    directory: Path,
    against: str,
    engine: EngineChoice,
    *,
    secret_file: Path | None,
    bundles: Path,
    to_seq: int | None,
    seconds: float | None,
    as_json: bool,
) -> int:
    """Follow the primary at HOST:PORT, or compare with a directory. Exit status 1 at a difference.

    ``bundles``: folder of the bundles that a difference is written into.
    """
    if not bundles.is_dir():
        raise WrongUse(f"{bundles} is no folder; --bundles names the one for the bundle of a difference")
    if Path(against).is_dir():
        from cli.proofs.proof import compare

        if to_seq is not None or seconds is not None:
            raise WrongUse("--to and --seconds are of an audit of a running primary; leave them out for a directory")
        return compare(
            directory,
            Path(against),
            engine,
            as_json=as_json,
            on_difference=lambda report: _bundle_both(directory, Path(against), report, bundles),
        )
    address = address_of(against, "--against", least=1)
    if secret_file is None:
        raise WrongUse("an audit of a running primary needs --secret-file, the secret of the pair")
    with errors.finding():
        check_whole(directory)
    ready()
    from node.pair.auditor import Auditor
    from replication.secret_file import read_secret

    secret = read_secret(secret_file)
    with screen.Bar(f"replaying with the {engine.value} engine") as bar:
        auditor = Auditor(directory, address, secret, bundles=bundles, engine=engine.value, progress=bar.to)
    began_s = time.monotonic()
    try:
        with suppress(KeyboardInterrupt):
            for _ in _followed(auditor, to_seq, None if seconds is None else began_s + seconds, as_json=as_json):
                pass
        auditor.compare_rows()
        bundle, why = _written(auditor)
    finally:
        auditor.close()
    return _end(auditor, engine, bundle, why, as_json=as_json)


def _bundle_both(directory: Path, other: Path, report: Any, bundles: Path) -> None:
    """Write a bundle of each directory, and say where; the difference is shown already."""
    from node.pair.compare_bundle import difference_of, write_bundles

    with errors.finding():
        difference = difference_of(directory, other, report)
        if difference is None:
            screen.notice("no bundle is written: the difference has no block and part of the state")
            return
        try:
            one, two = write_bundles(bundles, directory, other, difference)
        except OSError as error:
            screen.notice(f"no bundle was written into {bundles}: {error.strerror or error}")
            return
    screen.notice(f"first command {screen.count(difference.first_seq)}, part {difference.part}")
    screen.notice(f"bundles: {one} and {two}; `lockstep doctor` opens each, and `lockstep compare` both")


def _written(auditor: Any) -> tuple[str | None, str]:
    """Path of the bundle of a difference, or the reason why there is none."""
    from node.pair.auditor import AuditRefused

    if auditor.divergence is None:
        return None, ""
    try:
        return str(auditor.write_bundle()), ""
    except AuditRefused as error:
        return None, str(error)


def _followed(auditor: Any, to_seq: int | None, end_s: float | None, *, as_json: bool) -> Iterator[None]:
    """Follow, and print the progress each second."""
    while auditor.divergence is None:
        line_s = time.monotonic() + _LINE_S

        def is_done(state: Any) -> bool:
            return (to_seq is not None and state.agreed_seq >= to_seq) or (
                end_s is not None and time.monotonic() >= end_s and state.primary != ""
            )

        def is_over(state: Any, line_s: float = line_s) -> bool:
            return time.monotonic() >= line_s or is_done(state)

        state = auditor.follow(is_over)
        if is_done(state):
            return
        if not as_json and auditor.divergence is None:
            screen.print_line(_line(state))
            screen.flush()
        yield


def _line(state: Any) -> str:
    behind = max(state.primary_seq - state.seq, 0)
    pieces = f", {screen.count(state.pieces)} pieces of the state compared" if state.pieces else ""
    rows = f", rows of both engines equal up to {screen.count(state.rows_seq)}" if state.rows_seq else ""
    return (
        f"{state.primary or 'no primary'}: equal up to command {screen.count(state.agreed_seq)}, "
        f"{screen.count(behind)} behind{pieces}{rows}"
    )


def _end(auditor: Any, engine: EngineChoice, bundle: str | None, why: str, *, as_json: bool) -> int:
    state, divergence = auditor.state, auditor.divergence
    sentence = "" if divergence is None else auditor.standby.why
    if as_json:
        screen.print_json(
            {
                "ok": divergence is None,
                "engine": engine.value,
                "primary": state.primary or None,
                "agreed_seq": state.agreed_seq,
                "pieces": state.pieces,
                "parts_seq": state.parts_seq or None,
                "rows_seq": state.rows_seq or None,
                "first_seq": None if divergence is None else divergence.first_seq,
                "last_seq": None if divergence is None else divergence.last_seq,
                "part": None if divergence is None else divergence.part,
                "difference": sentence or None,
                "bundle": bundle,
            }
        )
    elif divergence is None:
        screen.verdict(True, f"{_line(state)}; no difference with the {engine.value} engine")
    else:
        first = f"first command {screen.count(divergence.first_seq)}, part {divergence.part}"
        screen.facts([("difference", first), ("bundle", bundle or why)])
        if bundle:
            screen.print_line(f"`lockstep doctor {bundle}` opens it; `lockstep compare` with that of the primary")
        screen.verdict(False, f"DIFFERENT: {sentence}")
    return errors.FINE if divergence is None else errors.FOUND
