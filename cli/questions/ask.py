"""Questions to an export in Parquet, in SQL or by name: `lockstep ask`."""

import sys
import tempfile
from collections.abc import Iterator
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
from notation.moments import moment_ns


def ask(path: Path | None, question: str | None, given: tuple[str, ...], *, as_json: bool) -> int:
    """`lockstep ask`: print the answer, a row a line; without a question the named ones."""
    if path is None or question is None:
        return _listed(as_json=as_json)
    named = QUESTIONS.get(question)
    if named is None and " " not in question.strip():
        raise WrongUse(f"there is no question {question}; named ones are {', '.join(QUESTIONS)}, all else is SQL")
    values = _values(question, given)
    with _export_of(path) as folder:
        answers = Answers(folder, read_manifest(folder))
        try:
            if named is not None:
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


#: Values of questions that are whole numbers, and no moments.
_NUMBERS: Final = frozenset({"order", "seconds", "within_ms"})


def _values(question: str, given: tuple[str, ...]) -> dict[str, str | int]:
    """Values of a question by name. Raises WrongUse for one that is missing or not known."""
    pairs = [each.partition("=") for each in given]
    if wrong := [name + equals for name, equals, _ in pairs if not (name and equals)]:
        raise WrongUse(f"--with is {wrong[0]!r}; write it as name=value")
    values: dict[str, str | int] = {name: _number(value) for name, _, value in pairs}
    named = QUESTIONS.get(question)
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
            placed[name] = answers.seq_at(times[name], first=name == FIRST_OF_RANGE)
    ranged = [name for name in (FIRST_OF_RANGE, "to") if name in moments]
    for given in (times, {name: placed[name] for name in ranged if name not in times}):
        begin, end = (given.get(name) for name in (FIRST_OF_RANGE, "to"))
        if isinstance(begin, int) and isinstance(end, int) and begin > end:
            raise WrongUse(f"--with from={values[FIRST_OF_RANGE]} comes after --with to={values['to']}")
    return placed


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
        shown.append(_cells(values, kinds, is_price=name.endswith("_e4")))
        if rows and all(issubclass(kind, int | float | type(None)) for kind in kinds):
            numbers.append(name.removesuffix("_e4"))
    screen.table([name.removesuffix("_e4") for name in columns], zip(*shown, strict=True), right=numbers)
    screen.print_line(screen.counted(len(rows), "row"))


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
