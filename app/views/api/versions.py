"""Versions as JSON: made, looked at, compared, put back, forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.models import Version
from app.services import versions
from app.services.differences import Differences
from app.services.versions import Committed, Listed, Restored, Shown
from app.views.api.fields import MODEL, NUMBER, reference
from app.views.described import Field, Route

if TYPE_CHECKING:
    from app.workspace import Workspace

ONE = f"{MODEL}/versions/{NUMBER}"
MESSAGE = Field("message", "what changed", most=10_000)
LOSSES = (
    Field("commit_first", "make a version of what the folder holds before", "boolean"),
    Field("discard", "what the folder holds may be lost", "boolean"),
)


def routes(work: Workspace) -> list[Route]:
    def list_versions(model: str) -> Any:
        """The versions of a model, newest first, and where each is pinned"""
        return versions.listed(work, model)

    def commit(model: str, message: str = "", relock: bool = False) -> Any:
        """Keep the folder as a new version, if anything in it changed"""
        return versions.commit(work, model, message, relock=relock)

    def show_version(model: str, number: int) -> Any:
        """One version: configuration, metadata, schema, files, locked packages"""
        return versions.show(work, reference(model, number))

    def remove_version(model: str, number: int) -> Any:
        """Forget a version that is not in use; history stays"""
        return versions.remove(work, reference(model, number))

    def restore_version(
        model: str, number: int, commit_first: bool = False, discard: bool = False
    ) -> Any:
        """Put a version's files back into the model's folder

        What the folder holds must be in a version, be made one first, or be given up.
        """
        return versions.restore(work, reference(model, number), commit_first, discard)

    def diff(model: str, before: int | None = None, after: int | None = None) -> Any:
        """What is different in a version, or in the folder, against another version

        Without `before` it is the last version, without `after` the folder as it is.
        """
        return versions.diff(
            work, reference(model, before), None if after is None else reference(model, after)
        )

    numbers = tuple(Field(each, "a version's number", "integer") for each in ("before", "after"))
    number = "$response.body#/version/number"
    made = ("show_version", {"model": "$request.path.model", "number": number})
    relock = Field("relock", "resolve the requirements anew", "boolean")
    return [
        Route("GET", f"{MODEL}/versions", list_versions, list[Listed]),
        Route("POST", f"{MODEL}/versions", commit, Committed, body=(MESSAGE, relock), leads=made),
        Route("GET", ONE, show_version, Shown),
        Route("DELETE", ONE, remove_version, Version),
        Route("POST", f"{ONE}/restore", restore_version, Restored, body=LOSSES),
        Route("GET", f"{MODEL}/diff", diff, Differences, query=numbers),
    ]
