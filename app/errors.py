"""The one kind of error a person gets to see, and its few special cases."""

from __future__ import annotations

from typing import Any


class Problem(Exception):
    """Something went wrong that the person can read about and act on.

    what: subject first, values quoted, no blame. remedy: one thing to do, naming a command or a
    screen. detail: evidence, such as the last log lines. cause: what was said below us; when left
    out, the exception this one was raised from says it.

    Subclasses exist where a caller acts differently, not per message.
    """

    def __init__(self, what: str, *, remedy: str = "", detail: str = "", cause: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.detail = detail
        self._cause = cause

    @property
    def cause(self) -> str:
        """What lay beneath, in its own words; empty when there is nothing to add."""
        if self._cause or self.__cause__ is None:
            return self._cause
        return str(self.__cause__) or type(self.__cause__).__name__

    def as_dict(self) -> dict[str, Any]:
        """The four parts, the empty ones left out, and the kind: for --json and for pages."""
        parts = {
            "kind": type(self).__name__,
            "what": self.what,
            "cause": self.cause,
            "remedy": self.remedy,
            "detail": self.detail,
        }
        return {name: text for name, text in parts.items() if text}


class Damaged(Problem):
    """The store's file cannot be read; a copy of it may be put back."""


class NotFound(Problem):
    """A name or number that the store does not hold."""


class Busy(Problem):
    """Someone else holds what we need: another deployment, another process on the store."""


class Unreachable(Problem):
    """The host did not answer, or stopped answering."""


class Left(Problem):
    """We have left the host ourselves, so its answer is not heard; nothing has failed there."""


class Stale(Problem):
    """What was known of the host is not so any more; asked anew, it may do.

    detail: the digest of a blob that was found damaged, if that is why.
    """


class Refused(Problem):
    """The host answered and did not let us in."""


class NotTrusted(Problem):
    """A host key that is unknown. `fingerprint` is what to compare and accept."""

    def __init__(self, what: str, *, fingerprint: str, remedy: str = "", detail: str = "") -> None:
        super().__init__(what, remedy=remedy, detail=detail)
        self.fingerprint = fingerprint

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "fingerprint": self.fingerprint}


class Unfit(Problem):
    """A host lacks room for a release, or something that it needs; nothing was sent.

    checks: all that was looked at, each {"name", "words", "fits"} (app/deployer/fit.py).
    """

    def __init__(
        self, what: str, *, checks: list[dict[str, Any]], remedy: str = "", cause: str = ""
    ) -> None:
        super().__init__(what, remedy=remedy, cause=cause)
        self.checks = checks

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "checks": self.checks}


class StagesMissing(Problem):
    """Stages of a pipeline cannot be asked, and deploying them first would mend it."""


class PipelineBroken(Problem):
    """A change that a pipeline could not go on with. `pipeline` is its name."""

    def __init__(self, what: str, *, pipeline: str, remedy: str = "", cause: str = "") -> None:
        super().__init__(what, remedy=remedy, cause=cause)
        self.pipeline = pipeline

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "pipeline": self.pipeline}


class GateFailed(Problem):
    """A new release did not prove itself; the old one still serves.

    report: what the gate found (app/deployer/agent/judging.py), if it came so far.
    """

    def __init__(
        self,
        what: str,
        *,
        remedy: str = "",
        detail: str = "",
        cause: str = "",
        report: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(what, remedy=remedy, detail=detail, cause=cause)
        self.report = report

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), **({"report": self.report} if self.report else {})}
