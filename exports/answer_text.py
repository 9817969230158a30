"""The rows of an answer as lines of a table, in SQL: DuckDB makes 100,000 in a tenth of the time that Python takes.

A line is the one that ``cli.screen.table`` prints without a terminal, of cells as ``cli.questions.ask`` has them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

_WHOLE: Final = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
#: Cells by the type of their column; {} is its name. A missing value is an empty cell.
_CELLS: Final[Mapping[str, str]] = {
    **dict.fromkeys(_WHOLE, "format('{{:,}}', {})"),
    "DOUBLE": "CAST({} AS VARCHAR)",
    "VARCHAR": "{}",
    "DATE": "CAST({} AS VARCHAR)",
    "TIMESTAMP_NS": "concat(strftime(make_timestamp(epoch_ns({0}) // 1000), '%Y-%m-%dT%H:%M:%S'), "
    "CASE WHEN epoch_ns({0}) // 1000 % 1000000 <> 0 "
    "THEN format('.{{:06d}}', epoch_ns({0}) // 1000 % 1000000) ELSE '' END)",
}
#: Of a price: at least two places, four at most.
_PRICE: Final = (
    "concat(CASE WHEN {0} < 0 THEN '-' ELSE '' END, abs({0}::HUGEINT) // 10000, '.', "
    "CASE WHEN {0} % 100 = 0 THEN format('{{:02d}}', (abs({0}::HUGEINT) % 10000 // 100)::INTEGER) "
    "WHEN {0} % 10 = 0 THEN format('{{:03d}}', (abs({0}::HUGEINT) % 10000 // 10)::INTEGER) "
    "ELSE format('{{:04d}}', (abs({0}::HUGEINT) % 10000)::INTEGER) END)"
)


def is_number(kind: str) -> bool:
    """True for a type whose cells stand at the right."""
    return kind in _WHOLE or kind == "DOUBLE"


def cells(columns: Sequence[tuple[str, str]]) -> list[str] | None:
    """Expressions of the cells of columns (name, type of DuckDB); None where a type has none here."""
    if not all(kind in _CELLS for _, kind in columns):
        return None
    found = []
    for name, kind in columns:
        quoted = '"' + name.replace('"', '""') + '"'
        text = _PRICE if name.endswith("_e4") and kind in _WHOLE else _CELLS[kind]
        found.append(f"CASE WHEN {quoted} IS NULL THEN '' ELSE {text.format(quoted)} END")
    return found


def line(columns: Sequence[tuple[str, str]], widths: Sequence[int]) -> str:
    """Expression of the line of a row of cells, which are named c0, c1 and so on."""
    padded = [
        f"{'lpad' if is_number(kind) else 'rpad'}(c{at}, {width}, ' ')"
        for at, ((_, kind), width) in enumerate(zip(columns, widths, strict=True))
    ]
    return f"rtrim(concat_ws('  ', {', '.join(padded)}))"
