"""The program as it is given to people: built here, or what RHYTHMICML_DIST names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from client import ROOT, Client
from screen import screen

PASSED_ON = ("PIP_", "UV_", "SSL_", "http_proxy", "https_proxy", "no_proxy")
"""Where packages come from here: the program has to be told, like any other."""


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """The folder with all that is given out."""
    if given := os.environ.get("RHYTHMICML_DIST"):
        return ROOT / given
    made = tmp_path_factory.mktemp("dist")
    command = [sys.executable, str(ROOT / "packaging" / "dist.py"), str(made)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return made


@pytest.fixture
def desktop(tmp_path):
    with screen(tmp_path) as shown:
        yield shown


class Packed(Client):
    """The one file with an environment of next to nothing: no venv, no Python's variables."""

    def __init__(self, folder: Path, binary: Path, display: str = "") -> None:
        self.home, self.binary = folder / "data", binary
        self.user = folder / "user"
        self.user.mkdir()
        told = {k: v for k, v in os.environ.items() if k.startswith(PASSED_ON)}
        self.environ = {
            "PATH": "/usr/bin:/bin", "HOME": str(self.user), "TMPDIR": str(folder / "tmp"),
            "RHYTHMICML_HOME": str(self.home), "DISPLAY": display, **told,
        }  # fmt: skip
        (folder / "tmp").mkdir()

    def argv(self, *words: str) -> list[str]:
        return [str(self.binary), *words]


@pytest.fixture
def packed(tmp_path, dist, desktop):
    return Packed(tmp_path, dist / "rhythmicml", desktop.name)
