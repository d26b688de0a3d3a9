"""What the pages do, as JSON for notebooks and scripts: one table of routes, and its OpenAPI.

Answers have the shapes of the command line's --json; a Problem is {"error": {…}}. Long work is a
job, by the same orders as those of the pages. Each noun has its part of the table in a file.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Blueprint, abort, jsonify, request

from app import VERSION
from app.views.api import (
    alerts,
    deployments,
    groups,
    jobs,
    locations,
    models,
    secrets,
    tokens,
    upkeep,
    versions,
)
from app.views.api.fields import PREFIX
from app.views.described import LARGEST, Route, document

if TYPE_CHECKING:
    from app.views.answers import Answers
    from app.workspace import Workspace

MOST_BODY = 1 << 20


def blueprint(work: Workspace, answers: Answers) -> Blueprint:
    """Every route of the table, and the document about them."""
    api = Blueprint("api", __name__, url_prefix=PREFIX)
    routes = table(work, answers)
    for route in routes:
        api.add_url_rule(route.path, route.name, partial(_answer, route), methods=[route.method])

    @api.get("/openapi.json")
    def openapi() -> Any:
        return jsonify(document(routes, PREFIX, "RhythmicML", VERSION))

    return api


def _answer(route: Route, **path: Any) -> Any:
    if any(isinstance(each, int) and each > LARGEST for each in path.values()):
        abort(404)
    request.max_content_length = MOST_BODY
    asked = route.asked(request.args, request.mimetype, request.get_data())
    answer = jsonify(route.does(**path, **asked))
    answer.status_code = route.status
    if route.status == 202:
        answer.headers["Location"] = f"{PREFIX}/jobs/{answer.get_json()['id']}"
    return answer


def table(work: Workspace, answers: Answers) -> list[Route]:
    """All that can be asked."""
    return [
        *models.routes(work),
        *versions.routes(work),
        *deployments.routes(work),
        *secrets.routes(work),
        *tokens.routes(work),
        *locations.routes(work, answers),
        *groups.routes(work),
        *jobs.routes(work),
        *alerts.routes(work),
        *upkeep.routes(work),
    ]
