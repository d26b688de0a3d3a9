"""Which request goes where, and what every answer of the front looks like."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

import msgspec

from . import compression, streams
from .about import About
from .access import AccessLog, trace
from .batching import Pool
from .cors import Cors
from .errors import Refusal, not_ready, nothing_here, overloaded
from .http import JSON, TEXT, Limits, Request
from .inputs import Inputs, Reader
from .jobs import Jobs, wants_job
from .line import Job, Result
from .metrics import Metrics
from .openapi import Documents
from .outputs import Outputs, empty
from .protocols import Answer, Asked, Dialect, kserve, mlflow, native, oip, take
from .readers import Readers
from .release import Release
from .schema import UNNAMED
from .streams import Stream

encode = msgspec.json.encode
Handler = Callable[[Request], None]


class Route(NamedTuple):
    """A path's handlers by method. endpoint: its name in the metrics."""

    endpoint: str
    handlers: dict[bytes, Handler]


class Routes:
    """All that is answered on the public socket. `admin` adds what is on the private one."""

    def __init__(
        self,
        release: Release,
        pool: Pool,
        reader: Reader,
        counts: Metrics,
        access: AccessLog | None = None,
        cors: Cors | None = None,
    ) -> None:
        self.release = release
        self.pool = pool
        self.reader = reader
        self.counts = counts
        self.access = access or AccessLog("none", {})
        self.cors = cors or Cors(())
        self.gauges: Callable[[], dict[str, int]] = dict  # what the metrics know from outside
        self.counters: Callable[[], dict[str, int]] = dict
        self.max_request_rows = int(release.scoring.get("max_request_rows") or 10_000)
        self.offer: Callable[[Request, Inputs, Result], None] | None = None  # to a shadow
        self.depth = 1  # of a pipeline: how many it goes through, itself included
        self.check: Callable[[Request], None] = _anything  # of a pipeline: raises a Refusal
        self.in_progress = 0
        self.max_body = int(release.scoring.get("max_body") or Limits().max_body)
        self.readers = Readers(self.max_body, self.max_request_rows)
        self.outputs: list[tuple[str, str, tuple[int, ...]]] = []  # as the sample's were
        self.proven = False  # whether the sample has been predicted
        self.table: dict[bytes, Route] = {}
        self.jobs = Jobs(release.instance_folder)
        self.job_timeout = float(release.scoring.get("job_timeout") or 3600.0)
        self.documents = Documents(release, reader)
        self.about = About(self)
        self._add_scoring()

    @property
    def ready(self) -> bool:
        return self.proven and self.pool.ready

    @property
    def taking(self) -> bool:
        """Whether a request for predictions is taken: at once, or when a worker is back soon."""
        return self.proven and (self.pool.ready or self.pool.mending)

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
            extra += b"Retry-After: %d\r\n" % self.pool.retry_after
        extra += refusal.extra
        if request.endpoint == "other":
            request.endpoint = self.endpoint(request.path)
        self.answer(request, status, dialect_of(request.path).error(refusal), JSON, extra)

    def answer(
        self, request: Request, status: int, body: bytes, kind: bytes = JSON, extra: bytes = b""
    ) -> None:
        self._note(request, status, len(body))
        request.answer(status, body, kind, extra)

    def _note(self, request: Request, status: int, sent: int) -> None:
        """Count it, and write it down."""
        seconds = monotonic() - request.arrived
        self.counts.count(request.endpoint, status, seconds)
        self.access.note(request, status, sent, seconds)
        request.job = None  # which holds the request in turn

    def mark(self, request: Request) -> None:
        """Prepare the headers its answer has, whatever that will be."""
        headers = request.headers
        request.trace = trace(headers.get(b"traceparent", b""))
        if request.trace is not None:
            request.extra += b"traceparent: %b\r\n" % request.trace.header
        if b"origin" in headers:
            request.extra += self.cors.headers(headers[b"origin"])

    def endpoint(self, path: bytes) -> str:
        """The name of what lives at this path."""
        try:
            return self._find(path).endpoint
        except Refusal:
            return "other"

    def _find(self, path: bytes) -> Route:
        found = self.table.get(path)
        if found is None and path.startswith(b"/jobs/"):
            found = self._job
        if found is None:
            plain = quote(unquote_to_bytes(path), safe="/:").encode()
            found = self.table.get(plain) or self.table.get(plain.rstrip(b"/"))
        if found is None:
            raise nothing_here(plain, self.release.model, self.release.version)
        return found

    def _wrong_method(self, request: Request, route: Route) -> None:
        if self.cors.preflight(request.method, request.headers):
            self.answer(request, 204, b"", TEXT, self.cors.permission())
            return
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
        for base in self.release.v2_paths:
            self.add(f"{base}/infer", "infer", post=partial(self.score, oip.dialect))
            streamed = partial(self.score, oip.dialect, kind=streams.EVENTS)
            self.add(f"{base}/infer_stream", "infer_stream", post=streamed)
            self.add(f"{base}/generate_stream", "infer_stream", post=streamed)
        model = self.release.v1_path
        self.add(f"{model}:predict", "predict", post=partial(self.score, kserve.dialect))
        self.add(f"{model}:explain", "predict", post=self._explain)
        self._job = Route(
            "jobs",
            {b"GET": self._show_job, b"HEAD": self._show_job, b"DELETE": self._drop_job},
        )

    def score(self, dialect: Dialect, request: Request, kind: bytes | None = None) -> None:
        """Read the rows, have them predicted, write the answer; nothing here waits.

        kind: the content type of the stream it must be, whatever the request accepts.
        """
        if not self.taking:
            raise not_ready(self.pool.reason)
        self.check(request)
        if self.pool.full:
            raise overloaded()
        kind = kind or streams.wanted(request)
        if self.readers.wanted(request, self.reader):
            done = partial(self._read, dialect, kind, request)
            self.readers.read(dialect, request, self.reader, done)
            self.in_progress += 1
        else:
            self._ask(dialect, kind, self._asked(dialect, request), request)

    def score_traced(self, request: Request, write: Callable[[Outputs], Answer]) -> None:
        """As POST /score, by itself and answered by `write`."""
        if not self.taking:
            raise not_ready(self.pool.reason)
        asked = self._asked(native.dialect, request)
        alone = asked.inputs._replace(signature=None)
        self._ask(native.dialect, None, Asked(alone, write, asked.extra), request)

    def _asked(self, dialect: Dialect, request: Request) -> Asked:
        compression.open_body(request, self.max_body)
        read = partial(dialect.read, request, self.reader)
        return take(read, self.reader, self.max_request_rows)

    def _ask(self, dialect: Dialect, kind: bytes | None, asked: Asked, request: Request) -> None:
        if wants_job(request):
            request = self._accept_job(request)
        write = asked.write if kind and oip.is_ours(asked) else None
        stream = Stream(request, kind, dialect.error, self.max_body, write)
        stream.extra = asked.extra
        self.predict(asked, request, stream)

    def _explain(self, request: Request) -> None:
        raise Refusal(404, "This model explains nothing.", remedy="Ask it to :predict.")

    def _read(
        self,
        dialect: Dialect,
        kind: bytes | None,
        request: Request,
        asked: Asked | Refusal | None,
    ) -> None:
        """A large body has been read, or need not be read elsewhere."""
        self.in_progress -= 1
        try:
            if asked is None:
                asked = self._asked(dialect, request)
            if isinstance(asked, Refusal):
                raise asked
            request.body = b""
            self._ask(dialect, kind, asked, request)
        except Refusal as refusal:
            self.refuse(request, refusal)
        except Exception as error:
            self._broken(request, error)

    def predict_sample(
        self, asked: Asked, request: Request, keep: Callable[[Outputs], None]
    ) -> None:
        """As any request; what comes back is kept as well, to show what outputs look like."""
        stream = Stream(request, None, native.error, self.max_body)

        def finish(result: Result) -> None:
            if isinstance(result, Outputs):
                self.outputs = result.described(UNNAMED)
                keep(result)
            self._finish(request, asked, stream, result)

        self._submit(asked, request, stream, finish)

    def predict(self, asked: Asked, request: Request, stream: Stream) -> None:
        if not asked.inputs.rows and asked.inputs.kind in ("matrix", "columns"):
            if not self._streamed(request, asked, stream, streams.ENDED):
                self._write(request, asked, stream, self._nothing())
            return
        self._submit(asked, request, stream, partial(self._finish, request, asked, stream))

    def _submit(
        self, asked: Asked, request: Request, stream: Stream, finish: Callable[[Result], None]
    ) -> None:
        self.in_progress += 1
        limit = self.job_timeout if request.context is not None else 0.0
        job = Job(asked.inputs, finish, request.arrived + (limit or self.pool.timeout), request)
        job.stream, job.limit = stream, limit
        request.job = job
        request.watched = self.pool.solo or stream.kind is not None
        if request.context is not None:
            request.context.job = job
        self.pool.submit(job)

    def _finish(self, request: Request, asked: Asked, stream: Stream, result: Result) -> None:
        self.in_progress -= 1
        if asked.then is None:
            self.counts.asked(request, asked.inputs, result)
            if self.offer is not None:
                self.offer(request, asked.inputs, result)
            if self._streamed(request, asked, stream, result):
                return
            result = stream.whole(result)
        if isinstance(result, Refusal):
            self.refuse(request, result, asked.extra)
            return
        self._write(request, asked, stream, result)

    def _streamed(self, request: Request, asked: Asked, stream: Stream, result: Result) -> bool:
        """Whether this was the end of a stream, which now is complete."""
        try:
            if not stream.answered(result):
                return False
        except Refusal as refusal:
            self.refuse(request, refusal, asked.extra)
            return True
        except Exception as error:
            self._broken(request, error)
            return True
        self._note(request, result.status if isinstance(result, Refusal) else 200, stream.sent)
        return True

    def _write(self, request: Request, asked: Asked, stream: Stream, result: Outputs) -> None:
        """Answer with a prediction, here or, when that would take long, elsewhere."""
        try:
            if asked.then is not None:
                then = take(partial(asked.then, result), self.reader, self.max_request_rows)
                self.predict(then, request, stream)
            elif self.readers.writes(result):
                accept = request.headers.get(b"accept-encoding", b"")
                done = partial(self._written, request, asked.extra + result.extra)
                self.readers.write(asked.write, result, accept, done)
            else:
                self._give(request, asked.write(result), asked.extra + result.extra)
        except Refusal as refusal:
            self.refuse(request, refusal, asked.extra)
        except Exception as error:
            self._broken(request, error)

    def _give(self, request: Request, answer: Answer, extra: bytes) -> None:
        if len(answer.body) > compression.WORTH_IT:
            answer = compression.shrunk(answer, request.headers.get(b"accept-encoding", b""))
        self.answer(request, 200, answer.body, answer.kind, extra + answer.extra)

    def _written(self, request: Request, extra: bytes, answer: Answer | Refusal) -> None:
        """A large answer has been written."""
        if isinstance(answer, Refusal):
            self.refuse(request, answer, extra)
        else:
            self.answer(request, 200, answer.body, answer.kind, extra + answer.extra)

    def _nothing(self) -> Outputs:
        """The answer to no rows, for which no model needs to be asked."""
        return empty(self.outputs) if self.outputs else Outputs("json", [])

    # Jobs

    def _accept_job(self, request: Request) -> Request:
        """Answer that it will be done later; the request to do then."""
        if self.pool.full or self.pool.flights.full:
            raise overloaded()
        entry = self.jobs.take(request)
        self.answer(request, 202, entry.said(), JSON, entry.headers)
        return entry.request

    def _show_job(self, request: Request) -> None:
        self.jobs.show(request, partial(self._tell_job, request))

    def _drop_job(self, request: Request) -> None:
        self.jobs.drop(request)
        self.answer(request, 204, b"")

    def _tell_job(self, request: Request, told: Refusal | tuple[int, bytes, bytes, bytes]) -> None:
        if isinstance(told, Refusal):
            self.refuse(request, told)
        else:
            self.answer(request, *told)


def _anything(request: Request) -> None:
    pass


def dialect_of(path: bytes) -> Dialect:
    """The protocol whose error shape a caller at this path understands."""
    if path.startswith(b"/v2"):
        return oip.dialect
    if path.startswith(b"/v1"):
        return kserve.dialect
    return mlflow.dialect if path.startswith(b"/invocations") else native.dialect
