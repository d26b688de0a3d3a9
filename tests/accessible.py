"""What axe finds on a page of RhythmicML once nothing on it moves any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from playwright.sync_api import Page

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
STILL = """() => {
  const goesOn = each => each.effect.getComputedTiming().iterations === Infinity;
  const done = each => each.playState === 'finished' || goesOn(each);
  return !document.querySelector('.htmx-request') && document.getAnimations().every(done);
}"""
"""Half-way through a fade every word is too faint: that is no colour anybody reads."""


def findings(page: Page) -> list[tuple[str, list[str]]]:
    """(rule, the elements that break it), in the theme the page has now."""
    page.wait_for_function(STILL)
    found = Axe().run(page, options=RULES).response["violations"]
    return [(each["id"], [node["html"][:150] for node in each["nodes"]]) for each in found]


def findings_in_both_themes(page: Page) -> list[tuple[str, list[str]]]:
    told = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        told += findings(page)
    return told
