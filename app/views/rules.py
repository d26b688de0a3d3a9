"""Routes that make the function that writes their URL when one is written for the first time.

Werkzeug makes two for each route at once, by compiling Python: for ours that took 50 of 500 ms of
processor time of each start, and a page writes the URLs of a few.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from werkzeug.routing import Rule


class LateRule(Rule):
    """As any other."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        @functools.cache
        def made() -> Callable[..., tuple[str, str]]:
            return Rule._compile_builder(self, append_unknown)

        def build(rule: Rule, **values: Any) -> tuple[str, str]:
            return made()(rule, **values)

        return build
