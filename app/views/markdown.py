"""Markdown as HTML that is safe to show: no raw HTML, no pictures, links to the web alone."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token

SCHEMES = ("http://", "https://")
NEAR = re.compile(r"\[([^]\[]+)\]\((?!https?:)[^()\s]*\)")


def rendered(text: str) -> Markup:
    """A text with paragraphs, lists, tables."""
    return Markup(_reader().render(text))


def inline(text: str) -> Markup:
    """One line: code, emphasis, links; of links to other pages of the docs only their words."""
    return Markup(_reader().renderInline(NEAR.sub(r"\1", text)))


@cache
def _reader() -> MarkdownIt:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("js-default", {"html": False, "linkify": False})
    reader.disable("image")
    reader.validateLink = _is_web  # type: ignore[method-assign]
    reader.add_render_rule("link_open", _link)
    for rule, step in (("heading_open", 2), ("heading_close", 2)):
        reader.add_render_rule(rule, _lower(step))
    return reader


def _is_web(url: str) -> bool:
    return url.lower().startswith(SCHEMES)


def _link(
    self: RendererHTML,
    tokens: Sequence[Token],
    at: int,
    options: Any,
    env: MutableMapping[str, Any],
) -> str:
    """Links leave the program: they open elsewhere, and tell nothing of where they stood."""
    tokens[at].attrSet("rel", "noopener noreferrer nofollow")
    tokens[at].attrSet("target", "_blank")
    return self.renderToken(tokens, at, options, env)


def _lower(step: int) -> Any:
    """Headings stand below those of the page."""

    def render(
        self: RendererHTML,
        tokens: Sequence[Token],
        at: int,
        options: Any,
        env: MutableMapping[str, Any],
    ) -> str:
        level = min(6, int(tokens[at].tag[1]) + step)
        tokens[at].tag = f"h{level}"
        return self.renderToken(tokens, at, options, env)

    return render
