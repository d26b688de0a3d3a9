"""Text with what was searched for marked in it."""

from __future__ import annotations

import re

from markupsafe import Markup, escape


def marked(text: str, words: str) -> Markup:
    """The text as HTML, each of the words in a <mark>; never more markup than that."""
    asked = sorted(set(words.split()), key=len, reverse=True)
    if not asked:
        return escape(text)
    parts = re.split("(" + "|".join(map(re.escape, asked)) + ")", text, flags=re.IGNORECASE)
    mark = Markup("<mark>{}</mark>")
    return Markup("").join(mark.format(p) if n % 2 else escape(p) for n, p in enumerate(parts))
