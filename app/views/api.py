"""What the pages do, as JSON for notebooks and scripts: one table of routes, and its OpenAPI.

Answers have the shapes of the command line's --json; a Problem is {"error": {…}}. Long work is a
job, by the same orders as those of the pages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, jsonify, request

from app import jobs
from app.errors import NotFound, Problem
from app.models import Job, Location, Model, Version
from app.services import catalogue, fleet, instances, locations, models, orders, versions
from app.services.differences import Differences
from app.services.models import Added
from app.services.orders import Order
from app.services.versions import Committed, Shown
from app.views.described import LARGEST, OBJECT, Field, Route, document

if TYPE_CHECKING:
    from app.workspace import Workspace

PREFIX = "/api/v1"
MOST_BODY = 1 << 20
ROW = {"type": "object", "required": ["name", "folder", "version", "deployed"]}
JOB = {
    "type": "object",
    "required": ["id", "kind", "subject", "state", "started", "ended", "outcome", "command"],
}
ONE_OR_MORE = "a location, several with commas, or a group; else where the model is, or goes"

NUMBER = f"<int(max={LARGEST}):number>"
MODEL = "/models/<model>"
VERSION = Field("version", "the version's number", "integer")
TO = Field("to", ONE_OR_MORE, least=1, most=1000)
MESSAGE = Field("message", "what changed", most=10_000)
FORCE = Field("force", "even while it is deployed; what runs goes on", "boolean")
NAME = Field("name", "a name: a-z, 0-9 and -, at most 48", least=1, most=1000)
FOLDER = Field(
    "folder", "the whole path of a folder", required=True, least=1, pattern=r"^[/~][^\u0000]*$"
)
STOP_FIRST = Field("stop_first", "end the old release before the new one starts", "boolean")
BREAK = Field("force", "even if a pipeline that asks it breaks", "boolean")
WITH_STAGES = Field("with_stages", "deploy a pipeline's missing stages first", "boolean")
PORT = Field("port", "the port to answer on", "integer", least=1, most=65535)
ORDERS: dict[str, tuple[str, tuple[Field, ...]]] = {
    "deploy": (
        "Put a version into production. Without a number, what changed in the folder is committed",
        (VERSION, TO, PORT, MESSAGE, STOP_FIRST, WITH_STAGES, BREAK,
         Field("rollback_all", "if a location fails, all go back", "boolean")),
    ),
    "undeploy": (
        "Take the model off its location",
        (TO, Field("purge", "remove its releases, tokens and secrets, too", "boolean"), BREAK),
    ),
    "switch": (
        "Make a version production that is on the host already",
        (Field("version", "the version's number", "integer", required=True), TO, BREAK),
    ),
    "rollback": ("Go back to the release that was production before", (TO, BREAK)),
    "start": ("Start an instance that was stopped", (TO,)),
    "stop": ("Stop an instance until it is started again", (TO, BREAK)),
    "restart": ("Stop an instance's process and start it again", (TO,)),
}  # fmt: skip


def blueprint(work: Workspace) -> Blueprint:
    """Every route of the table, and the document about them."""
    api = Blueprint("api", __name__, url_prefix=PREFIX)
    routes = table(work)
    for route in routes:
        api.add_url_rule(route.path, route.name, partial(_answer, route), methods=[route.method])

    @api.get("/openapi.json")
    def openapi() -> Any:
        return jsonify(document(routes, PREFIX, "RhythmicML", "0.1.0"))

    return api


def _answer(route: Route, **path: Any) -> Any:
    request.max_content_length = MOST_BODY
    asked = route.asked(request.args, request.mimetype, request.get_data())
    answer = jsonify(route.does(**path, **asked))
    answer.status_code = route.status
    if route.status == 202:
        answer.headers["Location"] = f"{PREFIX}/jobs/{answer.get_json()['id']}"
    return answer


def table(work: Workspace) -> list[Route]:
    """All that can be asked."""
    return [
        *_of_models(work),
        *_of_versions(work),
        *_of_deployments(work),
        *_of_places(work),
        *_of_jobs(work),
    ]


def _of_models(work: Workspace) -> list[Route]:
    def list_models() -> Any:
        """The models, their last versions, and where they are deployed"""
        return catalogue.overview(work)

    def show_model(model: str) -> Any:
        """One model, as in the list"""
        for row in catalogue.overview(work):
            if row["name"] == model:
                return row
        raise NotFound(
            f'No model "{model}" is known.', remedy=f"They are listed at {PREFIX}/models"
        )

    def add_model(folder: str, name: str | None = None) -> Any:
        """Track a folder of the machine that the program runs on as a model

        A folder that is tracked already stays what it is: `new` is false then.
        """
        return models.add(work, Path(folder), name)

    def rename_model(model: str, name: str) -> Any:
        """Give a model another name; not while it is deployed"""
        return models.rename(work, model, name)

    def remove_model(model: str, force: bool = False) -> Any:
        """Forget a model and its versions; its folder and its history stay"""
        return models.remove(work, model, force)

    added = ("show_model", {"model": "$response.body#/model/name"})
    required = Field(NAME.name, NAME.about, required=True, least=1, most=1000)
    return [
        Route("GET", "/models", list_models, {"type": "array", "items": ROW}),
        Route("POST", "/models", add_model, Added, body=(FOLDER, NAME), leads=added),
        Route("GET", MODEL, show_model, ROW),
        Route("PATCH", MODEL, rename_model, Model, body=(required,)),
        Route("DELETE", MODEL, remove_model, Model, query=(FORCE,)),
    ]


def _of_versions(work: Workspace) -> list[Route]:
    def list_versions(model: str) -> Any:
        """The versions of a model, newest first"""
        return versions.versions(work, model)

    def commit(model: str, message: str = "", relock: bool = False) -> Any:
        """Keep the folder as a new version, if anything in it changed"""
        return versions.commit(work, model, message, relock=relock)

    def show_version(model: str, number: int) -> Any:
        """One version: configuration, metadata, schema, files, locked packages"""
        return versions.show(work, f"{model}@{number}")

    def diff(model: str, before: int | None = None, after: int | None = None) -> Any:
        """What is different in a version, or in the folder, against another version

        Without `before` it is the last version, without `after` the folder as it is.
        """
        return versions.diff(
            work, _reference(model, before), None if after is None else _reference(model, after)
        )

    numbers = tuple(Field(each, "a version's number", "integer") for each in ("before", "after"))
    number = "$response.body#/version/number"
    made = ("show_version", {"model": "$request.path.model", "number": number})
    relock = Field("relock", "resolve the requirements anew", "boolean")
    return [
        Route("GET", f"{MODEL}/versions", list_versions, list[Version]),
        Route("POST", f"{MODEL}/versions", commit, Committed, body=(MESSAGE, relock), leads=made),
        Route("GET", f"{MODEL}/versions/{NUMBER}", show_version, Shown),
        Route("GET", f"{MODEL}/diff", diff, Differences, query=numbers),
    ]


def _of_deployments(work: Workspace) -> list[Route]:
    def plan(model: str, version: int | None = None, **options: Any) -> Any:
        """What a deployment would do on the host; nothing is changed there

        Without a number it is the last version.
        """
        reference = _number_of(work, model, version)
        *_, result = fleet.deploy(work, reference, dry_run=True, **options)
        return result.data

    def order(verb: str) -> Callable[..., Any]:
        def ordered(model: str, version: int | None = None, **options: Any) -> Any:
            subject = _reference(model, version)
            with work.open_store() as store:
                known = store.models.get(model)
                if version is not None:
                    store.versions.get(known, version)
            number = orders.start(work, Order(verb, subject, options))
            return _job(work, number)

        ordered.__name__, ordered.__doc__ = (
            verb,
            f"{ORDERS[verb][0]}\n\nGives the job that does it.",
        )
        return ordered

    begun = ("show_job", {"number": "$response.body#/id"})
    planned = {"type": "object", "description": "plan: its steps in words, or locations of such"}
    return [
        Route(
            "POST",
            f"{MODEL}/plan",
            plan,
            planned,
            body=(VERSION, TO, PORT, STOP_FIRST, WITH_STAGES),
        ),
        *(
            Route("POST", f"{MODEL}/{verb}", order(verb), JOB, (), fields, 202, begun)
            for verb, (_, fields) in ORDERS.items()
        ),
    ]


def _of_places(work: Workspace) -> list[Route]:
    def list_instances(model: str | None = None, to: str | None = None) -> Any:
        """What runs where, and how it is, asked from the hosts now"""
        return instances.status(work, model, to=to)

    def list_locations() -> Any:
        """Where instances can run"""
        return locations.list_locations(work)

    def check_location(name: str) -> Any:
        """What a location is and has, and how far away it is"""
        return locations.check(work, name)

    of_model = Field("model", "only of this model", least=1, most=1000)
    rows = {
        "type": "array",
        "items": {"type": "object", "required": ["model", "location", "state"]},
    }
    return [
        Route("GET", "/instances", list_instances, rows, query=(of_model, TO)),
        Route("GET", "/locations", list_locations, list[Location]),
        Route("GET", "/locations/<name>/check", check_location, OBJECT),
    ]


def _of_jobs(work: Workspace) -> list[Route]:
    def list_jobs(limit: int = 50) -> Any:
        """Jobs, newest first"""
        with work.open_store() as store:
            return [_as_row(job) for job in store.jobs.all(limit)]

    def show_job(number: int, after: int = 0) -> Any:
        """One job, and what happened in it after an event, each with its number `n`"""
        with work.open_store() as store:
            found = store.jobs.get(number)
            said = store.jobs.events(number, after)
        return {**_as_row(found), "events": [{"n": n, **asdict(event)} for n, event in said]}

    def cancel_job(number: int) -> Any:
        """Have a job end as soon as it can; its hosts take back what it began"""
        jobs.cancel(work, number)
        return _job(work, number)

    limit = Field("limit", "how many at most", "integer", least=1, most=1000)
    after = Field("after", "the number of the last event that is known", "integer")
    return [
        Route("GET", "/jobs", list_jobs, {"type": "array", "items": JOB}, query=(limit,)),
        Route("GET", f"/jobs/{NUMBER}", show_job, JOB, query=(after,)),
        Route("POST", f"/jobs/{NUMBER}/cancel", cancel_job, JOB),
    ]


def _reference(model: str, version: int | None) -> str:
    """`churn` or `churn@3`; a name cannot bring a number of its own."""
    if "@" in model:
        raise NotFound(f'No model "{model}" is known.')
    return model if version is None else f"{model}@{version}"


def _number_of(work: Workspace, model: str, version: int | None) -> str:
    """The version by its number, since a plan must not make one."""
    _reference(model, None)
    if version is not None:
        return f"{model}@{version}"
    found = versions.versions(work, model)
    if not found:
        raise Problem(
            f"{model} has no version yet.", remedy=f"POST {PREFIX}/models/{model}/versions"
        )
    return f"{model}@{found[0].number}"


def _job(work: Workspace, number: int) -> dict[str, Any]:
    with work.open_store() as store:
        return _as_row(store.jobs.get(number))


def _as_row(job: Job) -> dict[str, Any]:
    order = orders.of(job)
    return {**asdict(job), "command": order.command if order else ""}
