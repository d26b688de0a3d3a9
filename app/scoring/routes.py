"""Which request goes where, and what every answer of the front looks like."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

import msgspec

from . import metrics, streams
from .batching import Job, Pool, Result
from .errors import Refusal, not_ready
from .http import JSON, TEXT, Limits, Request
from .inputs import Inputs, Reader
from .jobs import Jobs, wants_job
from .metrics import Metrics
from .outputs import Outputs
from .protocols import Asked, Dialect, mlflow, native, oip
from .release import Release
from .streams import Stream

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
        self.in_progress = 0
        self.proven = False  # whether the sample has been predicted
        self.table: dict[bytes, Route] = {}
        self.jobs = Jobs(release.instance_folder)
        self.job_timeout = float(release.scoring.get("job_timeout") or 3600.0)
        self.max_body = int(release.scoring.get("max_body") or Limits().max_body)
        self._add_probes()
        self._add_scoring()
        self._add_metadata()

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
        if found is None and path.startswith(b"/jobs/"):
            found = self._job
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
            streamed = partial(self.score, oip.dialect, kind=streams.EVENTS)
            self.add(f"{base}/infer_stream", "infer_stream", post=streamed)
            self.add(f"{base}/generate_stream", "infer_stream", post=streamed)
        self._job = Route(
            "jobs",
            {b"GET": self._show_job, b"HEAD": self._show_job, b"DELETE": self._drop_job},
        )

    def score(self, dialect: Dialect, request: Request, kind: bytes | None = None) -> None:
        """Read the rows, have them predicted, write the answer; nothing here waits.

        kind: the content type of the stream it must be, whatever the request accepts.
        """
        if not self.ready:
            raise not_ready()
        if request.headers.get(b"content-encoding", b"identity") != b"identity":
            raise Refusal(415, "The body must not be compressed.", reason="encoding")
        asked = dialect.read(request.body, self.reader)
        kind = kind or streams.wanted(request)
        if wants_job(request):
            request = self._accept_job(request)
        write = asked.write if dialect is oip.dialect else None
        stream = Stream(request, kind, dialect.error, self.max_body, write)
        self.predict(asked, request, stream)

    def predict(self, asked: Asked, request: Request, stream: Stream | None = None) -> None:
        stream = stream or Stream(request, None, native.error, self.max_body)
        if not asked.inputs.rows and asked.inputs.kind in ("matrix", "columns"):
            self._answer(request, 200, asked.write(nothing(asked.inputs)))
            return
        self.in_progress += 1
        finish = partial(self._finish, request, asked.write, stream)
        limit = self.job_timeout if request.context is not None else 0.0
        deadline = request.arrived + (limit or self.pool.timeout)
        job = Job(asked.inputs, finish, deadline, request)
        job.stream, job.limit = stream, limit
        request.watched = self.pool.solo or stream.kind is not None
        if request.context is not None:
            request.context.job = job
        self.pool.submit(job)

    def _finish(
        self,
        request: Request,
        write: Callable[[Outputs], bytes],
        stream: Stream,
        result: Result,
    ) -> None:
        self.in_progress -= 1
        if self._streamed(request, stream, result):
            return
        result = stream.whole(result)
        if isinstance(result, Refusal):
            self.refuse(request, result)
            return
        try:
            if result.kind == "bytes" and request.endpoint != "infer":
                self._answer(request, 200, result.values, OCTETS)
            else:
                self._answer(request, 200, write(result))
        except Refusal as refusal:
            self.refuse(request, refusal)
        except Exception as error:
            self._broken(request, error)

    def _streamed(self, request: Request, stream: Stream, result: Result) -> bool:
        """Whether this was the end of a stream, which now is complete."""
        try:
            if not stream.answered(result):
                return False
        except Refusal as refusal:
            self.refuse(request, refusal)
            return True
        except Exception as error:
            self._broken(request, error)
            return True
        status = result.status if isinstance(result, Refusal) else 200
        self.counts.count(request.endpoint, status, monotonic() - request.arrived)
        if status >= 500:
            log(request, status)
        return True

    # Jobs

    def _accept_job(self, request: Request) -> Request:
        """Answer that it will be done later; the request to do then."""
        entry = self.jobs.take(request)
        self._answer(request, 202, entry.said(), JSON, entry.headers)
        return entry.request

    def _show_job(self, request: Request) -> None:
        self.jobs.show(request, partial(self._tell_job, request))

    def _drop_job(self, request: Request) -> None:
        self.jobs.drop(request)
        self._answer(request, 204, b"")

    def _tell_job(self, request: Request, told: Refusal | tuple[int, bytes, bytes, bytes]) -> None:
        if isinstance(told, Refusal):
            self.refuse(request, told)
        else:
            self._answer(request, *told)

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
            "inputs": oip.described(self.reader),
            "outputs": [],
        }
        self._answer(request, 200, encode(said))

    def _model_ready(self, request: Request) -> None:
        said = {"name": self.release.model, "ready": self.ready}
        if self.ready:
            self._answer(request, 200, encode(said))
        else:
            self._answer(request, 503, encode({**said, "error": not_ready().sentence}), JSON, RETRY)


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
