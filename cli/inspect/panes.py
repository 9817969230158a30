"""Panes of `lockstep inspect` as lines of text: facts, a width and a height in, lines with a style each out.

No line is longer than its pane, and no pane has more lines than it has room; what is left out is counted.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from cli import screen
from cli.questions.market_tables import shown_price
from notation.words import price, time
from replay.timeline import Timeline

Facts = dict[str, Any]

#: Levels of a bar, from nothing up.
_BARS: Final = " ▁▂▃▄▅▆▇█"


class Line(NamedTuple):
    """A line of a pane. ``style``: "" plain, "head", "note", "bad", "own", "buy" or "sell"."""

    text: str
    style: str = ""


def fitted(lines: list[Line], width: int, height: int) -> list[Line]:
    """Lines cut to a width, with ``…`` at the end; of too many the last is a count of those left out."""
    if len(lines) > height:
        lines = lines[: max(height - 1, 0)] + [Line(f"… {len(lines) - height + 1:,} more", "note")][:height]
    return [Line(cut(each.text, width), each.style) for each in lines]


def cut(text: str, width: int) -> str:
    """A text of at most ``width`` characters.

    >>> cut("enter ALPHA", 8), cut("enter", 8)
    ('enter A…', 'enter')
    """
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"[:width]


def folded(text: str, width: int, lines: int) -> list[str]:
    """A text on at most so many lines, broken at spaces."""
    found: list[str] = []
    while len(text) > width and len(found) + 1 < lines:
        at = text.rfind(" ", 1, width + 1)
        at = width if at <= 0 else at
        found.append(text[:at])
        text = text[at:].lstrip()
    return [*found, cut(text, width)]


def head_line(name: str, facts: Facts, last_seq: int, state: str, width: int) -> Line:
    """Name of the directory, number and time of the command."""
    where = f"{screen.count(facts['seq'])} of {screen.count(last_seq)}"
    right = f"{where}  {time(facts['time_ns']) if facts['time_ns'] else 'before the first clock value'}  {state}"
    room = width - len(right) - 2
    left = name if len(name) <= room else "…" + name[len(name) - max(room - 1, 0) :] if room > 1 else ""
    return Line(cut(f"{left}  {right}", width), "head")


def timeline_lines(day: Timeline | None, time_ns: int, width: int, fault: str = "") -> list[Line]:
    """The day: bars of commands a stretch, letters of what stands out, its ends with the place, and figures."""
    if day is None or not day.begin_ns:
        reading = day is None or not day.to_seq or day.read_seq < day.to_seq
        about = "reading the day" if reading else "no clock value in this day"
        about = f"no timeline: {day.fault}" if day is not None and day.fault else about
        about = "no timeline: the day of the command is not known" if day is None and fault else about
        return [Line(""), Line(""), Line(""), Line(cut(about, width), "note")]
    cells = day.cells(width)
    most = max(1, *(commands for commands, _, _ in cells))
    bars = "".join(_BARS[-(-commands * (len(_BARS) - 1) // most)] for commands, _, _ in cells)
    letters = "".join(letter for _, _, letter in cells)
    begin, end = _clock(day.begin_ns), _clock(day.end_ns)
    axis = list(begin + "─" * max(width - len(begin) - len(end), 0) + end)[:width]
    at = int(day.columns(width, np.array([time_ns]))[0])
    axis[at] = "▲"
    column_s = max((day.end_ns - day.begin_ns + 1) / width, day.stretch_ns) / 1e9
    peak = f"peak {_rate(most / column_s)} commands/s"
    here_commands, here_trades, _ = cells[at]
    here = f"here {_rate(here_commands / column_s)}/s, {_rate(here_trades / column_s)} trades/s"
    unread = "" if day.read_seq >= day.to_seq else f"; reading, {day.to_seq - day.read_seq:,} commands to go"
    unread = f"; not read beyond {day.read_seq:,}: {day.fault}" if day.fault else unread
    stand_out = f"{screen.counted(day.halts, 'halt')}, {screen.counted(day.alerts, 'alert')}"
    figures = f"{peak}; {here}; {stand_out}{unread}"
    return [Line(bars, "bar"), Line(letters, "bad"), Line("".join(axis)), Line(cut(figures, width), "note")]


def _rate(per_second: float) -> str:
    """A rate as text; of a slow market two digits.

    >>> _rate(1234.5), _rate(0.0375), _rate(0.0)
    ('1,234', '0.037', '0')
    """
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"


def _clock(time_ns: int) -> str:
    return time(time_ns).replace("T", " ").split(" ")[-1][:8]


def command_lines(facts: Facts, width: int, height: int) -> list[Line]:
    """The command, on as many lines as there is room."""
    text = "; ".join(facts["command"])
    return [Line(each, "own") for each in folded(text, width, height)]


def book_lines(facts: Facts, width: int, height: int) -> list[Line]:
    """The ladder: bids to the left, offers to the right; prices that the command touched have a ``*``."""
    book = facts["book"]
    if book is None:
        return fitted([Line("no instrument is defined yet", "note")], width, height)
    last = f"last {price(book['last_price_e4'])}" if book["last_price_e4"] else "no trade yet"
    lines = [Line(f"{book['symbol']}  {book['phase']}  {last}", "head")]
    if (call := book["indicative"]) is not None:
        would = "nothing" if call["price_e4"] is None else f"{call['paired_qty']:,} @ {price(call['price_e4'])}"
        lines.append(Line(f"the uncross would trade {would}", "note"))
    half = max((width - 3) // 2, 1)
    bids, offers = book["bids"], book["offers"]
    prices = max((len(shown_price(each["price_e4"])) + 1 for each in [*bids, *offers]), default=6)
    lines.append(Line(f"{_right('qty', 'bid', half, prices)} │ {_left('offer', 'qty', half, prices)}", "note"))
    rows = max(len(bids), len(offers))
    room = height - len(lines)
    for at in range(min(rows, room if rows <= room else room - 1)):
        left = _level(bids[at], facts["touched_e4"], half, prices, bid=True) if at < len(bids) else ""
        right = _level(offers[at], facts["touched_e4"], half, prices, bid=False) if at < len(offers) else ""
        lines.append(Line(f"{left.rjust(half)} │ {right.ljust(half)}".rstrip()))
    if rows > room:
        lines.append(Line(f"… {rows - room + 1:,} more levels", "note"))
    if not rows:
        lines.append(Line("the lit book is empty", "note"))
    for side in ("buy", "sell"):
        lines += [
            Line(f"{side} stop at {price(stop['stop_e4'])}: {stop['qty']:,}", "note") for stop in book[f"{side}_stops"]
        ]
    return fitted(lines, width, height)


def _level(level: Facts, touched_e4: list[int], half: int, prices: int, *, bid: bool) -> str:
    mark = "*" if level["price_e4"] in touched_e4 else ""
    qty, shown = f"{level['qty']:,}/{level['orders']:,}", shown_price(level["price_e4"])
    return _right(qty, mark + shown, half, prices) if bid else _left(shown + mark, qty, half, prices)


def _right(far: str, near: str, width: int, prices: int) -> str:
    """A bid: the price is never cut, since half a price is another one."""
    return f"{cut(far, max(width - prices - 1, 0))} {near.rjust(prices)}".rjust(width)


def _left(near: str, far: str, width: int, prices: int) -> str:
    return f"{near.ljust(prices)} {cut(far, max(width - prices - 1, 0))}"


def queue_lines(facts: Facts, width: int, height: int) -> list[Line]:
    """Orders at the price that the command is about, in the order in which they trade; its own has a ``>``."""
    queue = facts["queue"]
    if queue is None:
        return fitted([Line("queue", "head"), Line("the command is about no order", "note")], width, height)
    at = f"stop {price(queue['stop_e4'])}" if queue["stop_e4"] else f"@ {shown_price(queue['price_e4'])}"
    at = "pegs without a price" if queue["unpriced"] else at
    total = f"{screen.counted(queue['order_count'], 'order')}, {queue['leaves_qty']:,}"
    lines = [Line(f"queue  {queue['side']} {at}: {total}", "head")]
    own_at = next((at for at, each in enumerate(queue["orders"]) if each["own"]), None)
    for rank, each in enumerate(queue["orders"], 1):
        mark = ">" if each["own"] else " "
        text = f"{mark}{rank:>3} {each['leaves_qty']:>9,}  {each['participant']} {each['client_order_id']}"
        lines.append(Line(text, "own" if each["own"] else ""))
    slots, orders = height - 1, lines[1:]
    if own_at is not None and len(orders) > slots and own_at >= slots - 1 > 0:  # the order itself is always seen
        at_end = own_at >= len(orders) - (slots - 1)
        begin = len(orders) - (slots - 1) if at_end else own_at - max(slots - 3, 0)
        lines = [lines[0], Line(f"… {begin:,} ahead", "note"), *orders[begin:]]
    return fitted(lines, width, height)


def event_pane(facts: Facts, width: int, height: int) -> list[Line]:
    """Events of the command."""
    lines = [Line(f"events  {len(facts['event_lines']):,}", "head")]
    for each in facts["event_lines"]:
        first, *more = folded(each, width, 4)
        lines += [Line(first), *(Line(cut(f"  {rest}", width)) for rest in more)]
    return fitted(lines, width, height)


class Side(NamedTuple):
    """A directory on the screen: its name, its facts (None: none yet), its last command, what went wrong."""

    name: str
    facts: Facts | None
    last_seq: int
    fault: str = ""


#: Keys, for a wide and for a narrow terminal.
_KEYS: Final = (
    "←→ step  PgUp PgDn 100  Home End  g go to  / find  n N match  m M mark  i I book  e events  w why  f follow  "
    "? help  q quit",
    "←→ step  g go to  / find  n N match  m M mark  i book  f follow  ? help  q quit",
    "←→ g / n N m M i f ?  q quit",
)

HELP: Final = """\
Step
  → l   ← h    next command, previous command
  PgDn  PgUp   100 commands on, 100 back
  ]     [      10,000 commands on, 10,000 back
  Home  End    first command, last command
  g            go to a number or a time, such as 1200 or 09:31:07.25
  f            follow: stay at the newest command of a running node
  d            go to the first difference of two directories

Find
  /            an order (id or token), participant, symbol, time or
               number; a participant with a symbol, or with an order;
               order= participant= symbol= time= seq= say which it is
  n     N      next match, previous match
  m     M      next mark of the timeline, previous mark

Look
  i     I      book of the next instrument; of the command's own again
  e            all events of the command
  w            why: the checks of the command, and what followed

Timeline
  Bars are commands. Letters are H a halt, P a phase, and the alerts:
  K a kill switch, E a new primary, J a jump of the clock, ! ten
  refusals by limits within a second. ▲ is the command on the screen.
  In the book * is a price that the command touched; in the queue > is
  its order. Of two directories ≠ is between lines that differ.

  q or Ctrl-C ends the screen, Esc this page. Ctrl-Z gives the
  terminal back to the shell until fg."""


def page(
    sides: list[Side],
    day: Timeline | None,
    status: Line,
    state: str,
    width: int,
    height: int,
) -> list[list[Line]]:
    """The screen as rows of pieces, ``height`` of them: one directory, or two side by side."""
    rows: list[list[Line]] = []
    first = sides[0]
    shown_at = first.facts["time_ns"] if first.facts else 0
    if len(sides) == 1:
        rows.append([_head(first, state, width)])
    if height >= 18:
        rows += [[line] for line in timeline_lines(day, shown_at, width, first.fault)]
    room = max(height - len(rows) - 2, 0)
    columns = (width - 3 * (len(sides) - 1)) // len(sides)
    blocks = [_side(each, columns, room, state) if len(sides) > 1 else _one(each, columns, room) for each in sides]
    rows += _beside(blocks, columns, room, mark=len(sides) > 1)
    keys = next((keys for keys in _KEYS if len(keys) <= width), _KEYS[-1])
    rows += [[Line(cut(status.text, width), status.style)], [Line(cut(keys, width), "note")]]
    return rows[:height]


def _head(side: Side, state: str, width: int) -> Line:
    if side.facts is None:
        return Line(cut(f"{side.name}  {screen.counted(side.last_seq, 'command')}", width), "head")
    return head_line(side.name, side.facts, side.last_seq, state, width)


def _nothing(side: Side, width: int, height: int) -> list[list[Line]]:
    about = side.fault or "replaying"
    return [[Line(each, "bad" if side.fault else "note")] for each in folded(about, width, height)]


def _one(side: Side, width: int, height: int) -> list[list[Line]]:
    """One directory: the command, and below it book, queue and events; two columns on a narrow terminal."""
    if side.facts is None:
        return _nothing(side, width, height)
    top = command_lines(side.facts, width, 2 if height < 24 else 3)
    room = max(height - len(top) - 1, 0)
    rows = [[line] for line in top] + [[Line("─" * width, "note")]]
    if width >= 120:
        part = (width - 6) // 3
        widths = [part, part, width - 6 - 2 * part]
        panes = [book_lines, queue_lines, event_pane]
        blocks = [[[line] for line in pane(side.facts, w, room)] for pane, w in zip(panes, widths, strict=True)]
        return rows + _beside(blocks, part, room)
    part = (width - 3) // 2
    queue_room = max(room // 2, 1)
    queue = queue_lines(side.facts, part, queue_room)
    events = event_pane(side.facts, part, max(room - queue_room, 0))
    pad = [Line("")] * (queue_room - len(queue))
    right = [[line] for line in [*queue, *pad, *events]]
    return rows + _beside([[[line] for line in book_lines(side.facts, part, room)], right], part, room)


def _side(side: Side, width: int, height: int, state: str) -> list[list[Line]]:
    """One of two directories: all of it in one column."""
    short = f"{Path(side.name).name}  {side.facts['seq'] if side.facts else 0:,} of {side.last_seq:,}  {state}"
    rows = [_head(side, state, width) if width >= 70 else Line(cut(short, width), "head")]
    if side.facts is None:
        return [[rows[0]], *_nothing(side, width, height - 1)]
    rows += command_lines(side.facts, width, 2)
    rows.append(Line("─" * width, "note"))
    room = max(height - len(rows), 0)
    thirds = [room - 2 * (room // 3), room // 3, room // 3]
    for pane, lines in zip((book_lines, event_pane, queue_lines), thirds, strict=True):
        shown = pane(side.facts, width, lines)
        rows += [*shown, *[Line("")] * (lines - len(shown))]
    return [[row] for row in rows[:height]]


def _beside(blocks: list[list[list[Line]]], width: int, height: int, *, mark: bool = False) -> list[list[Line]]:
    """Blocks beside each other, each but the last of this width; ``mark``: a ``≠`` between rows that differ, but for
    the first."""
    rows = []
    for at in range(height):
        row: list[Line] = []
        texts = {"".join(each.text for each in block[at]).rstrip() if at < len(block) else "" for block in blocks}
        between = Line(" ≠ ", "bad") if mark and at and len(texts) > 1 else Line(" │ ", "note")
        for number, block in enumerate(blocks):
            pieces = block[at] if at < len(block) else []
            row += [between] if number else []
            row += pieces
            if number + 1 < len(blocks):
                row.append(Line(" " * max(width - sum(len(each.text) for each in pieces), 0)))
        rows.append(row)
    return rows


def text_of(rows: list[list[Line]]) -> str:
    """Rows as plain text."""
    return "\n".join("".join(piece.text for piece in row).rstrip() for row in rows)
