"""Questions to an export in Parquet, in SQL or by name: `lockstep ask`."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from cli import errors, screen
from cli.errors import WrongUse
from exports.manifest import MANIFEST, read_manifest
from exports.questions import FIRST_OF_RANGE, MOMENTS, QUESTIONS, Answers
from notation.decimals import price
from notation.moments import moment_ns, moment_text, not_reached


def ask(path: Path | None, question: str | None, given: tuple[str, ...], *, as_json: bool) -> int:
    """`lockstep ask`: print the answer, a row a line; without a question the named ones."""
    if path is None or question is None:
        return _listed(as_json=as_json)
    named = QUESTIONS.get(question)
    if named is None and " " not in question.strip():
        raise WrongUse(f"there is no question {question}; named ones are {', '.join(QUESTIONS)}, all else is SQL")
    values = _values(question, given)
    with _export_of(path) as folder:
        manifest = read_manifest(folder)
        answers = Answers(folder, manifest)
        try:
            if named is not None:
                _check_names(path, manifest, values)
                values = _placed(answers, values)
            made = None
            if named is not None and not as_json and not sys.stdout.isatty():
                made = answers.lines_of_named(question, values)
            if made is not None:
                number, text = made
                screen.print_line(text)
                screen.print_line(screen.counted(number, "row"))
                return errors.FINE
            columns, rows = answers.ask(question, values) if named is None else answers.ask_named(question, values)
            if as_json:
                for row in rows:
                    screen.print_json({name: _plain(each) for name, each in zip(columns, row, strict=True)})
            else:
                _show(columns, list(rows))
        finally:
            answers.close()
    return errors.FINE


#: Names that a complaint lists at most.
_NAMES_MAX: Final = 20
#: Values of questions that are whole numbers, and no moments.
_NUMBERS: Final = frozenset({"order", "seconds", "within_ms"})


def _values(question: str, given: tuple[str, ...]) -> dict[str, str | int]:
    """Values of a question by name. Raises WrongUse for one that is missing or not known."""
    pairs = [each.partition("=") for each in given]
    if wrong := [name + equals for name, equals, _ in pairs if not (name and equals)]:
        raise WrongUse(f"--with is {wrong[0]!r}; write it as name=value")
    named = QUESTIONS.get(question)
    values: dict[str, str | int] = {
        name: value if named is not None and name in _NAMES else _number(value) for name, _, value in pairs
    }
    if named is None:
        return values
    takes = ", ".join(named.values) or "none"
    if unknown := [name for name in values if name not in named.values]:
        raise WrongUse(f"the question {question} has no value {unknown[0]}; it takes {takes}")
    whole = {name: value for name, value in named.values.items() if value is not None} | values
    if missing := [name for name in named.values if name not in whole]:
        raise WrongUse(f"the question {question} needs --with {missing[0]}=…; it takes {takes}")
    for name in _NUMBERS.intersection(whole):
        if isinstance(whole[name], str):
            hint = "; `lockstep order DIR ID` shows that of an order by its id or token" if name == "order" else ""
            raise WrongUse(f"--with {name} is {whole[name]!r}; give a number{hint}")
    return whole


#: Values that are names, each with the list of the manifest that has all of its kind, and what that is.
_NAMES: Final = {
    **dict.fromkeys(("participant", "a", "b"), ("participants", "participant")),
    "symbol": ("symbols", "instrument"),
}


def _check_names(path: Path, manifest: Mapping[str, Any], values: Mapping[str, str | int]) -> None:
    """Raise WrongUse for a participant or instrument that the export has not, in place of an empty answer."""
    for name in _NAMES.keys() & values.keys():
        known, what = _NAMES[name]
        if values[name] not in manifest[known]:
            there = ", ".join(manifest[known][:_NAMES_MAX])
            more = len(manifest[known]) - _NAMES_MAX
            there += f" and {more:,} more" if more > 0 else ""
            raise WrongUse(f"--with {name}: there is no {what} {values[name]} in {path}; {what}s are {there or 'none'}")


def _placed(answers: Answers, values: dict[str, str | int]) -> dict[str, str | int]:
    """Values with numbers of commands in place of times. Raises WrongUse for what is neither, and a range that ends
    before it begins."""
    placed = dict(values)
    moments = [name for name in MOMENTS if name in values]
    times: dict[str, int] = {}
    for name in moments:
        when = values[name]
        if isinstance(when, str):
            try:
                times[name] = moment_ns(when.strip(), answers.last_time_ns())
            except ValueError as error:
                raise WrongUse(f"--with {name}: {error}") from error
            if note := _beyond_end(answers, when, times[name], begins=name == FIRST_OF_RANGE):
                screen.notice(f"note: {note}")
            placed[name] = answers.seq_at(times[name], first=name == FIRST_OF_RANGE)
    ranged = [name for name in (FIRST_OF_RANGE, "to") if name in moments]
    for given in (times, {name: placed[name] for name in ranged if name not in times}):
        begin, end = (given.get(name) for name in (FIRST_OF_RANGE, "to"))
        if isinstance(begin, int) and isinstance(end, int) and begin > end:
            raise WrongUse(f"--with from={values[FIRST_OF_RANGE]} comes after --with to={values['to']}")
    return placed


def _beyond_end(answers: Answers, when: str, time_ns: int, *, begins: bool) -> str | None:
    """Sentence on a time that is later than all rows, where it may be meant for another day or leaves none.

    ``time_ns``: what ``when`` stands for, ns since 1970. ``begins``: a range begins with it.
    """
    end_ns = answers.last_time_ns()
    if time_ns <= end_ns:
        return None
    said = not_reached(when, time_ns, answers.first_time_ns(), end_ns)
    return said or (f"nothing is later than {moment_text(end_ns)}, and from is {when}" if begins else None)


def _number(value: str) -> str | int:
    return int(value) if value.isdecimal() else value


@contextmanager
def _export_of(path: Path) -> Iterator[Path]:
    """The folder of an export: itself, or one that is made for this question of a data directory."""
    if (path / MANIFEST).exists():
        yield path
        return
    from directory.begin import holds_journal  # with NumPy and LMDB, which a question to an export does without

    if not holds_journal(path):
        yield path
        return
    from cli.questions.export import write  # with the kernels of an export, which a question to one does without

    with tempfile.TemporaryDirectory(prefix="lockstep-ask-") as folder:
        screen.notice(f"note: exporting {path} for this question; for several, `lockstep export --format parquet` once")
        out = Path(folder) / "export"
        write(path, out, "parquet")
        yield out


def _listed(*, as_json: bool) -> int:
    if as_json:
        for name, each in QUESTIONS.items():
            screen.print_json({"name": name, "about": each.about, "values": dict(each.values), "sql": each.sql})
        return errors.FINE
    rows = []
    for name, each in QUESTIONS.items():
        values = " ".join(f"{key}=…" if value is None else f"[{key}={value}]" for key, value in each.values.items())
        rows.append((name, values, each.about))
    screen.table(["question", "--with", "answers"], rows)
    return errors.FINE


def _show(columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    shown, numbers = [], []
    for at, name in enumerate(columns):
        values = [row[at] for row in rows]
        kinds = set(map(type, values))
        is_time = name.endswith("time_ns")
        shown.append(_times(values) if is_time else _cells(values, kinds, is_price=name.endswith("_e4")))
        if rows and not is_time and all(issubclass(kind, int | float | type(None)) for kind in kinds):
            numbers.append(_head(name))
    screen.table([_head(name) for name in columns], zip(*shown, strict=True), right=numbers)
    screen.print_line(screen.counted(len(rows), "row"))


def _head(column: str) -> str:
    """Name of a column without the unit of its values, which its cells show in another.

    >>> _head("price_e4"), _head("entry_time_ns"), _head("after_ns")
    ('price', 'entry_time', 'after_ns')
    """
    return column.removesuffix("_ns") if column.endswith("time_ns") else column.removesuffix("_e4")


def _times(values: list[Any]) -> list[str]:
    """Cells of a column of clock values (ns since 1970); what is none stays as it is, and 0 is no time."""
    return [
        ("" if each == 0 else moment_text(each)) if type(each) is int else _cell(each, is_price=False)
        for each in values
    ]


def _cells(values: list[Any], kinds: set[type], *, is_price: bool) -> list[str]:
    """Cells of a column, whose values are of these types."""
    if kinds <= {str}:
        return values
    if kinds <= {int}:
        return [price(each) for each in values] if is_price else [f"{each:,}" for each in values]
    return [_cell(each, is_price=is_price) for each in values]


def _cell(value: Any, *, is_price: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return price(value) if is_price else f"{value:,}"
    return str(_plain(value))


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, date):  # or a datetime
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str | int | float | type(None)) else str(value)
