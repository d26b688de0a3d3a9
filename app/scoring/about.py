"""What the front tells about itself and its model: probes, metrics, metadata, documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from . import metrics
from . import schema as schemas
from .errors import not_ready
from .http import JSON, TEXT, Request
from .openapi import HTML
from .protocols import oip

if TYPE_CHECKING:
    from .routes import Routes

encode = msgspec.json.encode
RETRY = b"Retry-After: 1\r\n"


class About:
    """The routes that answer without a worker."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._add_probes()
        self._add_metadata()
        routes.add("/openapi.json", "metadata", get=self._openapi)
        routes.add("/docs", "page", get=self._docs)

    # Probes

    def _add_probes(self) -> None:
        self._routes.add("/livez", "probe", get=self._live)
        self._routes.add("/health", "probe", get=self._ping)
        self._routes.add("/ping", "probe", get=self._ping)
        self._routes.add("/readyz", "probe", get=self._ready)
        self._routes.add("/v2/health/live", "probe", get=self._live)
        self._routes.add("/v2/health/ready", "probe", get=self._ready)
        self._routes.add("/metrics", "metrics", get=self._metrics)

    def _live(self, request: Request) -> None:
        self._routes.answer(request, 200, encode({"live": True, "ready": self._routes.ready}))

    def _ready(self, request: Request) -> None:
        if self._routes.ready:
            self._live(request)
        else:
            self.say_not_ready(request, {})

    def say_not_ready(self, request: Request, more: dict[str, str]) -> None:
        """The sentence that says why; `more` is what only the private socket tells."""
        said = {"live": True, "ready": False, "error": not_ready(self._routes.pool.reason).sentence}
        self._routes.answer(request, 503, encode({**said, **more}), JSON, RETRY)

    def _ping(self, request: Request) -> None:
        """As MLflow's and SageMaker's: the status alone speaks."""
        if self._routes.ready:
            self._routes.answer(request, 200, b"\n", TEXT)
        else:
            self._routes.answer(request, 503, b"\n", TEXT, RETRY)

    def _metrics(self, request: Request) -> None:
        gauges = {
            "requests_in_progress": self._routes.in_progress,
            "queue_depth": len(self._routes.pool.line),
            "ready": int(self._routes.ready),
            **self._routes.gauges(),
        }
        body = self._routes.counts.render(self._routes.counters(), gauges)
        self._routes.answer(request, 200, body, metrics.CONTENT_TYPE)

    # Metadata of the protocols

    def _add_metadata(self) -> None:
        self._routes.add("/", "probe", get=self._alive)
        self._routes.add("/version", "metadata", get=self._version)
        self._routes.add("/schema", "metadata", get=self._schema)
        self._routes.add("/v1/models", "metadata", get=self._models)
        self._routes.add(self._routes.release.v1_path, "probe", get=self._model_ready)
        self._routes.add("/v2/models", "metadata", get=self._models)
        self._routes.add("/v2/repository/index", "metadata", post=self._index)
        self._routes.add("/v2", "metadata", get=self._server)
        for base in self._routes.release.v2_paths:
            self._routes.add(base, "metadata", get=self._model)
            self._routes.add(f"{base}/ready", "probe", get=self._model_ready)

    def _alive(self, request: Request) -> None:
        self._routes.answer(request, 200, encode({"status": "alive"}))

    def _version(self, request: Request) -> None:
        """MLflow's own version, which a client of its scoring server asks for: we are not it."""
        self._routes.answer(request, 200, b"rhythmicml", TEXT)

    def _schema(self, request: Request) -> None:
        """What a pipeline has to know of a stage, and of the stages that one has in turn."""
        release, reader = self._routes.release, self._routes.reader
        said: dict[str, Any] = {
            "model": release.model,
            "version": release.version,
            "release": release.id,
            "kind": "text" if reader.whole else reader.kind,
            "schema": reader.schema.as_json(),
            "pipeline": None,
        }
        if stages := release.scoring.get("stages"):
            said["pipeline"] = {"stages": briefly(stages), "depth": self._routes.depth}
        self._routes.answer(request, 200, encode(said))

    def _models(self, request: Request) -> None:
        self._routes.answer(request, 200, encode({"models": [self._routes.release.model]}))

    def _index(self, request: Request) -> None:
        """What the repository of Triton and MLServer holds: one model, loaded or loading."""
        model, version = self._routes.release.model, str(self._routes.release.version)
        state, reason = ("READY", "") if self._routes.ready else ("UNAVAILABLE", not_ready().what)
        said = {"name": model, "version": version, "state": state, "reason": reason}
        self._routes.answer(request, 200, encode([said]))

    def _server(self, request: Request) -> None:
        said = {
            "name": "rhythmicml",
            "version": "2",
            "extensions": oip.EXTENSIONS,
            "models": [self._routes.release.model],
        }
        self._routes.answer(request, 200, encode(said))

    def _model(self, request: Request) -> None:
        said = {
            "name": self._routes.release.model,
            "versions": [str(self._routes.release.version)],
            "platform": "python_rhythmicml",
            "inputs": schemas.tensors(self._routes.reader.schema.inputs),
            "outputs": schemas.tensors(self._routes.reader.schema.outputs),
        }
        self._routes.answer(request, 200, encode(said))

    # What describes it

    def _openapi(self, request: Request) -> None:
        self._routes.answer(request, 200, self._routes.documents.openapi())

    def _docs(self, request: Request) -> None:
        page, policy = self._routes.documents.page()
        self._routes.answer(request, 200, page, HTML, policy)

    def _model_ready(self, request: Request) -> None:
        said = {"name": self._routes.release.model, "ready": self._routes.ready}
        if self._routes.ready:
            self._routes.answer(request, 200, encode(said))
        else:
            self._routes.answer(
                request, 503, encode({**said, "error": not_ready().sentence}), JSON, RETRY
            )


def briefly(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Which instances a pipeline's stages are, without how they are asked."""
    return [{key: each.get(key) for key in ("name", "instance", "version")} for each in stages]
