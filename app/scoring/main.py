"""One program, two parts to play: `front …` answers HTTP, `keeper …` stands in for systemd."""

from __future__ import annotations

import sys
from collections.abc import Sequence

USAGE = """usage: front --instance DIR --release ID --private SOCKET [--listen HOST:PORT]
       keeper --instance DIR --port N"""


def main(argv: Sequence[str] | None = None) -> None:
    """Play the part named first, and exit with its code. Imports only what that part needs."""
    words = list(sys.argv[1:] if argv is None else argv)
    part = words[0] if words else ""
    if part == "front":
        from . import early

        begun = early.begin(words[1:])
        from . import front

        sys.exit(front.main(words[1:], begun))
    if part == "keeper":
        from . import keeper

        sys.exit(keeper.main(words[1:]))
    sys.exit(USAGE)
