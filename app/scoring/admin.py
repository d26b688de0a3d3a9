"""The routes of the private socket: the public ones, and orders to the front."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import Refusal, bad_input, not_ready
from .pipeline.lane import TRACE
from .pipeline.run import shown
from .protocols import Answer

if TYPE_CHECKING:
    from .http import Request
    from .routes import Routes

encode = msgspec.json.encode


class Admin:
    """Serves where the public routes' own answer is not wanted, or there is none."""

    def __init__(
        self,
        routes: Routes,
        serve: Callable[[], None],
        rest: Callable[[], None],
        state: Callable[[], dict[str, Any]],
    ) -> None:
        self._routes = routes
        self._orders = {
            (b"POST", b"/admin/serve"): self._serve,
            (b"POST", b"/admin/rest"): self._rest,
            (b"GET", b"/admin/state"): self._state,
            (b"GET", b"/readyz"): self._ready,
            (b"POST", b"/admin/tokens"): self._tokens,
            (b"POST", b"/admin/certificate"): self._certificate,
            (b"POST", b"/admin/shadow"): self._shadow,
            (b"GET", b"/admin/shadow"): self._shadowed,
        }
        self.replace_tokens: Callable[[bytes], None] = _not_here
        self.replace_certificate: Callable[[bytes], None] = _not_here
        self.shadow: Callable[[bytes], None] = _not_here
        self.shadowed: Callable[[], dict[str, Any]] = dict
        self.serve = serve
        self.rest = rest
        self.state = state

    def handle(self, request: Request) -> None:
        order = self._orders.get((request.method, request.path))
        if TRACE in request.headers and request.path == b"/score":
            self._traced(request)
        elif order is None:
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

    def _rest(self, request: Request) -> None:
        self.rest()
        self._state(request)

    def _ready(self, request: Request) -> None:
        """As the public one, with all that is known of why not."""
        routes = self._routes
        if routes.ready:
            routes.handle(request)
        else:
            routes.about.say_not_ready(request, {"traceback": routes.pool.traceback})

    def _traced(self, request: Request) -> None:
        """What each stage of a pipeline gave, besides the predictions."""
        request.endpoint = "score"
        try:
            self._routes.score_traced(request, lambda outputs: Answer(shown(outputs)))
        except Refusal as refusal:
            self._routes.refuse(request, refusal)

    def _tokens(self, request: Request) -> None:
        self._replace(request, self.replace_tokens)

    def _certificate(self, request: Request) -> None:
        self._replace(request, self.replace_certificate)

    def _shadow(self, request: Request) -> None:
        self._replace(request, self.shadow)

    def _shadowed(self, request: Request) -> None:
        request.answer(200, encode(self.shadowed()))

    def _replace(self, request: Request, replace: Callable[[bytes], None]) -> None:
        """Put what was sent in the place of what there was, or say why that stays."""
        try:
            replace(request.body)
        except ValueError as error:
            self._routes.refuse(request, bad_input(str(error)))
        else:
            self._state(request)

    def _state(self, request: Request) -> None:
        request.answer(200, encode(self.state()))


def _not_here(body: bytes) -> None:
    raise ValueError("This front has nothing to replace.")
