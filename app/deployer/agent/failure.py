"""The agent's twin of the client's Problem: it travels in an answer and becomes one over there."""

from __future__ import annotations


class Failure(Exception):
    """Something went wrong that the person can read about and act on.

    kind: the name of the Problem class to become on the client's side.
    """

    def __init__(
        self,
        what: str,
        *,
        remedy: str = "",
        cause: str = "",
        detail: str = "",
        kind: str = "Problem",
    ) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.cause = cause
        self.remedy = remedy
        self.detail = detail

    def as_dict(self) -> dict[str, str]:
        return {
            "kind": self.kind,
            "what": self.what,
            "cause": self.cause or self._beneath(),
            "remedy": self.remedy,
            "detail": self.detail,
        }

    def _beneath(self) -> str:
        if self.__cause__ is None:
            return ""
        return str(self.__cause__) or type(self.__cause__).__name__
