"""Alerts in the pages: the open ones above Monitoring, and who is told of them in Settings."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

from app.errors import Problem
from app.services import alerts, limits, mail, notices, telling

if TYPE_CHECKING:
    from app.views.feed import Feed
    from app.workspace import Workspace

SHOWN = 8
"""Alerts before the rest is folded away."""
DRAWERS = {"webhook": "alerts_webhook.html", "email": "alerts_email.html"}


def blueprint(work: Workspace, feed: Feed) -> Blueprint:
    pages = Blueprint("alerts", __name__)

    @pages.app_context_processor
    def shared() -> dict[str, Any]:
        return {
            "alerts_part": lambda: _part(work),
            "alerts_open": lambda: _open(work),
            "telling_part": lambda: _telling(work),
        }

    @pages.get("/alerts")
    def index() -> Any:
        return render_template("alerts.html")

    @pages.get("/alerts/ring")
    def ring() -> Any:
        return render_template("alerts_ring.html")

    @pages.post("/alerts/acknowledge")
    def acknowledge() -> Any:
        """Those that were named; what has ended meanwhile needs nobody's look any more."""
        still = {each["id"] for each in alerts.listed(work)}
        named = set(request.form.getlist("id", type=int))
        alerts.acknowledge(work, still & named)
        feed.say("alerts")
        return render_template("alerts.html")

    @pages.get("/settings/alerts/<way>")
    def drawer(way: str) -> Any:
        if way not in DRAWERS:
            raise Problem(f'There is no way "{way}" to tell of alerts.')
        return render_template(DRAWERS[way], kept=telling.email_of(work), security=mail.SECURITY)

    @pages.post("/settings/alerts/limits")
    def set_limits() -> Any:
        with work.open_store() as store:
            now = limits.of(store)
            for name, limit in _limits_asked().items():
                if limit != now[name]:
                    limits.change(store, name, limit)
        return render_template("alerts_settings.html", said="Kept.")

    @pages.post("/settings/alerts/notice")
    def set_notice() -> Any:
        notices.want(work, bool(request.form.get("on")))
        return render_template("alerts_settings.html")

    @pages.post("/settings/alerts/webhook")
    def set_webhook() -> Any:
        telling.use_webhook(work, request.form.get("url", "").strip(), into_file=_consent)
        return render_template("alerts_settings.html")

    @pages.post("/settings/alerts/email")
    def set_email() -> Any:
        asked = {key: request.form.get(key, "").strip() for key in ("server", "from", "user")}
        to = tuple(request.form.get("to", "").replace(",", " ").split())
        chosen = mail.checked(
            asked["server"], asked["from"] or next(iter(to), ""), to,
            security=request.form.get("security", ""), user=asked["user"],
        )  # fmt: skip
        telling.use_email(work, chosen, request.form.get("password", ""), into_file=_consent)
        return render_template("alerts_settings.html")

    @pages.post("/settings/alerts/<way>/off")
    def off(way: str) -> Any:
        if way in telling.WAYS:
            telling.stop(work, way)
        return render_template("alerts_settings.html")

    @pages.post("/settings/alerts/test")
    def test() -> Any:
        done = telling.test(work)
        failed = [each["way"] for each in done if each["error"]]
        said = f"Not taken: {', '.join(failed)}." if failed else "Taken by all of them."
        return render_template("alerts_settings.html", said=said if done else "All are off.")

    return pages


def _consent() -> bool:
    return bool(request.form.get("file"))


def _limits_asked() -> dict[str, float | None]:
    """Rule → limit, all of them or none: an empty field turns its rule off."""
    found: dict[str, float | None] = {}
    for name in limits.DEFAULTS:
        text = request.form.get(name, "").strip().replace(",", ".")
        try:
            limit = float(text) / limits.SHOWN_AS[name][0] if text else None
        except ValueError:
            what = f'"{text}" is no limit for {name}.'
            raise Problem(what, remedy="Give a number; empty: no alert.") from None
        if limit is not None:
            limits.checked(name, limit)
        found[name] = limit
    return found


def _part(work: Workspace) -> dict[str, Any]:
    """What alerts.html shows."""
    rows = [{**row, "at": _iso(row["began"])} for row in alerts.listed(work)]
    return {"rows": rows, "fresh": [row for row in rows if not row["acknowledged"]], "few": SHOWN}


def _open(work: Workspace) -> dict[str, Any]:
    """How many are open, and whether there are some that nobody has seen, for every page."""
    seen = [row["acknowledged"] is not None for row in alerts.opened(work)]
    return {"count": len(seen), "fresh": not all(seen)}


def _telling(work: Workspace) -> dict[str, Any]:
    """What alerts_settings.html shows."""
    ways = [{**row, "tried": _iso(row["at"])} for row in telling.described(work)]
    with work.open_store() as store:
        now, own = limits.of(store), limits.own(store)
    shown = [
        {"name": name, "value": _as_typed(name, now[name]), "unit": limits.SHOWN_AS[name][1],
         "when": limits.MEANINGS[name][1], "default": _as_typed(name, default)}
        for name, default in limits.DEFAULTS.items()
    ]  # fmt: skip
    return {"ways": {row["way"]: row for row in ways}, "limits": shown, "own": sorted(own)}


def _as_typed(name: str, limit: float | None) -> str:
    return "" if limit is None else f"{round(limit * limits.SHOWN_AS[name][0], 6):g}"


def _iso(at: float | None) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds") if at else ""
