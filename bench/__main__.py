"""All benchmarks, one after the other; writes docs/benchmarks.md.

    python -m bench [NAME …]

Each is a program of its own (python -m bench.NAME.run) that prints its tables in Markdown. A name
given alone is measured alone, and the page is not written. Run it on a machine that does nothing
else.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
TITLES = {
    "scoring": "Scoring",
    "commit": "Committing a folder",
    "upload": "Reaching and uploading to a host",
    "deploy": "Deploying",
    "pipelines": "Pipelines",
    "monitoring": "Monitoring",
    "ui": "The pages",
    "desktop": "The window",
}


def main(chosen: list[str]) -> None:
    tables = {name: measured(name) for name in chosen or TITLES}
    text = page(tables)
    print(text)
    if not chosen:
        PAGE.write_text(text)


def measured(name: str) -> str:
    print(f"Measuring {name} ...", file=sys.stderr, flush=True)
    program = [sys.executable, "-m", f"bench.{name}.run"]
    done = subprocess.run(program, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def page(tables: dict[str, str]) -> str:
    intro = (
        "# Benchmarks\n\n"
        "Written by `make bench`; figures are medians of several alternated runs, and only the "
        "ratios within one run mean anything elsewhere.\n\n"
        f"Measured on {date.today()}: {os.cpu_count()} cores, Linux {platform.machine()}, "
        f"Python {platform.python_version()}; client and server share the cores.\n"
    )
    parts = [f"## {TITLES[name]}\n\n{text}\n" for name, text in tables.items()]
    return "\n".join([intro, *parts])


if __name__ == "__main__":
    main(sys.argv[1:])
