"""A document as one HTML file with its pictures inside, or as Markdown with its pictures beside it.

Both say the same: a document is a list of headings, paragraphs, tables and pictures. The text has no wall clock and no
path but those it was given, so equal documents are equal files.
"""

import base64
import html
from collections.abc import Sequence
from typing import Final, NamedTuple


class Heading(NamedTuple):
    """Heading of a section. ``level``: 1 for the document's own."""

    text: str
    level: int = 2


class Paragraph(NamedTuple):
    """Text, of one paragraph."""

    text: str


class Table(NamedTuple):
    """Rows under column heads. ``right``: heads of columns of numbers; ``code``: of those in the market's notation."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


class Picture(NamedTuple):
    """A PNG picture. ``name``: of its file, without a folder; ``about``: its content for who does not see it."""

    name: str
    about: str
    png: bytes


Part = Heading | Paragraph | Table | Picture

_CSS: Final = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; font-size: 13px; } td, th { padding: 2px 10px; text-align: left;
  vertical-align: top; border-bottom: 1px solid #e4e4e4; } th { border-bottom: 1px solid #888; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.w { white-space: nowrap; }
code { font: 12px ui-monospace, monospace; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; } div.t { overflow-x: auto; }
@media print { body { margin: 0; max-width: none; } tr, img { break-inside: avoid; } }
"""
_SPECIAL: Final = str.maketrans({each: f"\\{each}" for each in "\\`*_[]<>|~#"})


def as_html(parts: Sequence[Part]) -> str:
    """The document as HTML, complete by itself."""
    title = next((part.text for part in parts if isinstance(part, Heading)), "")
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title>",
        f"<style>\n{_CSS}</style></head>",
        "<body>",
    ]
    for part in parts:
        match part:
            case Heading(text, level):
                lines.append(f"<h{level}>{html.escape(text)}</h{level}>")
            case Paragraph(text):
                lines.append(f"<p>{html.escape(text)}</p>")
            case Table():
                lines += _html_table(part)
            case Picture(_, about, png):
                data = base64.b64encode(png).decode("ascii")
                lines.append(f'<p><img alt="{html.escape(about)}" src="data:image/png;base64,{data}"></p>')
    return "\n".join([*lines, "</body>", "</html>", ""])


def _html_table(table: Table) -> list[str]:
    kinds = [' class="n"' if head in table.right else ' class="w"' if head == "time" else "" for head in table.columns]
    codes = [head in table.code for head in table.columns]
    heads = "".join(f"<th{kind}>{html.escape(head)}</th>" for head, kind in zip(table.columns, kinds, strict=True))
    lines = ['<div class="t"><table>', f"<tr>{heads}</tr>"]
    for row in table.rows:
        cells = [
            f"<code>{html.escape(cell)}</code>" if code and cell else html.escape(cell)
            for cell, code in zip(row, codes, strict=True)
        ]
        lines.append(
            "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(cells, kinds, strict=True)) + "</tr>"
        )
    return [*lines, "</table></div>"]


def as_markdown(parts: Sequence[Part]) -> str:
    """The document as Markdown, whose pictures are files of their names beside it."""
    blocks = []
    for part in parts:
        match part:
            case Heading(text, level):
                blocks.append(f"{'#' * level} {text.translate(_SPECIAL)}")
            case Paragraph(text):
                blocks.append(text.translate(_SPECIAL))
            case Table():
                blocks.append(_markdown_table(part))
            case Picture(name, about, _):
                blocks.append(f"![{about.translate(_SPECIAL)}]({name})")
    return "\n\n".join(blocks) + "\n"


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.translate(_SPECIAL) for cell in cells)} |"

    rule = "|".join("---:" if head in table.right else "---" for head in table.columns)
    return "\n".join([line(table.columns), f"|{rule}|", *(line(row) for row in table.rows)])
