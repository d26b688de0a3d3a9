"""Where this machine lets us make temporary files."""

from __future__ import annotations

import tempfile

from app.errors import Problem


def folder() -> str:
    """As the system has it. Raises Problem where nothing can be written to."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise Problem(
            "This machine has no folder for temporary files that can be written to.",
            cause=str(error),
            remedy="Have /tmp made writable (chmod 1777 /tmp), or name another in TMPDIR.",
        ) from error
