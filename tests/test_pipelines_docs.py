"""docs/pipelines.md: what its configurations say is right, and its commands do what they say."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from client import Client

from app.configuration.stages import COMBINERS
from app.scoring.pipeline import graph
from app.services import configuring

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "pipelines.md").read_text()
EXAMPLE = ROOT / "assets" / "examples" / "diabetes"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.mark.parametrize("text", blocks("toml"))
def test_its_configurations_are_right(text):
    from app.configuration.stages import read_stages

    assert configuring.check(text) == []
    stages, _ = read_stages(configuring.parsed(text)["stage"])
    assert graph.parse({"stages": stages}).order


def test_it_shows_every_way_to_combine():
    assert [how for how in COMBINERS if f"`{how}`" not in PAGE] == []


@pytest.mark.faults
def test_its_commands_do_what_they_say(tmp_path):
    client = Client(tmp_path / "home")
    shutil.copytree(EXAMPLE, tmp_path / "diabetes")
    program = " ".join(client.argv())
    script = "\n".join([f'rhythmicml() {{ {program} "$@"; }}', *blocks("sh")])
    try:
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=tmp_path,
            env={**os.environ, **client.environ},
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert '{"predictions":[96.04671511126685,149.39229375361765]}' in done.stdout
        assert "weighted 0.6, 0.4" in done.stdout
    finally:
        client.undeploy_all()
