"""The pages: a Flask application over the same services as the command line."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import (
    Flask,
    Response,
    make_response,
    redirect,
    render_template,
    request,
    stream_with_context,
)
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from app import config, log, words
from app.errors import Busy, NotFound, Problem, Stale
from app.services import doctor
from app.views import (
    actions,
    alerts,
    api,
    asking,
    catalogue,
    chart_pages,
    compiled,
    configuration,
    dashboard,
    desktop,
    files,
    jobs,
    logs,
    metadata,
    monitoring,
    moved,
    palette,
    pipelines,
    receiving,
    settings,
    shadow,
    status,
    timeline,
    tunnels,
    upkeep,
)
from app.views.answers import Answers
from app.views.described import Malformed, NotJson
from app.views.guard import CSRF_HEADER
from app.views.markdown import inline, rendered
from app.views.marks import marked
from app.views.rules import LateRule
from app.views.undo import Texts

if TYPE_CHECKING:
    from app.views.server import Server
    from app.workspace import Workspace

STATUS = {NotFound: 404, Busy: 409, Stale: 409, NotJson: 415, Malformed: 422}


def create_app(work: Workspace, server: Server) -> Flask:
    """The application; `server` has its keys, its news and its address."""
    app = Flask("rhythmicml", static_folder=str(config.asset("static")))
    app.jinja_loader = compiled.loader()
    app.url_rule_class = LateRule
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.bytecode_cache = compiled.Compiled(work.home)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        ago=words.ago,
        figure=words.figure,
        size=words.size,
        told=words.told,
        duration=words.duration,
        milliseconds=words.milliseconds,
        marked=marked,
        inline=inline,
        quoted=shlex.quote,
        markdown=rendered,
    )
    live = server.live
    answers = Answers()
    work = replace(work, ask=answers.ask)
    app.logger.handlers[:], app.logger.propagate = [log.handler(work.home)], False
    for part in (catalogue, pipelines, dashboard, jobs, actions, monitoring, chart_pages):
        app.register_blueprint(part.blueprint(work, live))
    for viewer in (asking, files, palette, shadow, timeline, upkeep):
        app.register_blueprint(viewer.blueprint(work))
    texts = Texts()
    for editor in (configuration, metadata):
        app.register_blueprint(editor.blueprint(work, texts))
    app.register_blueprint(moved.blueprint(work))
    app.register_blueprint(logs.blueprint(work, server.feed))
    app.register_blueprint(status.blueprint(work, live, server))
    app.register_blueprint(tunnels.blueprint(work, server.tunnels))
    app.register_blueprint(desktop.blueprint(server))
    app.register_blueprint(settings.blueprint(work, answers))
    app.register_blueprint(alerts.blueprint(work, server.feed))
    app.register_blueprint(receiving.blueprint())
    app.register_blueprint(api.blueprint(work, answers))
    _frame(app, work, server)
    _errors(app, work)
    return app


def _frame(app: Flask, work: Workspace, server: Server) -> None:
    """What every page needs, and how a window gets in and hears of news."""

    @app.context_processor
    def shared() -> dict[str, Any]:
        news = server.feed.last  # before anything is read, so that nothing is missed
        with work.open_store() as store:
            theme = store.settings.get("theme", "system")
            places = store.locations.all()
            running = len(store.jobs.unfinished())
            refusal = store.refusal
        return {
            "csrf": {CSRF_HEADER: server.keys.csrf},
            "theme": theme,
            "locations": places,
            "running": running,
            "news": news,
            "refusal": refusal,
            "native": server.window is not None,
            "fragment": "HX-Request" in request.headers,
        }

    @app.get("/bootstrap")
    def bootstrap() -> Any:
        if not server.keys.take_code(request.args.get("code", "")):
            return render_template("bootstrap.html"), 401
        answer = make_response(redirect(_path(request.args.get("to", "/")), 303))
        answer.set_cookie(server.cookie, server.keys.session, httponly=True, samesite="Strict")
        return answer

    @app.get("/feed")
    def feed() -> Response:
        stream = stream_with_context(
            server.feed.listen(
                request.environ["waitress.client_disconnected"],
                request.args.get("after", type=int),
            )
        )
        return Response(stream, mimetype="text/event-stream")

    @app.post("/api/v1/invitations")
    def invite() -> Any:
        asked = request.get_json(silent=True) or {}
        to_status = bool(asked.get("status"))
        window = server.window if asked.get("raise_window") else None
        raised = bool(window and window.raised(status=to_status))
        return {"url": server.invitation("/status" if to_status else "/"), "raised": raised}


def _path(wanted: str) -> str:
    """A path of ours, never another site."""
    plain = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if plain else "/"


def _errors(app: Flask, work: Workspace) -> None:
    @app.errorhandler(Problem)
    def problem(error: Problem) -> Any:
        return _shown(error, STATUS.get(type(error), 400))

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Any:
        remedy = "Start from the Catalogue." if error.code == 404 else ""
        what = (
            f'There is no page "{request.path}".' if error.code == 404 else str(error.description)
        )
        answer = make_response(_shown(Problem(what, remedy=remedy), error.code or 500))
        if isinstance(error, MethodNotAllowed):
            answer.headers["Allow"] = ", ".join(error.valid_methods or ())
        return answer

    @app.errorhandler(Exception)
    def mistake(error: Exception) -> Any:
        app.logger.exception("%s %s", request.method, request.path)
        what = "RhythmicML made a mistake. Nothing was changed that is not shown."
        mistake = Problem(what, cause=type(error).__name__, remedy="Report it with what is below.")
        whole = "HX-Request" not in request.headers and not request.path.startswith("/api/")
        return _shown(mistake, 500, doctor.words(doctor.examine(work)) if whole else "")


def _shown(problem: Problem, status: int, report: str = "") -> Any:
    """As JSON, as a toast for a part of a page, or as a page; report: all about the program."""
    if request.path.startswith("/api/"):
        return {"error": problem.as_dict()}, status
    if "HX-Request" in request.headers:
        answer = make_response(
            render_template("toast_problem.html", problem=problem, mistake=status == 500), status
        )
        # app.js tells it: htmx finds no place on the page for a part that was replaced since
        answer.headers["HX-Reswap"] = "none"
        return answer
    return render_template("problem.html", problem=problem, report=report, page=""), status
