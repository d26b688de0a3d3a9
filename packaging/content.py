"""What goes into the program when it is packed, the same for every system; read by the specs."""

from __future__ import annotations

from pathlib import Path

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

ROOT = Path(__file__).parents[1]
NAME = "rhythmicml"
START = str(ROOT / "main.py")

SENT = ("app/scoring", "app/deployer/agent")
"""Packages that run on hosts: their sources are read and sent, as files."""
KINDS = (".py", ".html", ".lock")

# What the scoring runtime has in its own environment on the host, what other windows would need,
# and what tests and builds are made with.
LEFT_OUT = [
    *("uvloop", "simdjson", "numpy", "pandas", "pyarrow", "uv", "readline", "curses"),
    *("qtpy", "PySide6", "PyQt6", "PyQt5", "tkinter", "IPython", "pytest", "setuptools", "pip"),
]


WHOLE = ("rich._unicode_data", "webview", "pyfastcdc")
"""Packages of which some part is imported by a name that no analysis sees."""


def modules() -> list[str]:
    """Those of ours, also the ones that are only imported when they are needed."""
    found = collect_submodules("app", filter=lambda name: not name.startswith("app.scoring."))
    return [*found, *(each for name in WHOLE for each in collect_submodules(name))]


def _metadata(package: str) -> list[tuple[str, str]]:
    """What importlib.metadata reads; uv's also has a long list of all that is in it."""
    (entry,) = copy_metadata(package)
    folder, place = Path(entry[0]), entry[1]
    names = ("METADATA", "entry_points.txt")
    return [(str(folder / name), place) for name in names if (folder / name).exists()]


def datas() -> list[tuple[str, str]]:
    """(file, folder inside the program)."""
    sources = [
        (str(path), str(path.parent.relative_to(ROOT)))
        for package in SENT
        for path in (ROOT / package).rglob("*")
        if path.suffix in KINDS
    ]
    return [
        *sources,
        (str(ROOT / "assets"), "assets"),
        *collect_data_files("webview", includes=["js/**"]),
        *(each for name in ("uv", "keyring") for each in _metadata(name)),
    ]


def version() -> str:
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version ="))
