"""Who may ask an instance, as JSON: tokens made, listed, made anew, taken away.

A token's text is in the answer that made it and nowhere else, so these are no jobs: what a job
gave is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.services import tokens
from app.views.api.fields import MODEL, ON
from app.views.described import Field, Route

if TYPE_CHECKING:
    from app.workspace import Workspace

ALL = f"{MODEL}/tokens"
ONE = f"{ALL}/<token>"
NEW = (
    Field("name", "a name: letters, digits, dots, dashes, at most 48", required=True, least=1),
    Field("scope", "score: all about asking; admin: the metrics too", pattern="^(?:score|admin)$"),
    ON,
)
GRACE = Field(
    "grace", "seconds for which the text before is good still; 3600", "integer", most=31_622_400
)


def routes(work: Workspace) -> list[Route]:
    def list_tokens(model: str, to: str | None = None) -> Any:
        """The tokens of an instance, asked from its host; never their texts"""
        return tokens.list_tokens(work, model, to=to)

    def add_token(model: str, name: str, scope: str = "score", to: str | None = None) -> Any:
        """Make a token; its text is in `token` of this answer alone

        May come before the first deployment. What runs heeds it at once.
        """
        return tokens.add(work, model, name, scope=scope, to=to)

    def rotate_token(model: str, token: str, grace: int = 3600, to: str | None = None) -> Any:
        """Give a token a new text; the one before is refused after `grace` seconds"""
        return tokens.rotate(work, model, token, grace=grace, to=to)

    def remove_token(model: str, token: str, to: str | None = None) -> Any:
        """Refuse a token from now on"""
        return tokens.remove(work, model, token, to=to)

    row = {"type": "object", "required": ["name", "scope", "created", "until"]}
    done = {"type": "object", "required": ["model", "location", "name", "left", "told"]}
    made = {**done, "required": [*done["required"], "token"]}
    return [
        Route("GET", ALL, list_tokens, {"type": "array", "items": row}, query=(ON,)),
        Route("POST", ALL, add_token, made, body=NEW),
        Route("POST", f"{ONE}/rotate", rotate_token, made, body=(GRACE, ON)),
        Route("DELETE", ONE, remove_token, done, query=(ON,)),
    ]
