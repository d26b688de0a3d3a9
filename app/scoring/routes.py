"""Which request goes where, and what every answer of the front looks like."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

import msgspec

from . import metrics
from . import schema as schemas
from .batching import Job, Pool, Result
from .errors import Refusal, not_ready, too_many_rows
from .http import JSON, TEXT, Request
from .inputs import Inputs, Reader
from .metrics import Metrics
from .openapi import HTML, Documents
from .outputs import Outputs
from .protocols import Asked, Dialect, mlflow, native, oip
from .release import Release

encode = msgspec.json.encode
Handler = Callable[[Request], None]
OCTETS = b"application/octet-stream"
RETRY = b"Retry-After: 1\r\n"


class Route(NamedTuple):
    """A path's handlers by method. endpoint: its name in the metrics."""

    endpoint: str
    handlers: dict[bytes, Handler]


class Routes:
    """All that is answered on the public socket. `admin` adds what is on the private one."""

    def __init__(self, release: Release, pool: Pool, reader: Reader, counts: Metrics) -> None:
        self.release = release
        self.pool = pool
        self.reader = reader
        self.counts = counts
        self.max_request_rows = int(release.scoring.get("max_request_rows") or 10_000)
        self.in_progress = 0
        self.proven = False  # whether the sample has been predicted
        self.table: dict[bytes, Route] = {}
        self._add_probes()
        self._add_scoring()
        self._add_metadata()
        self.documents = Documents(release, reader, self.table)
        self.add("/openapi.json", "metadata", get=self._openapi)
        self.add("/docs", "metadata", get=self._docs)

    @property
    def ready(self) -> bool:
        return self.proven and self.pool.ready

    def add(self, path: str, endpoint: str, **handlers: Handler) -> None:
        """Handlers by method name in small letters; HEAD is answered wherever GET is."""
        methods = {name.upper().encode(): handler for name, handler in handlers.items()}
        if b"GET" in methods:
            methods[b"HEAD"] = methods[b"GET"]
        self.table[path.encode()] = Route(endpoint, methods)

    def handle(self, request: Request) -> None:
        """Answer one request, now or when its prediction is there. Never raises."""
        try:
            route = self._find(request.path)
            request.endpoint = route.endpoint
            handler = route.handlers.get(request.method)
            if handler is None:
                self._wrong_method(request, route)
            else:
                handler(request)
        except Refusal as refusal:
            self.refuse(request, refusal)
        except Exception as error:
            self._broken(request, error)

    def refuse(self, request: Request, refusal: Refusal, extra: bytes = b"") -> None:
        """Answer with an error, in the shape of the protocol that lives at the path."""
        status = refusal.status
        if status < 500 or status == 503:
            self.counts.refused[refusal.reason] += 1
        if status == 503:
            extra += RETRY
        self._answer(request, status, dialect_of(request.path).error(refusal), JSON, extra)

    def _answer(
        self, request: Request, status: int, body: bytes, kind: bytes = JSON, extra: bytes = b""
    ) -> None:
        self.counts.count(request.endpoint, status, monotonic() - request.arrived)
        if status >= 500 and status != 503:
            log(request, status)
        request.answer(status, body, kind, extra)

    def _find(self, path: bytes) -> Route:
        found = self.table.get(path)
        if found is None:
            plain = quote(unquote_to_bytes(path), safe="/:").encode()
            found = self.table.get(plain) or self.table.get(plain.rstrip(b"/"))
        if found is None:
            raise Refusal(404, "There is nothing at this address.", remedy="See GET /v2.")
        return found

    def _wrong_method(self, request: Request, route: Route) -> None:
        allowed = b", ".join(sorted(route.handlers))
        refusal = Refusal(405, f"This address takes {allowed.decode()}.")
        self.refuse(request, refusal, b"Allow: %b\r\n" % allowed)

    def _broken(self, request: Request, error: Exception) -> None:
        """A mistake of ours: the log gets the traceback, the caller a plain sentence."""
        traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
        self.refuse(request, Refusal(500, "The front failed on this request.", reason="front"))

    # Scoring

    def _add_scoring(self) -> None:
        self.add("/score", "score", post=partial(self.score, native.dialect))
        self.add("/invocations", "invocations", post=partial(self.score, mlflow.dialect))
        for base in self._model_paths():
            self.add(f"{base}/infer", "infer", post=partial(self.score, oip.dialect))

    def score(self, dialect: Dialect, request: Request) -> None:
        """Read the rows, have them predicted, write the answer; nothing here waits."""
        if not self.ready:
            raise not_ready()
        if request.headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refusal(415, "The body must not be compressed.", reason="encoding")
        self.reader.ignored = []
        asked = dialect.read(request.body, self.reader)
        if asked.inputs.rows > self.max_request_rows:
            raise too_many_rows(self.max_request_rows)
        if self.reader.ignored:
            asked = asked._replace(extra=asked.extra + ignored_header(self.reader.ignored))
        self.predict(asked, request)

    def predict(self, asked: Asked, request: Request) -> None:
        if not asked.inputs.rows and asked.inputs.kind in ("matrix", "columns"):
            body = asked.write(nothing(asked.inputs))
            self._answer(request, 200, body, JSON, asked.extra)
            return
        self.in_progress += 1
        finish = partial(self._finish, request, asked)
        deadline = request.arrived + self.pool.timeout
        self.pool.submit(Job(asked.inputs, finish, deadline, request))

    def _finish(self, request: Request, asked: Asked, result: Result) -> None:
        self.in_progress -= 1
        if isinstance(result, Refusal):
            self.refuse(request, result)
            return
        try:
            if result.kind == "bytes" and request.endpoint != "infer":
                self._answer(request, 200, result.values, OCTETS, asked.extra)
            else:
                self._answer(request, 200, asked.write(result), JSON, asked.extra)
        except Refusal as refusal:
            self.refuse(request, refusal)
        except Exception as error:
            self._broken(request, error)

    # Probes

    def _add_probes(self) -> None:
        self.add("/livez", "probe", get=self._live)
        self.add("/health", "probe", get=self._ping)
        self.add("/ping", "probe", get=self._ping)
        self.add("/readyz", "probe", get=self._ready)
        self.add("/v2/health/live", "probe", get=self._live)
        self.add("/v2/health/ready", "probe", get=self._ready)
        self.add("/metrics", "metrics", get=self._metrics)

    def _live(self, request: Request) -> None:
        self._answer(request, 200, encode({"live": True, "ready": self.ready}))

    def _ready(self, request: Request) -> None:
        if self.ready:
            self._live(request)
        else:
            body = encode({"live": True, "ready": False, "error": not_ready().sentence})
            self._answer(request, 503, body, JSON, RETRY)

    def _ping(self, request: Request) -> None:
        """As MLflow's and SageMaker's: the status alone speaks."""
        if self.ready:
            self._answer(request, 200, b"\n", TEXT)
        else:
            self._answer(request, 503, b"\n", TEXT, RETRY)

    def _metrics(self, request: Request) -> None:
        pool = self.pool
        body = self.counts.render(self.ready, self.in_progress, len(pool.waiting), pool.restarts)
        self._answer(request, 200, body, metrics.CONTENT_TYPE)

    # Metadata of the Open Inference Protocol

    def _model_paths(self) -> list[str]:
        base = f"/v2/models/{quote(self.release.model, safe='')}"
        return [base, f"{base}/versions/{self.release.version}"]

    def _add_metadata(self) -> None:
        self.add("/v2", "metadata", get=self._server)
        for base in self._model_paths():
            self.add(base, "metadata", get=self._model)
            self.add(f"{base}/ready", "probe", get=self._model_ready)

    def _server(self, request: Request) -> None:
        said = {
            "name": "rhythmicml",
            "version": "2",
            "extensions": [],
            "models": [self.release.model],
        }
        self._answer(request, 200, encode(said))

    def _model(self, request: Request) -> None:
        said = {
            "name": self.release.model,
            "versions": [str(self.release.version)],
            "platform": "python_rhythmicml",
            "inputs": schemas.tensors(self.reader.schema.inputs),
            "outputs": schemas.tensors(self.reader.schema.outputs),
        }
        self._answer(request, 200, encode(said))

    # What describes it

    def _openapi(self, request: Request) -> None:
        self._answer(request, 200, self.documents.openapi())

    def _docs(self, request: Request) -> None:
        page, policy = self.documents.page()
        self._answer(request, 200, page, HTML, policy)

    def _model_ready(self, request: Request) -> None:
        said = {"name": self.release.model, "ready": self.ready}
        if self.ready:
            self._answer(request, 200, encode(said))
        else:
            self._answer(request, 503, encode({**said, "error": not_ready().sentence}), JSON, RETRY)


