"""What is said to a caller whose request cannot be answered as asked."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes


class Refusal(Exception):
    """An answer that is not 200, in words a caller may read: no input, path or traceback in it.

    common: whether all requests of a batch meet it, so that none need be tried without the others.
    """

    def __init__(
        self,
        status: int,
        what: str,
        *,
        cause: str = "",
        remedy: str = "",
        reason: str = "",
        extra: bytes = b"",
        common: bool = False,
    ) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.cause = cause
        self.remedy = remedy
        self.reason = reason or _REASONS.get(status, "error")
        self.extra = extra  # headers for the answer
        self.common = common

    @property
    def sentence(self) -> str:
        """All of it in one line, for protocols with a single text."""
        return " ".join(part for part in (self.what, self.cause, self.remedy) if part)


_REASONS = {400: "input", 404: "route", 405: "method", 413: "size", 500: "model", 504: "timeout"}


def bad_input(what: str, remedy: str = "") -> Refusal:
    """The caller's fault: the body is not what this model takes."""
    return Refusal(400, what, remedy=remedy)


def too_many_rows(most: int) -> Refusal:
    return Refusal(
        413,
        f"The request has more rows than max_request_rows, {most}.",
        remedy="Send fewer rows at a time, or raise `max_request_rows`.",
        reason="rows",
    )


_MODEL = re.compile(rb"/v[12]/models/([^/:]+)(?:/versions/([^/:]+))?")


def nothing_here(path: bytes, model: str, version: int) -> Refusal:
    """No such address; of another model or version it is said which is here. path: quoted."""
    cause, found = "", _MODEL.match(path)
    if found and unquote_to_bytes(found[1]) != model.encode():
        cause = f'The model here is "{model}".'
    elif found and found[2] and found[2] != b"%d" % version:
        cause = f'The version of "{model}" here is {version}.'
    what = "There is nothing at this address."
    return Refusal(404, what, cause=cause, remedy="All that there is: GET /docs.")


def not_ready(why: str = "") -> Refusal:
    return Refusal(
        503,
        "The model is not ready.",
        cause=why,
        remedy="Try again shortly.",
        reason="not_ready",
    )


def overloaded() -> Refusal:
    return Refusal(
        503, "Too many requests are waiting.", remedy="Try again shortly.", reason="overloaded"
    )


def timed_out(seconds: float, key: str = "timeout") -> Refusal:
    return Refusal(
        504,
        f"No prediction within {seconds:g} s.",
        remedy=f"Send fewer rows, or raise `{key}`.",
    )


def too_slow(seconds: float, key: str = "timeout") -> Refusal:
    return Refusal(504, f"No next item within {seconds:g} s.", remedy=f"Raise `{key}`.")


def cancelled() -> Refusal:
    """For the counts: nobody reads it."""
    return Refusal(499, "The request was cancelled.", reason="cancelled")


def stream_too_large(most: int) -> Refusal:
    return Refusal(
        500,
        f"The items are together larger than max_body, {most} bytes.",
        remedy="Ask for a stream (Accept: text/event-stream or application/x-ndjson).",
    )


def hung_fork(seconds: float) -> Refusal:
    return Refusal(
        504,
        f"The first prediction of a forked worker did not end within {seconds:g} s.",
        cause="Threads that a library started while the model was loading can hang a fork.",
        remedy="Set preload = false under [deploy].",
    )


def model_failed(kind: str) -> Refusal:
    return Refusal(
        500,
        "The model failed on this request.",
        cause=f"It raised {kind}." if kind else "",
        remedy="Its log has the traceback.",
    )


def worker_died(fate: str) -> Refusal:
    """fate: how it ended, such as "by SIGSEGV"."""
    name = fate.partition(";")[0]
    return Refusal(
        500,
        "The model's process died on this request.",
        cause=f"It ended {fate}.",
        remedy=_DEATHS.get(name, "Its log may say why."),
    )


_DEATHS = {
    "by SIGKILL": "Give it more memory, or send fewer rows.",
    "by SIGSEGV": "Compiled code of a library used memory wrongly; its log says where.",
    "by SIGBUS": "A file that was mapped into memory may have been cut short; its log says where.",
    "by SIGABRT": "Compiled code of a library gave up; its log may say why.",
    "by SIGILL": "Compiled code of a library is made for another processor; its log says where.",
    "by SIGFPE": "Compiled code of a library divided by zero; its log says where.",
}
