"""Counters and histograms in Prometheus' text format; docs/serving/monitoring.md has them all."""

from __future__ import annotations

import resource
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .http import Request
    from .inputs import Inputs
    from .outputs import Outputs
    from .tap import Tap

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


HELP = {
    "requests_total": "Requests answered.",
    "request_duration_seconds": "From the last byte of a request to its answer.",
    "predict_duration_seconds": "One batch, as the front saw the worker take it.",
    "queue_seconds": "From the queue's end to a worker, for each request.",
    "batch_rows": "Rows in each batch.",
    "predicted_rows_total": "Rows predicted.",
    "shadow_compared_total": "Requests that a shadow answered too, and that were compared.",
    "shadow_differing_total": "Rows of them that it answers otherwise.",
    "shadow_dropped_total": "Requests whose copies found no time.",
    "shadow_failed_total": "Requests that a shadow could not answer.",
    "worker_restarts_total": "Workers that ended and were replaced.",
    "worker_recycles_total": "Workers that were replaced because they had done enough.",
    "validation_errors_total": "Requests refused, by reason.",
    "requests_in_progress": "Requests that wait or are being predicted.",
    "queue_depth": "Requests that wait for a worker.",
    "connections": "Open connections to the public socket.",
    "receiving_bytes": "Large bodies that are being received.",
    "front_memory_bytes": "Resident memory of the front, without its workers.",
    "stage_requests_total": "Requests to the stages of a pipeline, by status; none: no answer.",
    "stage_seconds": "One request to a stage, from the first byte of it to the last of its answer.",
    "ready": "1 when a worker can predict.",
    "model_info": "The model that is served.",
}


class Histogram:
    """How often values fell below each bound, their number and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str) -> Iterator[str]:
        below = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts):
            below += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {below}'
        yield f"{name}_sum{{{labels}}} {self.total:.9g}"
        yield f"{name}_count{{{labels}}} {below}"


class Metrics:
    """All that one front counts. `labels` (instance, model, version) are on every line."""

    def __init__(self, labels: Mapping[str, str], about: Mapping[str, str]) -> None:
        self._labels = format_labels(labels)
        self._about = format_labels(about)
        self.requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.durations: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.predictions = Histogram()
        self.queued = Histogram()
        self.batches = Histogram(ROWS)
        self.refused: defaultdict[str, int] = defaultdict(int)
        self.tap: Tap | None = None  # what records it, if anything does
        self.stage_requests: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.stages: defaultdict[str, Histogram] = defaultdict(Histogram)

    @property
    def answered(self) -> int:
        return sum(self.requests.values())

    def count(self, endpoint: str, code: int, seconds: float) -> None:
        """One request answered."""
        self.requests[endpoint, code] += 1
        self.durations[endpoint].observe(seconds)
        if self.tap is not None:
            self.tap.answered(endpoint, seconds)

    def predicted(self, rows: int, seconds: float) -> None:
        """One batch back from the worker."""
        self.batches.observe(rows)
        self.predictions.observe(seconds)
        if self.tap is not None:
            self.tap.predicted(seconds)

    def took(self, inputs: Inputs, waiting: int) -> None:
        """A worker has got a batch. waiting: requests that waited until then, its own too."""
        if self.tap is not None:
            self.tap.took(inputs, waiting)

    def gave(self, outputs: Outputs) -> None:
        """A worker has given predictions."""
        if self.tap is not None:
            self.tap.gave(outputs)

    def asked(self, request: Request, inputs: Inputs, result: Any) -> None:
        """A request has its result."""
        if self.tap is not None and self.tap.share:
            self.tap.asked(request, inputs, result)

    def event(self, kind: str, **body: Any) -> None:
        """Something happened that is worth knowing later."""
        if self.tap is not None:
            self.tap.event(kind, **body)

    def staged(self, stage: str, code: str, seconds: float) -> None:
        """One request to a stage of a pipeline. code: "none" where no answer came."""
        self.stage_requests[stage, code] += 1
        self.stages[stage].observe(seconds)

    def render(self, counters: Mapping[str, int], gauges: Mapping[str, int]) -> bytes:
        """Everything as Prometheus scrapes it. counters: what others count; gauges: what is so
        just now; both by name.
        """
        parts = (self._counters(counters), self._histograms(), self._gauges(gauges))
        return "\n".join([*chain.from_iterable(parts), ""]).encode()

    def _counters(self, counted: Mapping[str, int]) -> Iterator[str]:
        labels = self._labels
        yield from family(
            "requests_total",
            "counter",
            (
                (f'{labels},endpoint="{endpoint}",code="{code}"', count)
                for (endpoint, code), count in sorted(self.requests.items())
            ),
        )
        if self.stage_requests:
            yield from family(
                "stage_requests_total",
                "counter",
                (
                    (f'{labels},stage="{stage}",code="{code}"', count)
                    for (stage, code), count in sorted(self.stage_requests.items())
                ),
            )
        rows = int(self.batches.total)
        yield from family("predicted_rows_total", "counter", [(labels, rows)])
        for name, count in counted.items():
            yield from family(f"{name}_total", "counter", [(labels, count)])
        yield from family(
            "validation_errors_total",
            "counter",
            (
                (f'{labels},reason="{reason}"', count)
                for reason, count in sorted(self.refused.items())
            ),
        )

    def _histograms(self) -> Iterator[str]:
        labels = self._labels
        durations = {
            f'{labels},endpoint="{endpoint}"': histogram
            for endpoint, histogram in sorted(self.durations.items())
        }
        stages = {
            f'{labels},stage="{stage}"': histogram
            for stage, histogram in sorted(self.stages.items())
        }
        for name, histograms in (
            ("request_duration_seconds", durations),
            ("predict_duration_seconds", {labels: self.predictions}),
            ("queue_seconds", {labels: self.queued}),
            ("batch_rows", {labels: self.batches}),
            ("stage_seconds", stages),
        ):
            if not histograms:
                continue
            yield from head(name, "histogram")
            for which, histogram in histograms.items():
                yield from histogram.lines(f"rhythmicml_{name}", which)

    def _gauges(self, gauges: Mapping[str, int]) -> Iterator[str]:
        for name, value in gauges.items():
            yield from family(name, "gauge", [(self._labels, value)])
        yield from family("model_info", "gauge", [(self._about, 1)])


def head(name: str, kind: str) -> Iterator[str]:
    if name in HELP:
        yield f"# HELP rhythmicml_{name} {HELP[name]}"
    yield f"# TYPE rhythmicml_{name} {kind}"


def family(name: str, kind: str, samples: Iterable[tuple[str, int]]) -> Iterator[str]:
    yield from head(name, kind)
    for labels, value in samples:
        yield f"rhythmicml_{name}{{{labels}}} {value}"


def resident() -> int:
    """Bytes of memory that this process holds; its peak where the system tells no more."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def format_labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{escape(value)}"' for name, value in labels.items())


def escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
