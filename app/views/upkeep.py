"""Settings about what is kept: secrets, what goes when, the store and its backups, what this is."""

from __future__ import annotations

import json
import platform
import sys
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

from app import VERSION, config, words
from app.errors import Problem
from app.services import backups, doctor, machine, secrets

if TYPE_CHECKING:
    from app.workspace import Workspace

VENDORED = "static/vendor/packages.json"


def blueprint(work: Workspace) -> Blueprint:
    pages = Blueprint("upkeep", __name__)

    @pages.get("/settings/content")
    def content() -> Any:
        """How much the store holds: it takes a moment for a large one."""
        with work.open_store() as store:
            sizes = {
                digest: store.blobs.path(digest).stat().st_size for digest in store.blobs.all()
            }
            try:
                named = store.named()
            except Problem:  # damaged, which is for `verify` to say
                named = set(sizes)
        spare = [size for digest, size in sizes.items() if digest not in named]
        return render_template(
            "settings_content.html", bytes=sum(sizes.values()), files=len(sizes),
            spare=sum(spare), spare_files=len(spare),
        )  # fmt: skip

    @pages.post("/settings/collect")
    def collect() -> Any:
        with work.open_store() as store:
            done = store.collect()
        freed = done.trashed_bytes + done.freed_bytes
        return render_template("said.html", words=f"{words.size(freed)} put aside or freed.")

    @pages.get("/settings/secrets")
    def listed() -> Any:
        return _secrets()

    @pages.post("/settings/secrets")
    def keep() -> Any:
        asked = {key: request.form.get(key, "").strip() for key in ("model", "name", "to")}
        consent = bool(request.form.get("file"))
        secrets.set_value(
            work, asked["model"], asked["name"], request.form.get("value", ""),
            to=asked["to"] or None, into_file=lambda: consent,
        )  # fmt: skip
        return _secrets()

    @pages.post("/settings/secrets/forget")
    def forget() -> Any:
        asked = request.form
        secrets.remove(work, asked["model"], asked["name"], to=asked.get("to") or None)
        return _secrets()

    @pages.get("/settings/secrets/new")
    def new() -> Any:
        asked = {key: request.args.get(key, "") for key in ("model", "name")}
        return render_template("secret.html", asked=asked)

    @pages.get("/settings/needs")
    def needs() -> Any:
        """What this machine has and lacks; asking the keyring may take a moment."""
        return render_template("needs.html", needs=machine.needs())

    @pages.get("/settings/report")
    def report() -> Any:
        """What a report of a fault needs, to be copied."""
        return render_template("report.html", report=doctor.words(doctor.examine(work)))

    @pages.get("/settings/backup")
    def backup() -> Any:
        return render_template("backup.html", undo=backups.last_undo(work))

    def _secrets() -> Any:
        with work.open_store() as store:
            named = store.models.secrets()
        found = {name: secrets.list_secrets(work, name) for name in named}
        return render_template("secrets.html", found=found)

    return pages


def about(work: Workspace) -> dict[str, str]:
    """What this program is, for whoever reports a fault."""
    return {
        "RhythmicML": VERSION,
        "Python": platform.python_version(),
        "System": platform.platform(),
        "Program": sys.executable,
        "Log": str(work.home / "log" / "ui.log"),
    }


def parts() -> dict[str, dict[str, str]]:
    """What the pages have from others: name → version and licence."""
    said: dict[str, dict[str, str]] = json.loads(config.asset(VENDORED).read_bytes())
    return said
