"""The files of a version: all of them while they fit on a page, else a folder at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

from app.services import versions

if TYPE_CHECKING:
    from app.models import Version
    from app.workspace import Workspace

FLAT = 500
"""Files up to which all are shown at once."""
TOGETHER = 200
"""Of one folder, or found, at once."""
MANY = 5000
"""Files from which on the folder is looked at after the page is shown."""


def blueprint(work: Workspace) -> Blueprint:
    pages = Blueprint("files", __name__)

    @pages.get("/models/<name>/files/listed")
    def listed(name: str) -> Any:
        """A folder's files, or those that are found, for a page that is open."""
        version = versions.one(work, f"{name}@{request.args['v']}")
        return render_template("files_listed.html", name=name, version=version,
                               part=True, **shown(work, name, version))  # fmt: skip

    return pages


def shown(work: Workspace, name: str, version: Version) -> dict[str, Any]:
    """What the request asks for of these files: `under` a folder, `after` an entry, `q` in it."""
    asked = {key: request.args.get(key, "")[:4096] for key in ("under", "after", "q")}
    flat = version.files <= FLAT or bool(asked["q"])
    page = (
        versions.having(work, version, asked["q"], FLAT)
        if flat
        else versions.under(work, version, asked["under"], asked["after"], TOGETHER)
    )
    return {**asked, "flat": flat, "held": page}