def ignored_header(names: Sequence[str]) -> bytes:
    """Which columns were not used: at most ten by name, then how many more."""
    shown = [quote(name, safe="") for name in names[:10]]
    if len(names) > 10:
        shown.append(f"{len(names) - 10} more")
    return f"X-Ignored-Columns: {', '.join(shown)}\r\n".encode()


def dialect_of(path: bytes) -> Dialect:
    """The protocol whose error shape a caller at this path understands."""
    if path.startswith(b"/v2"):
        return oip.dialect
    return mlflow.dialect if path.startswith(b"/invocations") else native.dialect


def nothing(inputs: Inputs) -> Outputs:
    """The answer to no rows, for which no model needs to be asked."""
    return Outputs("json", [])


def log(request: Request, status: int) -> None:
    """A line for a failed request: enough to find it, nothing of what was in it."""
    print(
        f"front: {status} on {request.endpoint}, request {request.id.decode()}",
        file=sys.stderr,
        flush=True,
    )


class Admin:
    """The routes of the private socket: the public ones, and orders to the front."""

    def __init__(
        self, routes: Routes, serve: Callable[[], None], state: Callable[[], dict[str, Any]]
    ) -> None:
        self._routes = routes
        self._orders = {
            (b"POST", b"/admin/serve"): self._serve,
            (b"GET", b"/admin/state"): self._state,
        }
        self.serve = serve
        self.state = state

    def handle(self, request: Request) -> None:
        order = self._orders.get((request.method, request.path))
        if order is None:
            self._routes.handle(request)
        else:
            order(request)

    def _serve(self, request: Request) -> None:
        # Proven once is enough: while its worker is replaced, 503 is better than no answer.
        if not self._routes.proven:
            self._routes.refuse(request, not_ready())
            return
        self.serve()
        self._state(request)

    def _state(self, request: Request) -> None:
        request.answer(200, encode(self.state()))
