"""What is said of alerts that began or ended, by whichever way. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

MOST = 10
"""Alerts that a text names; more are counted."""
BEGAN, ENDED, TEST = "began", "ended", "test"
KEPT = ("id", "rule", "model", "location", "subject", "words", "value", "began", "ended")


@dataclass(frozen=True)
class Message:
    """title: one line. text: some lines. body: the same for programs."""

    title: str
    text: str
    body: dict[str, Any]


def of(told: Sequence[tuple[str, Mapping[str, Any]]], machine: str) -> Message:
    """told: what happened (BEGAN, ENDED, TEST) and the row of the alert. At least one."""
    lines = [line(event, row) for event, row in told]
    more = len(lines) - MOST
    text = "\n".join([*lines[:MOST], *([f"And {more} more."] if more > 0 else [])])
    alerts = [{"event": event, **{k: _plain(k, row[k]) for k in KEPT}} for event, row in told]
    body = {"text": f"{text}\n(RhythmicML on {machine})", "machine": machine, "alerts": alerts}
    return Message(_title(told), text, body)


def _title(told: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    event, row = told[0]
    if len(told) == 1:
        return "A test of alerts" if event == TEST else f"{about(row)}: {_rule(event, row)}"
    began = sum(event == BEGAN for event, _ in told)
    ended = len(told) - began
    parts = [f"{began} began"] if began else []
    return f"Alerts: {', '.join([*parts, *([f'{ended} ended'] if ended else [])])}"


def line(event: str, row: Mapping[str, Any]) -> str:
    if event == TEST:
        return str(row["words"])
    if event == ENDED:
        return f"{about(row)}: {_rule(event, row)}. It was: {row['words']}"
    return f"{about(row)}: {row['words']}"


def about(row: Mapping[str, Any]) -> str:
    """churn on ams; the host ams."""
    if row["model"]:
        return f"{row['model']} on {row['location']}"
    return f"The host {row['location']}"


RULES = {
    "down": "does not answer",
    "errors": "too many errors",
    "p95": "too slow",
    "memory": "memory almost used up",
    "disk": "disk almost full",
    "certificate": "certificate ends soon",
    "drift": "a column has moved",
}
"""Rule → what is wrong, in few words."""


def _rule(event: str, row: Mapping[str, Any]) -> str:
    words = RULES[row["rule"]]
    return f"over ({words})" if event == ENDED else words


def _plain(name: str, value: Any) -> Any:
    """Times as ISO, in UTC."""
    if name in ("began", "ended") and value is not None:
        return datetime.fromtimestamp(value, timezone.utc).isoformat(timespec="seconds")
    return value
