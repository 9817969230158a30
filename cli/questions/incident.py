"""An incident report of a range of a journal, as one file to be sent: `lockstep incident`."""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.errors import WrongUse
from cli.questions.latency import Records
from cli.questions.reading import check_begins, check_name, check_whole
from cli.warmup import ready
from engine.market_time import ClockPosition, clock_at_each
from engine.records import RULES_VERSION
from gateway.side_files import SideFileError
from incidents.course import Course, busiest
from incidents.figures import Figures, TimesOf
from incidents.page import Picture, as_html, as_markdown
from incidents.report import report
from journal.history import History
from notation.moments import plain_time
from notation.words import there_are
from replay.rebuild import check_range, extends_next, owned_rows, source_digest, state_form

#: Instruments with a picture, unless others are named, and looks at their books.
_PICTURED: Final = 4
_LOOKS: Final = 240
_FORMS: Final = {".html": as_html, ".md": as_markdown}


def incident(
    directory: Path,
    span: tuple[int | None, int | None],
    out: Path,
    symbols: tuple[str, ...],
    *,
    with_pictures: bool,
    as_json: bool,
) -> int:
    """`lockstep incident`: write the report. Status 1 where the replay differs from the record."""
    form = _FORMS.get(out.suffix.lower())
    if form is None:
        raise WrongUse(f"{out} is no name of a report; end it with .html, or with .md for Markdown")
    for symbol in symbols:
        check_name(symbol, "instrument")
    draw = _pictures() if with_pictures else None
    _check_free(out)
    check_whole(directory)
    with History.open(directory) as history:
        from_seq = span[0] or history.there_from_seq
        check_begins(history, from_seq)
        to_seq = check_range(directory, from_seq, span[1], history.last_seq)
        if not to_seq:
            raise WrongUse(f"the journal of {directory} is empty, so there is nothing to report yet")
        history.check_there(from_seq, to_seq)
        begin_ns, end_ns = _clock_at(history, from_seq), _clock_at(history, to_seq)
        journal_id, slices = (
            history.journal_id.hex(),
            [part.journal.place.number for part in history.ranges(from_seq, to_seq)],
        )
    wanted = symbols or (busiest(directory, from_seq, to_seq, _PICTURED) if draw is not None else ())
    times_ns = tuple(begin_ns + (end_ns - begin_ns) * at // _LOOKS for at in range(1, _LOOKS))
    course = Course(directory, from_seq, to_seq, wanted, tuple(dict.fromkeys(times_ns)), ready)
    figures = Figures(from_seq, course.numbers, _times_of(directory, course.notes))
    with screen.Bar("replaying") as bar:
        for piece in course.pieces():
            figures.take(piece)
            bar.to(piece.last_seq - from_seq + 1, to_seq - from_seq + 1)
    known = course.names.symbols
    for symbol in symbols:
        if symbol not in known:
            raise WrongUse(f"there is no instrument {symbol} in {directory}; {there_are(known)}")
    engine: Any = course.engine
    facts: dict[str, Any] = {
        "directory": str(directory),
        "from_seq": from_seq,
        "to_seq": to_seq,
        "commands": to_seq - from_seq + 1,
        **figures.facts(course.names),
        "notes": course.notes,
        "proof": {
            "journal_id": journal_id,
            "slices": slices,
            "epoch": None if engine is None else engine.epoch,
            "event_digest": None if engine is None else engine.event_digest.hex(),
            "state_digest": None if engine is None else engine.state_digest().hex(),
            "blocks_compared": course.blocks,
            "divergence": course.divergence or None,
            "rules_version": RULES_VERSION,
            "state_version": state_form()[0],
            "release": version("lockstep"),
            "source_digest": source_digest(),
        },
    }
    pictured: list[Picture] = []
    if draw is not None:
        chosen = {number: known[number - 1] for number in course.numbers()[: len(symbols) or _PICTURED]}
        pictured = draw(figures.tally, chosen, figures.trades, course.quotes, figures.latencies)
        pictured = [each._replace(name=f"{out.stem}-{each.name}") for each in pictured]
    beside = [] if form is as_html else pictured
    _write(out, form(report(facts, pictured)), beside)
    _tell(facts, out, beside, as_json=as_json)
    return errors.FOUND if course.divergence else errors.FINE


def _pictures() -> Any:
    """The function that draws. Raises WrongUse where matplotlib is not installed."""
    try:
        from incidents.pictures import pictures
    except ImportError as error:
        if not (error.name or "").startswith("matplotlib"):
            raise
        raise WrongUse(
            "pictures need the package matplotlib, which is not installed: pip install 'lockstep[incident]', or give "
            "--no-pictures"
        ) from error
    return pictures


def _check_free(out: Path) -> None:
    """Raise WrongUse where the report cannot be written."""
    if out.exists():
        raise WrongUse(f"{out} exists already; name a new file with --out")
    if not out.parent.is_dir():
        raise WrongUse(f"{out.parent} is no folder, so {out.name} cannot be written there; make it first")


def _clock_at(history: History, seq: int) -> int:
    """The clock at a command, ns; the first clock value of its block before any."""
    for block in history.blocks(max(seq - 1, history.slice_of(seq).start_seq + 1), seq):
        last = block
    before_ns = 0
    journal = history.slice_of(seq)
    if last.first_seq > journal.start_seq + 1:
        before_ns = next(iter(journal.blocks(last.first_seq - 1, last.first_seq - 1))).time_ns
    elif journal.start is not None:
        before_ns = journal.start.time_ns
    clock_ns = clock_at_each(owned_rows(last.rows), ClockPosition(before_ns, extends_next(journal, last.first_seq - 1)))
    later = clock_ns[seq - last.first_seq :]
    return int(later[later > 0][0]) if (later > 0).any() else before_ns


def _times_of(directory: Path, notes: list[str]) -> TimesOf | None:
    """Moments of commands where a node has recorded them."""
    if not (directory / "latencies").is_dir():
        return None
    try:
        return Records.read(directory).of
    except SideFileError as error:
        notes.append(f"latencies are left out: {error}")
        return None


def _write(out: Path, text: str, pictures: list[Picture]) -> None:
    """Write pictures and text; the text gets its name when all is there. Raises WrongUse."""
    aside = out.with_name(f"{out.name}.new")
    begun = [aside]
    try:
        for each in pictures:
            path = out.parent / each.name
            path.touch(exist_ok=False)  # one that is there is of another report
            begun.append(path)
            path.write_bytes(each.png)
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, out)
    except OSError as error:
        for path in begun:
            path.unlink(missing_ok=True)
        named = "" if error.filename is None else f" ({error.filename})"
        raise WrongUse(f"{out} cannot be written: {error.strerror}{named}; name another file with --out") from error


def _tell(facts: dict[str, Any], out: Path, beside: list[Picture], *, as_json: bool) -> None:
    files = [str(out), *(str(out.parent / each.name) for each in beside)]
    for note in facts["notes"]:
        screen.notice(f"note: {note}")
    if as_json:
        screen.print_json({"files": files, **facts})
        return
    screen.facts(
        [
            ("commands", f"{screen.count(facts['from_seq'])} to {screen.count(facts['to_seq'])}"),
            ("from", plain_time(facts["begin"])),
            ("to", plain_time(facts["end"])),
            ("trades", screen.count(facts["trades"])),
            ("refusals", screen.count(sum(each["count"] for each in facts["refusals"]))),
            ("halts", screen.count(facts["halts"])),
            ("alerts", screen.count(facts["alerts"])),
            ("event digest", facts["proof"]["event_digest"] or "-"),
        ]
    )
    divergence = facts["proof"]["divergence"]
    written = out if not beside else f"{out} and {screen.counted(len(beside), 'picture')} beside it"
    screen.verdict(not divergence, f"wrote {written}" if not divergence else f"wrote {written}; {divergence}")
