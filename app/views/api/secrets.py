"""Secrets as JSON: set, listed by name, forgotten. No answer has a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.services import secrets
from app.views.api.fields import MODEL
from app.views.described import Field, Route

if TYPE_CHECKING:
    from app.workspace import Workspace

ALL = f"{MODEL}/secrets"
ONE = f"{ALL}/<secret>"
FOR = Field("to", "for this location alone; else for all", least=1, most=1000)
KEPT = (
    Field("value", "the value", required=True, least=1, most=secrets.LONGEST, secret=True),
    FOR,
    Field("file", "without a keyring, keep it in a file that only you may read", "boolean"),
)


def routes(work: Workspace) -> list[Route]:
    def list_secrets(model: str) -> Any:
        """The secrets that a model names, and where a value is kept here; never the value"""
        return secrets.list_secrets(work, model)

    def set_secret(
        model: str, secret: str, value: str, to: str | None = None, file: bool = False
    ) -> Any:
        """Keep the value of a secret that the model names; what runs has it after a restart"""
        return secrets.set_value(work, model, secret, value, to=to, into_file=lambda: file)

    def remove_secret(model: str, secret: str, to: str | None = None) -> Any:
        """Forget the value of a secret here; a host keeps its own while a release names it"""
        return secrets.remove(work, model, secret, to=to)

    row = {"type": "object", "required": ["name", "location", "kept"]}
    gone = {"type": "object", "required": ["model", "name", "location"]}
    return [
        Route("GET", ALL, list_secrets, {"type": "array", "items": row}),
        Route("PUT", ONE, set_secret, row, body=KEPT),
        Route("DELETE", ONE, remove_secret, gone, query=(FOR,)),
    ]
