"""A row of `metrics.sqlite`: what a front saw in so many seconds, as bytes, and how rows add up.

Each thing that happened stands in exactly one row, so the sum of rows of whatever steps is right.
Columns' summaries are kept by the quarter of an hour, in rows whose `seconds` is 0 until finer ones
are added to them. Pure; the client reads rows with it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from . import sketch, summaries
from .sketch import Json

STEPS = (10, 60, 900)
"""Seconds that a row stands for."""
FINEST, COARSEST = STEPS[0], STEPS[-1]
LATENCIES = 192  # buckets of a sketch of seconds: a quantile is off by 1 % in practice

LONGEST = 16 << 20
"""Bytes of a body: few that were packed may become many."""


def pack(body: Mapping[str, Any]) -> bytes:
    return zlib.compress(msgspec.json.encode(body))


def unpack(packed: bytes) -> Json:
    """Raises ValueError when it is no body, or one that would not end."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(packed, LONGEST)
        body = msgspec.json.decode(text if stream.eof else b"", type=Json)
    except (zlib.error, msgspec.DecodeError, TypeError) as error:
        raise ValueError(f"not a body: {error}") from error
    return {**empty(), **body}


def empty() -> Json:
    """A row in which nothing happened."""
    return {
        "seconds": 0,
        "requests": {},
        "latency": sketch.of(()),
        "predict": sketch.of(()),
        "queue": {"most": 0, "refused": 0},
        "batches": {"count": 0, "rows": 0},
        "restarts": 0,
        "recycles": 0,
        "cpu": 0.0,
        "memory": None,
        "files": None,
        "host": {},
        "inputs": {},
        "outputs": {},
    }


def merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> Json:
    """What happened in both. Memory, files and disk: the most there was; shares: by time."""
    weights = one["seconds"], other["seconds"]
    return {
        "seconds": sum(weights),
        "requests": _sums(one["requests"], other["requests"]),
        "latency": sketch.merge(one["latency"], other["latency"], LATENCIES),
        "predict": sketch.merge(one["predict"], other["predict"], LATENCIES),
        "queue": {
            "most": max(one["queue"]["most"], other["queue"]["most"]),
            "refused": one["queue"]["refused"] + other["queue"]["refused"],
        },
        "batches": _sums(one["batches"], other["batches"]),
        "restarts": one["restarts"] + other["restarts"],
        "recycles": one["recycles"] + other["recycles"],
        "cpu": one["cpu"] + other["cpu"],
        "memory": _most(one["memory"], other["memory"]),
        "files": _most(one["files"], other["files"]),
        "host": _hosts(one["host"], other["host"], weights),
        "inputs": summaries.merge_all(one["inputs"], other["inputs"]),
        "outputs": summaries.merge_all(one["outputs"], other["outputs"]),
    }


def _sums(one: Mapping[str, int], other: Mapping[str, int]) -> Json:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _most(one: float | None, other: float | None) -> float | None:
    return max((each for each in (one, other) if each is not None), default=None)


_BY_TIME = ("cpu", "load")


def _hosts(one: Mapping[str, Any], other: Mapping[str, Any], weights: tuple[float, float]) -> Json:
    said: Json = {}
    for name in {**one, **other}:
        pair = one.get(name), other.get(name)
        said[name] = _mean(pair, weights) if name in _BY_TIME else _most(*pair)
    return said


def _mean(pair: tuple[Any, Any], weights: tuple[float, float]) -> float | None:
    known: list[tuple[float, float]] = [
        (value, weight) for value, weight in zip(pair, weights) if value is not None
    ]
    total = sum(weight for _, weight in known)
    if not total:
        return known[0][0] if known else None
    return sum(value * weight for value, weight in known) / total
