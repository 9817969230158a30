"""Metrics and health of a node: /metrics for Prometheus, /healthz and /readyz.

Each page is made on request from ``status()`` and the stages' histograms: nothing here is on the path of an order.
Durations are in seconds, as Prometheus wants them. A stage's buckets end at powers of two of nanoseconds, which are
ends of buckets in ``StageClock`` too, so that counts are exact.
"""

import functools
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any, Final

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from engine.records import RULES_VERSION
from node.core.control import PHASE_KEYS, NodeControl, Status
from node.core.stages import STAGES, StageClock, bucket
from node.operator.capacity import ROOMS
from node.operator.pair_metrics import INFO, gauges
from node.operator.responder import HttpServer, Response, json_response
from node.operator.workings_metrics import families

#: Counters: (key of ``status``, name, help). Prometheus adds ``_total``.
COUNTERS: Final = (
    ("commands", "lockstep_commands", "Commands sequenced since the start"),
    ("orders", "lockstep_orders", "Orders, replaces, cancels and FIX session messages of clients, refused ones too"),
    ("events", "lockstep_events", "Events released since the start"),
    ("trades", "lockstep_trades", "Trades since the start"),
    ("bytes_in", "lockstep_received_bytes", "Bytes received from clients since the start"),
    ("bytes_out", "lockstep_sent_bytes", "Bytes sent to clients since the start"),
    ("failed_logins", "lockstep_failed_logins", "Logins refused for their user or password since the start"),
    ("refused_connections", "lockstep_refused_connections", "Connections of clients refused since the start"),
    ("displaced_connections", "lockstep_displaced_connections", "Connections without a login ended for others"),
    ("lost_arrivals", "lockstep_lost_arrivals", "Records of arrivals, latencies, logins not written since the start"),
    ("slow_readers", "lockstep_slow_readers", "Clients disconnected because they did not read, since the start"),
    ("failed_checkpoints", "lockstep_failed_checkpoints", "Checkpoints that failed since the start"),
    ("lost_log_lines", "lockstep_lost_log_lines", "Log lines dropped since the start, because nothing read them"),
    ("clock_jumps", "lockstep_clock_jumps", "Jumps of the machine's clock since the start"),
)
#: Gauges: (key, name, help, factor from the key's unit to that of the metric).
GAUGES: Final = (
    ("uptime_s", "lockstep_uptime_seconds", "Seconds since the start", 1.0),
    ("seq", "lockstep_seq", "Sequence number of the last command applied", 1.0),
    ("durable_seq", "lockstep_durable_seq", "Sequence number of the last command that is durable", 1.0),
    ("published_seq", "lockstep_published_seq", "Sequence number of the last command answered", 1.0),
    ("speed_bump_ns", "lockstep_entry_delay_seconds", "Entry delay of the venue; 0 for none", 1e-9),
    ("checkpoint_seq", "lockstep_checkpoint_seq", "Sequence number of the newest checkpoint", 1.0),
    ("orders_per_s", "lockstep_order_rate", "Orders a second, over the last seconds", 1.0),
    ("commands_per_s", "lockstep_command_rate", "Commands a second, over the last seconds", 1.0),
    ("events_per_s", "lockstep_event_rate", "Events a second, over the last seconds", 1.0),
    ("trades_per_s", "lockstep_trade_rate", "Trades a second, over the last seconds", 1.0),
    ("held_rows", "lockstep_held_rows", "Rows that wait to be durable", 1.0),
    ("connections", "lockstep_connections", "Open connections of clients", 1.0),
    ("direct_connections", "lockstep_direct_connections", "Connections that the compiled turn serves now", 1.0),
    ("logged_in", "lockstep_sessions", "Users logged in", 1.0),
    ("journal_bytes", "lockstep_journal_bytes", "Size of the journal", 1.0),
    ("disk_free_bytes", "lockstep_disk_free_bytes", "Free space on the disk of the journal", 1.0),
    ("memory_rss_bytes", "lockstep_memory_rss_bytes", "Resident memory of the process", 1.0),
    ("durable_lag_s", "lockstep_durable_lag_seconds", "Age of the oldest command that is not durable; 0: none", 1.0),
    ("clock_offset_ns", "lockstep_clock_offset_seconds", "Offset of a synchronized clock; absent if it is not", 1e-9),
    ("clock_error_max_ns", "lockstep_clock_error_max_seconds", "Largest error of the machine's clock", 1e-9),
    ("clock_ahead_ns", "lockstep_clock_ahead_seconds", "Lead of market time over the machine's clock", 1e-9),
    ("clock_refused_ns", "lockstep_clock_refused_seconds", "Lead of a refused clock over market time", 1e-9),
    ("clock_ns", "lockstep_clock_seconds", "The market's clock, seconds since 1970", 1e-9),
    ("diverged", "lockstep_diverged", "1 once this node, or a copy of it, has another state than the other node", 1.0),
    ("draining", "lockstep_draining", "1 while the node drains and so refuses new orders", 1.0),
)
#: Ends of a histogram's buckets, as powers of two of nanoseconds: a quarter of a microsecond to 17 seconds.
_POWERS: Final = range(8, 35)
#: Last bucket of ``StageClock`` below each end.
_BELOW: Final = np.array([bucket((1 << power) - 1) for power in _POWERS])
_ENDS: Final = tuple(repr((1 << power) / 1e9) for power in _POWERS)


