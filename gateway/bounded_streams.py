"""Streams of a protocol whose prices end where another's do: a user's other stream tells the order too (ADR 14)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.report_streams import ReportStreams
from reports.rows import ReportKind


class BoundedStreams(ReportStreams):
    """Streams of reports, and the instruments in which users may enter orders: at prices up to ``highest_e4``."""

    highest_e4: int

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.price_max_e4[:] = self.highest_e4

    def _close_far(self, reports: NDArray[Any]) -> None:
        """Let users enter no more orders in an instrument in which an order stands above the highest price."""
        standing = np.isin(reports["kind"], (ReportKind.NEW, ReportKind.REPLACED))
        for instrument in np.unique(reports["instrument"][standing & (reports["price_e4"] > self.highest_e4)]).tolist():
            self.price_max_e4[instrument] = 0

    def _take_turn(self, report: Any, first_seq: int, commands: NDArray[Any]) -> None:
        super()._take_turn(report, first_seq, commands)
        if report["kind"] == ReportKind.INSTRUMENT:
            far = max(int(report["reference_e4"]), int(report["tick_e4"])) > self.highest_e4
            self.price_max_e4[int(report["instrument"])] = 0 if far else self.highest_e4

    def image(self) -> dict[str, NDArray[Any]]:
        """Image for ``restore``: copies and views; write them before the next block."""
        return super().image() | {"price_max_e4": self.price_max_e4.copy()}

    def restore(self, image: Any, seq: int, /) -> None:
        """Continue after command ``seq`` from an image, in fresh streams. Raises ValueError for one of another kind."""
        image = dict(image)
        bounds = image.pop("price_max_e4", None)
        super().restore(image, seq)
        if bounds is None or len(bounds) != len(self.price_max_e4):
            raise ValueError("their table price_max_e4 is missing, or of another size")
        self.price_max_e4[:] = bounds
