"""Pictures of an incident as PNG, by matplotlib: its only importer.

Dark lines on white, with names and units at the axes. The style is matplotlib's own default, whatever the user's
settings are, and the files have no time in them, so equal figures give equal files with one release of matplotlib.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullFormatter
from numpy.typing import NDArray

from engine.bounds import DAY_NS
from incidents.course import DEPTH_LEVELS, Quote
from incidents.page import Picture
from replay.timeline import Mark, Tally

#: Points of a line and bars of a panel at most.
_BARS_MAX: Final = 240
_WIDTH_IN, _PANEL_IN, _DPI = 10.0, 2.1, 110
_DARK: Final = "#1a1a1a"
_BUY, _SELL, _BAD = "#1b6e3c", "#b3261e", "#a15c00"
#: Kinds of marks by letter, "A" for alerts, and what their lines are.
_MARKED: Final = {"P": "dotted: phase", "H": "dashed: halt", "A": "dash-dotted: alert"}
#: Ends of an axis of times, in microseconds: a nanosecond to a day.
_ROUND_US: Final = tuple(base * 10.0**power for power in range(-3, 12) for base in (1, 2, 5))
#: Smallest step of a price.
_STEP: Final = 1e-4
#: Distances of ticks of a time axis, in seconds.
_STEPS_S: Final = (
    *(base * 10.0**power for power in range(-6, 1) for base in (1, 2, 5)),
    *(15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400),
)


def pictures(
    tally: Tally,
    symbols: dict[int, str],
    trades: dict[int, NDArray[Any]],
    quotes: dict[int, list[Quote]],
    latencies: NDArray[np.int64],
) -> list[Picture]:
    """Pictures of the rates, of each instrument in ``symbols``, and of the latencies where there are any.

    trades: time_ns, price_e4 and qty by instrument. latencies: clock and ns in two rows. Without a clock value: none.
    """
    if not tally.begin_ns:
        return []
    found = [Picture("rates.png", "Commands, trades and refusals a second", _rates(tally))]
    for number, symbol in symbols.items():
        own = trades.get(number)
        books = quotes.get(number, [])
        if own is None and not any(each.bid_e4 or each.offer_e4 for each in books):
            continue
        about = f"Price, volume and depth of {symbol}"
        found.append(Picture(f"{_plain(symbol)}.png", about, _instrument(tally, symbol, own, books)))
    if latencies.shape[1]:
        found.append(Picture("latencies.png", "Time from receipt to answer", _latencies(tally, latencies)))
    return found


def _plain(symbol: str) -> str:
    """A symbol as a part of a file's name."""
    return "".join(each if each.isascii() and each.isalnum() else f"%{ord(each):02x}" for each in symbol)


@contextmanager
def _style() -> Iterator[None]:
    """Context of matplotlib's own defaults with our colors."""
    with mpl.rc_context(mpl.rcParamsDefault):
        mpl.rcParams.update(
            {
                "text.color": _DARK, "axes.edgecolor": _DARK, "axes.labelcolor": _DARK, "xtick.color": _DARK,
                "ytick.color": _DARK, "font.size": 9.0, "axes.titlesize": 10.0, "axes.titleweight": "bold",
                "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
            }
        )  # fmt: skip
        yield


