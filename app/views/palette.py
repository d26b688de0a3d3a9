"""The palette: whatever the pages have, found by a few letters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

if TYPE_CHECKING:
    from app.workspace import Workspace

SHOWN = 12
VERSION = re.compile(r"(\S+?)(?:@|\s+v?)(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """One line. href: the page it leads to, or get: what it shows in the drawer."""

    title: str
    kind: str
    href: str = ""
    get: str = ""


PAGES = (
    Entry("Catalogue", "page", "/"),
    Entry("Pipelines", "page", "/pipelines"),
    Entry("Monitoring", "page", "/monitoring"),
    Entry("Hosts", "page", "/hosts"),
    Entry("Jobs", "page", "/jobs"),
    Entry("Settings", "page", "/settings"),
    Entry("Add a model…", "action", get="/models/new"),
    Entry("New pipeline…", "action", get="/pipelines/new"),
    Entry("Add a location…", "action", get="/locations/new"),
)


def blueprint(work: Workspace) -> Blueprint:
    pages = Blueprint("palette", __name__)

    @pages.get("/palette")
    def show() -> Any:
        words = request.args.get("q", "").strip()
        with work.open_store() as store:
            rows = store.models.overview()
        rows.sort(key=lambda row: row["committed"] or row["created"], reverse=True)
        found = best([*_version(rows, words), *PAGES, *_models(rows)], words)
        return render_template("palette.html", entries=found, words=words)

    return pages


def best(entries: list[Entry], words: str) -> list[Entry]:
    """Those that hold all the words, or their letters in order; the closest first."""
    asked = words.lower().replace("@", " ").split()
    ranked = [(rank, each) for each in entries if (rank := _rank(each, asked)) is not None]
    return [each for _, each in sorted(ranked, key=lambda pair: pair[0])][:SHOWN]


def _rank(entry: Entry, asked: list[str]) -> tuple[int, int] | None:
    text = entry.title.lower()
    ranks = [_distance(text, word) for word in asked]
    far = [each for each in ranks if each is not None]
    return (sum(far), len(text) if asked else 0) if len(far) == len(ranks) else None


def _distance(text: str, word: str) -> int | None:
    """0 at the start of a word, 1 within one, 4 when only the letters come in that order."""
    if re.search(rf"(^|[^a-z0-9]){re.escape(word)}", text):
        return 0
    if word in text:
        return 1
    letters = iter(text)
    return 4 if len(word) > 1 and all(letter in letters for letter in word) else None


def _version(rows: list[dict[str, Any]], words: str) -> Iterator[Entry]:
    """The version that was named, as "churn@2", "churn 2" or "churn v2"."""
    if named := VERSION.fullmatch(words):
        name, number = named[1].lower(), int(named[2])
        for row in rows:
            if row["name"] == name and 0 < number <= (row["version"] or 0):
                yield Entry(f"{name} v{number}", "version", f"/models/{name}?v={number}")


def _models(rows: list[dict[str, Any]]) -> Iterator[Entry]:
    for row in rows:
        name = row["name"]
        yield Entry(name, "model", f"/models/{name}")
    for row in rows:
        name = row["name"]
        yield Entry(f"{name}: deploy…", "action", get=f"/models/{name}/deploy")
        for tab, title in (("versions", "versions"), ("try", "try it"), ("files", "files")):
            yield Entry(f"{name}: {title}", "page", f"/models/{name}/{tab}")
