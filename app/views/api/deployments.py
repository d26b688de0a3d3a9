"""Deployments as JSON: planned, ordered as jobs, looked at, asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.services import fleet, instances, logs, shadow, versions
from app.services.orders import Order
from app.views.api.fields import (
    BEGUN,
    CHOSEN,
    JOB,
    MODEL,
    ON,
    PREFIX,
    TO,
    VERSION,
    begin,
    reference,
)
from app.views.described import Field, Route

if TYPE_CHECKING:
    from app.workspace import Workspace

MESSAGE = Field("message", "what changed, where the folder is committed")
STOP_FIRST = Field("stop_first", "end the old release before the new one starts", "boolean")
BREAK = Field("force", "even if a pipeline that asks it breaks", "boolean")
WITH_STAGES = Field("with_stages", "deploy a pipeline's missing stages first", "boolean")
PERCENT = Field("percent", "share of the requests, 10 if not said", "integer", least=1, most=100)
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
    "switch": ("Make a version production that is on the host already", (CHOSEN, TO, BREAK)),
    "rollback": ("Go back to the release that was production before", (TO, BREAK)),
    "start": ("Start an instance that was stopped", (TO,)),
    "stop": ("Stop an instance until it is started again", (TO, BREAK)),
    "restart": ("Stop an instance's process and start it again", (TO,)),
    "pin": ("Have a version stay on its host, however many come after it", (CHOSEN, ON)),
    "unpin": ("Let a version go from its host when its time has come", (CHOSEN, ON)),
    "shadow": (
        "Run a version beside production on copies of its requests, and compare the answers",
        (CHOSEN, ON, PERCENT),
    ),
    "unshadow": ("Send no more copies, and stop the release that got them", (ON,)),
}  # fmt: skip
RUNNING = {
    "type": "array",
    "items": {"type": "object", "required": ["model", "location", "state"]},
}
OF_MODEL = Field("model", "only of this model", least=1, most=1000)
REQUEST = Field("request", "what the instance is to be sent", "object", required=True)
LINES = Field("lines", "how many at most", "integer", least=1, most=10_000)
SHADOWED = {"type": "object", "required": ["version", "compared", "rows", "differ", "first"]}
ANSWER = {"type": "object", "required": ["answer", "release", "version"]}


def routes(work: Workspace) -> list[Route]:
    def plan(model: str, version: int | None = None, **options: Any) -> Any:
        """What a deployment would do on the host; nothing is changed there

        Without a number it is the last version.
        """
        reference = _number_of(work, model, version)
        *_, result = fleet.deploy(work, reference, dry_run=True, **options)
        return result.data

    def order(verb: str) -> Callable[..., Any]:
        def ordered(model: str, version: int | None = None, **options: Any) -> Any:
            subject = reference(model, version)
            with work.open_store() as store:
                known = store.models.get(model)
                if version is not None:
                    store.versions.get(known, version)
            return begin(work, Order(verb, subject, options))

        ordered.__name__, ordered.__doc__ = (
            verb,
            f"{ORDERS[verb][0]}\n\nGives the job that does it.",
        )
        return ordered

    def list_instances(model: str | None = None, to: str | None = None) -> Any:
        """What runs where, and how it is, asked from the hosts now"""
        return instances.status(work, model, to=to)

    def shadowed(model: str, to: str | None = None) -> Any:
        """What a version found that gets copies of what production is asked"""
        return shadow.report(work, model, to=to)

    def ask(model: str, request: dict[str, Any], to: str | None = None) -> Any:
        """Send an instance a request, such as its sample, and give what it answers

        Whoever may log in to the host needs no token of the instance.
        """
        said = instances.score(work, model, json.dumps(request).encode(), to=to)
        return {key: said[key] for key in ("answer", "release", "version")}

    def show_log(model: str, lines: int = 100, to: str | None = None) -> Any:
        """The last lines that an instance said, or those kept here when its host gives none"""
        return logs.last(work, model, lines=lines, to=to).lines

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
            Route("POST", f"{MODEL}/{verb}", order(verb), JOB, (), fields, 202, BEGUN)
            for verb, (_, fields) in ORDERS.items()
        ),
        Route("GET", "/instances", list_instances, RUNNING, query=(OF_MODEL, TO)),
        Route("GET", f"{MODEL}/logs", show_log, list[str], query=(LINES, ON)),
        Route("GET", f"{MODEL}/shadow", shadowed, SHADOWED, query=(ON,)),
        Route("POST", f"{MODEL}/ask", ask, ANSWER, body=(REQUEST, ON)),
    ]


def _number_of(work: Workspace, model: str, version: int | None) -> str:
    """The version by its number, since a plan must not make one."""
    if version is not None:
        return reference(model, version)
    found = versions.versions(work, reference(model, None))
    if not found:
        raise Problem(
            f"{model} has no version yet.", remedy=f"POST {PREFIX}/models/{model}/versions"
        )
    return reference(model, found[0].number)
