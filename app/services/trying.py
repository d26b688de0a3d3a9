"""Asking an instance by hand: what to fill in, what it said, how programs would ask."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.models import Model, Version
from app.services import instances
from app.store import Store, manifest

if TYPE_CHECKING:
    from app.workspace import Workspace

LONGEST = 20_000
CURL = "curl -s {url}/score -H 'Content-Type: application/json' -d @request.json"
PYTHON = """\
import json, urllib.request

body = json.dumps({body}).encode()
request = urllib.request.Request("{url}/score", body, {{"Content-Type": "application/json"}})
print(json.load(urllib.request.urlopen(request)))
"""


@dataclass(frozen=True)
class Answer:
    """What an instance said. seconds: there and back, with the way to the host."""

    text: str
    seconds: float
    version: str
    release: str


def sample_of(store: Store, model: Model, version: Version) -> str:
    """The version's sample request, as text; an empty one where it has none that can be shown."""
    name = version.configuration.sample
    listed = manifest.parse(store.blobs.read(version.manifest))
    found = next((each for each in listed if each.path == name and each.digest), None)
    if found and found.size <= LONGEST:
        try:
            return store.blobs.read(found.digest).decode()
        except UnicodeDecodeError:
            pass
    return '{"inputs": []}'


def ask(work: Workspace, name: str, body: str, place: str) -> Answer:
    """Send a body of JSON. Raises Problem when it is none, or when the instance refuses it."""
    _must_be_json(body)
    began = time.perf_counter()
    said: dict[str, Any] = instances.score(work, name, body.encode(), to=place)
    took = time.perf_counter() - began
    text = json.dumps(said["answer"], indent=2, ensure_ascii=False)
    return Answer(text, took, said["version"] or "", said["release"] or "")


def trace(work: Workspace, name: str, body: str, place: str) -> dict[str, Any]:
    """Ask a deployed pipeline: {"predictions", "stages": [{"name", "instance", "version", "ms",
    "rows", "output"}]}."""
    _must_be_json(body)
    said = instances.score(work, name, body.encode(), to=place, trace=True)
    found = said["answer"]
    if not isinstance(found, dict) or "stages" not in found:
        raise Problem(f"{name} on {place} is no pipeline: it has no stages.")
    with work.open_store() as store:
        every = store.versions.all(store.models.get(name))
    number = said["version"]
    version = next((each for each in every if str(each.number) == number), None)
    stages = version.configuration.stages if version else ()
    asked = {each["name"]: each["instance"] for each in stages}
    traced = [{**each, "instance": asked.get(each["name"], "")} for each in found["stages"]]
    return {**found, "stages": traced}


def _must_be_json(body: str) -> None:
    try:
        json.loads(body)
    except ValueError as error:
        raise Problem("The request is not JSON.", cause=str(error)) from error


def snippets(url: str, body: str) -> dict[str, str]:
    """How programs would ask the same: language → text."""
    try:
        value = repr(json.loads(body))
    except ValueError:
        value = "..."
    return {"curl": CURL.format(url=url), "Python": PYTHON.format(url=url, body=value)}