class Metrics:
    """Metrics of a node, in a separate registry."""

    def __init__(self, node: NodeControl) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_NodeCollector(node))

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class _NodeCollector(Collector):
    """Collector that makes the metric families anew for each request."""

    def __init__(self, node: NodeControl) -> None:
        self._node = node

    def describe(self) -> Iterator[Metric]:
        """Describe no metric beforehand: the registry would call the node before it is complete."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        status, workings = self._node.status(), self._node.workings()
        figures = {each["process"]: each["figures"] for each in workings["processes"]}
        yield from _counters(status, figures)
        yield from _gauges(status, figures)
        yield _info(status)
        yield _version()
        yield _phases(status)
        yield _rooms(status)
        yield _stages(self._node.stages)
        yield from _workings(workings)
        yield from _pair(self._node.pair_status())
        ready = GaugeMetricFamily("lockstep_ready", "1 while the node takes orders and answers them")
        ready.add_metric([], 0.0 if self._node.unready() or self._node.unhealthy() else 1.0)
        yield ready


#: Figures of programs by process: those with the keys of ``COUNTERS`` and ``GAUGES``.
Figures = Mapping[str, Mapping[str, float]]


def _counters(status: Status, figures: Figures) -> Iterator[Metric]:
    for key, name, text in COUNTERS:
        if (value := _number(status, key)) is not None:
            counter = CounterMetricFamily(name, text)
            counter.add_metric([], value)
            _add_others(counter, f"{name}_total", key, figures)
            yield counter
    rejected = CounterMetricFamily("lockstep_rejected", "Rejects by reason since the start", labels=["reason"])
    for key in sorted(status):
        if key.startswith("rejected_") and (value := _number(status, key)) is not None:
            rejected.add_metric([key.removeprefix("rejected_")], value)
    yield rejected


def _add_others(family: Metric, name: str, key: str, figures: Figures, unit: float = 1.0) -> None:
    """Add what other processes reported, with a label that the node's own, the core's, has not."""
    for process, own in figures.items():
        if key in own:
            family.add_sample(name, {"process": process}, own[key] * unit)


def _gauges(status: Status, figures: Figures) -> Iterator[Metric]:
    for key, name, text, unit in GAUGES:
        if (value := _number(status, key)) is not None:
            gauge = GaugeMetricFamily(name, text)
            gauge.add_metric([], value * unit)
            _add_others(gauge, name, key, figures, unit)
            yield gauge
    seq, durable_seq = _number(status, "seq"), _number(status, "durable_seq")
    synchronized = GaugeMetricFamily("lockstep_clock_synchronized", "1 while NTP, PTP or chrony keeps the clock")
    synchronized.add_metric([], 1.0 if status.get("clock_discipline") == "synchronized" else 0.0)
    yield synchronized
    if seq is not None and durable_seq is not None:
        lag = GaugeMetricFamily("lockstep_journal_lag_commands", "Commands applied but not durable yet")
        lag.add_metric([], max(seq - durable_seq, 0.0))
        yield lag
    room = GaugeMetricFamily(
        "lockstep_room_open", "1 while there is room for new orders on the disk; else cancels only"
    )
    room.add_metric([], 1.0 if status.get("room", "open") == "open" else 0.0)
    yield room


def _info(status: Status) -> Metric:
    words = ("data", "journal_id", "durability", "room", "clock_discipline")
    info = InfoMetricFamily("lockstep_node", "Identity and state of the node")
    info.add_metric([], {key: str(status[key]) for key in words if key in status})
    return info


def _version() -> Metric:
    info = InfoMetricFamily("lockstep_build", "The release that runs")
    info.add_metric([], {"version": _release(), "rules_version": str(RULES_VERSION), "python": python_version()})
    return info


@functools.cache
def _release() -> str:
    try:
        return version("lockstep")
    except PackageNotFoundError:
        return "unknown"


def _phases(status: Status) -> Metric:
    phases = GaugeMetricFamily("lockstep_instruments", "Instruments by phase", labels=["phase"])
    for key in PHASE_KEYS:
        if (value := _number(status, key)) is not None:
            phases.add_metric([key.removeprefix("phase_")], value)
    return phases


def _rooms(status: Status) -> Metric:
    rooms = GaugeMetricFamily("lockstep_capacity_used_ratio", "Used share of the venue's capacity", labels=["room"])
    for room, (used_key, most_key) in ROOMS.items():
        used, most = _number(status, used_key), _number(status, most_key)
        if used is not None and most:
            rooms.add_metric([room.replace(" ", "_")], used / most)
    return rooms


def _stages(stages: StageClock) -> Metric:
    family = HistogramMetricFamily("lockstep_stage_seconds", "Duration of each stage in seconds", labels=["stage"])
    for number, name in enumerate(STAGES):
        below = np.cumsum(stages.counts(number))
        counts = [float(count) for count in below[_BELOW]]
        buckets = [*zip(_ENDS, counts, strict=True), ("+Inf", float(below[-1]))]
        family.add_metric([name], buckets, stages.sum_ns(number) / 1e9)
    return family


def _pair(report: Mapping[str, Any]) -> Iterator[Metric]:
    """Metrics of a node of a pair; none of a single node."""
    for name, text, labels, values in gauges(report):
        family = GaugeMetricFamily(name, text, labels=labels)
        for each, value in values:
            family.add_metric(each, value)
        yield family
    if report["role"] != "single":
        info = InfoMetricFamily("lockstep_pair", "Identity and role of the node in its pair")
        info.add_metric([], {key: str(report[key]) for key in INFO})
        yield info


def _workings(report: Mapping[str, Any]) -> Iterator[Metric]:
    """Metrics of processes, agents, the tape and its readers, rings and lines."""
    for name, text, labels, counts, values in families(report):
        family: CounterMetricFamily | GaugeMetricFamily
        family = (CounterMetricFamily if counts else GaugeMetricFamily)(name, text, labels=labels)
        for each, value in values:
            family.add_metric(each, value)
        yield family


def _number(status: Status, key: str) -> float | None:
    value = status.get(key)
    return float(value) if isinstance(value, int | float) else None


def metrics_server(node: NodeControl, metrics: Metrics, *, host: str = "127.0.0.1", port: int = 0) -> HttpServer:
    """Server of /metrics, /healthz (the node works) and /readyz (it takes orders), not yet started. The latter two
    answer 200, or 503 with the reasons. Raises AdminError for a host that others can reach.
    """

    def text() -> Response:
        return Response(HTTPStatus.OK, CONTENT_TYPE_LATEST, metrics.text())

    def healthy() -> Response:
        reasons = node.unhealthy()
        return json_response(_status_of(reasons), {"healthy": not reasons, "reasons": reasons})

    def ready() -> Response:
        reasons = list(dict.fromkeys((*node.unhealthy(), *node.unready())))
        result = {"ready": not reasons, "reasons": reasons, "warnings": node.warnings()}
        return json_response(_status_of(reasons), result)

    return HttpServer({"/metrics": text, "/healthz": healthy, "/readyz": ready}, host=host, port=port)


def _status_of(reasons: list[str]) -> HTTPStatus:
    return HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