def _panels(tally: Tally, title: str, labels: list[str], marks: list[Mark]) -> tuple[Figure, list[Axes]]:
    """Panels above each other with one time axis, with marks of the tally in them."""
    height_in = 0.9 + _PANEL_IN * len(labels)
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=_DPI, facecolor="white")
    # Fixed margins, in inches: a layout that measures each text draws everything three times.
    figure.subplots_adjust(
        left=1.2 / _WIDTH_IN, right=1 - 0.35 / _WIDTH_IN, bottom=0.65 / height_in, top=1 - 0.3 / height_in, hspace=0.18
    )
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(len(labels), 1, sharex=True, squeeze=False)[:, 0])
    axes[0].set_title(title, loc="left")
    begin_s, end_s = 0.0, max((tally.end_ns - tally.begin_ns) / 1e9, 1e-6)
    origin_ns = tally.begin_ns
    for panel, label in zip(axes, labels, strict=True):
        panel.set_ylabel(label)
        panel.yaxis.set_label_coords(-0.12, 0.5)
        panel.grid(axis="y", color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        _mark(panel, marks, origin_ns)
    pad_s = (end_s - begin_s) * 0.01
    axes[-1].set_xlim(begin_s - pad_s, end_s + pad_s)
    step_s = next((step for step in _STEPS_S if (end_s - begin_s) / step <= 8), _STEPS_S[-1])
    _time_axis(axes[-1], origin_ns, step_s, long=tally.end_ns - tally.begin_ns > DAY_NS)
    days = [str(np.datetime64(at_ns // DAY_NS, "D")) for at_ns in (origin_ns, max(tally.end_ns, origin_ns))]
    axes[-1].set_xlabel(f"time, UTC, {days[0]}" if days[0] == days[1] else f"time, UTC, from {days[0]} to {days[1]}")
    if lines := _lines_of(marks):
        figure.text(1 - 0.35 / _WIDTH_IN, 0.12 / height_in, lines, ha="right", fontsize=8, color="#555555")
    return figure, axes


def _lines_of(marks: list[Mark]) -> str:
    """Meaning of the lines of marks in a picture."""
    kinds = {mark.letter if mark.letter in _MARKED else "A" for mark in marks}
    return ", ".join(_MARKED[each] for each in _MARKED if each in kinds)


class _ClockLocator(MultipleLocator):
    """Ticks at round times of the day, on an axis of seconds after ``origin_ns``."""

    def __init__(self, step_s: float, origin_ns: int) -> None:
        super().__init__(step_s)
        self._step_s, self._shift_s = step_s, (origin_ns % DAY_NS) / 1e9

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Ticks between two places of the axis."""
        first = int(np.ceil((vmin + self._shift_s) / self._step_s))
        last = int(np.floor((vmax + self._shift_s) / self._step_s))
        return np.arange(first, last + 1) * self._step_s - self._shift_s


def _time_axis(panel: Axes, origin_ns: int, step_s: float, *, long: bool) -> None:
    panel.xaxis.set_major_locator(_ClockLocator(step_s, origin_ns))
    places = 0 if step_s >= 1 else min(int(np.ceil(-np.log10(step_s))), 6)

    def clock(at_s: float, _position: Any = None) -> str:
        unit_ns = 10 ** (9 - places)
        time_ns = (origin_ns + round(at_s * 1e9) + unit_ns // 2) // unit_ns * unit_ns
        of_day_s, fraction_ns = divmod(time_ns % DAY_NS, 10**9)
        text = f"{of_day_s // 3600:02d}:{of_day_s // 60 % 60:02d}"
        text += f":{of_day_s % 60:02d}" if step_s < 60 else ""
        text += f".{fraction_ns:09d}"[: places + 1] if places else ""
        return f"{np.datetime64(time_ns // DAY_NS, 'D')}\n{text}" if long else text

    panel.xaxis.set_major_formatter(FuncFormatter(clock))


def _mark(panel: Axes, marks: list[Mark], origin_ns: int) -> None:
    """A line at each halt, phase and alert."""
    looks = {"H": ("--", _BAD), "P": (":", "#888888")}
    for letter in ("P", "H", "A"):
        chosen = [mark for mark in marks if (mark.letter if mark.letter in looks else "A") == letter]
        style, color = looks.get(letter, ("-.", _SELL))
        for at_s in sorted({(mark.time_ns - origin_ns) / 1e9 for mark in chosen}):
            panel.axvline(at_s, linestyle=style, color=color, linewidth=0.9)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None}, facecolor="white")
    return file.getvalue()


def _legend(panel: Axes) -> None:
    """Names of the lines above the panel, where no line can be."""
    panel.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1, ncols=4, fontsize=8)


def _prices(panel: Axes) -> None:
    """Prices at the axis, each with the places that it needs, two at least, so that no two ticks say the same."""
    low, high = panel.get_ylim()
    if high - low < 8 * _STEP:
        middle = round((low + high) / 2 / _STEP) * _STEP
        panel.set_ylim(middle - 4 * _STEP, middle + 4 * _STEP)
    panel.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: price_text(value)))


def price_text(value: float) -> str:
    """A price with two to four places.

    >>> price_text(98_765.435), price_text(10.0), price_text(0.12345)
    ('98,765.435', '10.00', '0.1235')
    """
    text = f"{round(value, 4):,.4f}"
    return text[:-2] + text[-2:].rstrip("0")


def _numbers(panel: Axes) -> None:
    """Whole numbers with separators at the axis, from 0 up; in a panel without any, a word in their place."""
    if not panel.dataLim.y1 > 0:  # without a line it is not finite
        panel.set_ylim(0, 1)
        panel.set_yticks([0])
        panel.text(0.5, 0.5, "none in this range", transform=panel.transAxes, ha="center", va="center", color="#777777")
        return
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    panel.yaxis.set_major_locator(MaxNLocator(nbins=5))
    panel.set_ylim(bottom=0)


def _times(panel: Axes, least_us: float, most_us: float) -> None:
    """A logarithmic axis whose ends and ticks are round, and written out."""
    panel.set_yscale("log")
    low = max(each for each in _ROUND_US if each <= max(least_us, _ROUND_US[0]))
    high = min((each for each in _ROUND_US if each > most_us), default=_ROUND_US[-1])
    panel.set_ylim(low, high)
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low <= 1_000 else (1.0,)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())


def _rates(tally: Tally) -> bytes:
    """Commands, trades and refusals a second."""
    with _style():
        figure, panels = _panels(tally, "Rates", ["commands / s", "trades / s", "refusals / s"], tally.marks)
        used = max((tally.end_ns - tally.begin_ns) // tally.stretch_ns + 1, 1)
        group = -(-used // _BARS_MAX)
        width_s = group * tally.stretch_ns / 1e9
        for panel, counts, color in zip(
            panels, (tally.commands, tally.trades, tally.refusals), (_DARK, _BUY, _SELL), strict=True
        ):
            padded = np.zeros(-(-used // group) * group, np.int64)
            padded[:used] = counts[:used]
            sums = padded.reshape(-1, group).sum(axis=1)
            _bars(panel, sums / width_s, width_s, color)
            _numbers(panel)
        return _png(figure)


def _bars(panel: Axes, heights: NDArray[Any], width_s: float, color: str) -> None:
    """Bars beside each other, the first at the begin of the range."""
    panel.stairs(heights, np.arange(len(heights) + 1) * width_s, fill=True, color=color)


def _buckets(times_ns: NDArray[np.int64], tally: Tally) -> tuple[NDArray[np.int64], float]:
    """Bar of each time, and the width of a bar in seconds."""
    width_ns = max(-(-(tally.end_ns - tally.begin_ns + 1) // _BARS_MAX), 1)
    return (times_ns - tally.begin_ns) // width_ns, width_ns / 1e9


def _instrument(tally: Tally, symbol: str, trades: NDArray[Any] | None, quotes: list[Quote]) -> bytes:
    """Price with the best quotes, shares traded, and displayed quantity near the best prices."""
    with _style():
        depth = f"shares, best {DEPTH_LEVELS} levels"
        marks = [mark for mark in tally.marks if mark.alert or symbol in mark.text.split()]
        figure, (prices, volume, book) = _panels(tally, symbol, ["price", "shares traded", depth], marks)
        at_s = np.array([max(each.time_ns - tally.begin_ns, 0) / 1e9 for each in quotes])
        for name, key, color in (("best bid", "bid_e4", _BUY), ("best offer", "offer_e4", _SELL)):
            values = np.array([getattr(each, key) / 1e4 or np.nan for each in quotes])
            if len(values) and not np.isnan(values).all():
                prices.step(at_s, values, where="post", color=color, linewidth=1.0, label=name)
        if trades is not None:
            bar, width_s = _buckets(trades["time_ns"], tally)
            begins = np.flatnonzero(np.diff(bar, prepend=-1))
            middle_s = (bar[begins] + 0.5) * width_s
            high, low = (each.reduceat(trades["price_e4"], begins) / 1e4 for each in (np.maximum, np.minimum))
            ends = np.append(begins[1:], len(trades)) - 1
            prices.vlines(middle_s, low, high, color=_DARK, linewidth=1.4)
            prices.plot(middle_s, trades["price_e4"][ends] / 1e4, ".", color=_DARK, markersize=3.5, label="trades")
            _bars(volume, np.bincount(bar, trades["qty"], minlength=_BARS_MAX), width_s, _DARK)
        _prices(prices)
        if prices.get_legend_handles_labels()[0]:
            _legend(prices)
        for name, qty_key, color in (("bids", "bid_qty", _BUY), ("offers", "offer_qty", _SELL)):
            if len(quotes):
                book.step(at_s, [getattr(each, qty_key) for each in quotes], where="post", color=color, label=name)
        if len(quotes):
            _legend(book)
        for panel in (volume, book):
            _numbers(panel)
        return _png(figure)


def _latencies(tally: Tally, latencies: NDArray[np.int64]) -> bytes:
    """Median, 99th percentile and longest time from receipt to answer, by time."""
    with _style():
        figure, (panel,) = _panels(tally, "From receipt to answer", ["microseconds"], tally.marks)
        order = np.argsort(latencies[0], kind="stable")
        times_ns, took_us = latencies[0][order], np.maximum(latencies[1][order], 1) / 1e3
        bar, width_s = _buckets(times_ns, tally)
        begins = np.flatnonzero(np.diff(bar, prepend=-1))
        middle_s = (bar[begins] + 0.5) * width_s
        parts = np.split(took_us, begins[1:])
        for name, share, color, style in (
            ("median", 50, _BUY, "-"), ("99 %", 99, _BAD, "-"), ("longest", 100, _SELL, ":"),
        ):  # fmt: skip
            values = [float(np.percentile(part, share, method="inverted_cdf")) for part in parts]
            panel.plot(middle_s, values, style, marker=".", markersize=3, color=color, linewidth=1.0, label=name)
        _times(panel, float(took_us.min()), float(took_us.max()))
        _legend(panel)
        return _png(figure)
