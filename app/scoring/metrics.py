"""Counters and histograms in Prometheus' text format. Names and labels: docs/serving.md."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """How often values fell below each bound, their number and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(BUCKETS, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str) -> Iterator[str]:
        below = 0
        for bound, count in zip((*BUCKETS, "+Inf"), self.counts):
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
        self.batch_rows = 0
        self.refused: defaultdict[str, int] = defaultdict(int)

    @property
    def answered(self) -> int:
        return sum(self.requests.values())

    def count(self, endpoint: str, code: int, seconds: float) -> None:
        """One request answered."""
        self.requests[endpoint, code] += 1
        self.durations[endpoint].observe(seconds)

    def predicted(self, rows: int, seconds: float) -> None:
        """One batch back from the worker."""
        self.batch_rows += rows
        self.predictions.observe(seconds)

    def render(
        self, ready: bool, in_progress: int, waiting: int, restarts: int, recycles: int = 0
    ) -> bytes:
        """Everything as Prometheus scrapes it; the arguments are what is so just now."""
        return "\n".join(
            [*self._counters(restarts, recycles), *self._gauges(ready, in_progress, waiting), ""]
        ).encode()

    def _counters(self, restarts: int, recycles: int) -> Iterator[str]:
        labels = self._labels
        yield from family(
            "rhythmicml_requests_total",
            "counter",
            (
                (f'{labels},endpoint="{endpoint}",code="{code}"', count)
                for (endpoint, code), count in sorted(self.requests.items())
            ),
        )
        yield "# TYPE rhythmicml_request_duration_seconds histogram"
        for endpoint, histogram in sorted(self.durations.items()):
            yield from histogram.lines(
                "rhythmicml_request_duration_seconds", f'{labels},endpoint="{endpoint}"'
            )
        yield "# TYPE rhythmicml_predict_duration_seconds histogram"
        yield from self.predictions.lines("rhythmicml_predict_duration_seconds", labels)
        yield from family("rhythmicml_predicted_rows_total", "counter", [(labels, self.batch_rows)])
        yield from family("rhythmicml_worker_restarts_total", "counter", [(labels, restarts)])
        yield from family("rhythmicml_worker_recycles_total", "counter", [(labels, recycles)])
        yield from family(
            "rhythmicml_validation_errors_total",
            "counter",
            (
                (f'{labels},reason="{reason}"', count)
                for reason, count in sorted(self.refused.items())
            ),
        )

    def _gauges(self, ready: bool, in_progress: int, waiting: int) -> Iterator[str]:
        labels = self._labels
        for name, value in (
            ("requests_in_progress", in_progress),
            ("queue_depth", waiting),
            ("ready", int(ready)),
        ):
            yield from family(f"rhythmicml_{name}", "gauge", [(labels, value)])
        yield from family("rhythmicml_model_info", "gauge", [(self._about, 1)])


def family(name: str, kind: str, samples: Iterable[tuple[str, int]]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {value}"


def format_labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{escape(value)}"' for name, value in labels.items())


def escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
