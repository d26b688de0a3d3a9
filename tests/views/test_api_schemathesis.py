"""Requests made up from the API's OpenAPI document, right and wrong ones, with every check on."""

import os
import subprocess

import pytest
from client import Client, write_model
from scoring.conftest import environment

from app.services import ui_token
from app.views import api, keys
from app.views.api.deployments import ORDERS

# What fits the document may still be refused for what is there (400, 404, 409), never as unfit.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "429"]

[phases.stateful.inference]
algorithms = []
"""
# Half of the names are those of things that are there; no folder is one of this machine, and no
# server another one. Orders go to a location that is not there, so that their jobs end at once.
# What is there stays, but for "gone".
HOOKS = """
import random
import schemathesis

THERE = {{
    "model": ["churn", "churn", "bare", "gone"], "number": [1, 2], "name": ["local"],
    "secret": ["KEY"], "token": ["ci"],
}}

@schemathesis.hook
def map_path_parameters(ctx, parameters):
    for name in parameters or ():
        if random.random() < 0.5:
            parameters[name] = random.choice(THERE[name])
    if (parameters or {{}}).get("model") in ("churn", "bare") and (
        ctx.operation.method == "delete" or ctx.operation.path.endswith("remove")
    ):
        parameters["model"] = "gone"
    return parameters

@schemathesis.hook
def map_body(ctx, body):
    folder = body.get("folder") if isinstance(body, dict) else None
    if isinstance(folder, str) and folder[:1] in ("/", "~") and "\\0" not in folder[:10_000]:
        body["folder"] = {folder!r} if random.random() < 0.5 else "/nowhere"
        if ctx.operation.path.endswith("/backup"):
            body["folder"] = {kept!r}
    if isinstance(body, dict) and ctx.operation.path.endswith(tuple({verbs!r})):
        body["to"] = "nowhere"
    url = body.get("url") if isinstance(body, dict) else None
    if isinstance(url, str) and 0 < len(url) <= 1000 and "\\0" not in url:
        body["url"] = "ssh://nobody@127.0.0.1:1"
    return body
"""


def run(server, work, folder, cases, *options):
    client = Client(work.home)
    for name in ("churn", "bare", "gone"):
        client("add", str(write_model(folder / name, name)))
    client("commit", "churn")
    with (write_model(folder / "churn", "churn", factor=3.0) / "rhythmicml.toml").open("a") as toml:
        toml.write('[deploy]\nsecrets = ["KEY"]\n')
    client("commit", "churn")
    verbs = [f"/{verb}" for verb in ORDERS]
    new, kept = str(write_model(folder / "new", "new")), str(folder / "kept")
    hooks = HOOKS.format(folder=new, verbs=verbs, kept=kept)
    (folder / "hooks.py").write_text(hooks)
    (folder / "schemathesis.toml").write_text(CONFIG)
    python = environment(("schemathesis==4.32.5",), "3.11") / "bin" / "python"
    token = ui_token.get(work.home)
    return subprocess.run(
        [
            *(python, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"),
            *(f"{server.address}{api.PREFIX}/openapi.json", "--checks", "all"),
            *("--max-examples", str(cases), "--seed", "7", "--no-shrink"),
            *("--request-timeout", "60", "--continue-on-failure", "--suppress-health-check", "all"),
            *("-H", f"Authorization: Bearer {token}", *options),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1800,
        env={
            **os.environ,
            "NO_COLOR": "1",
            "SCHEMATHESIS_HOOKS": "hooks",
            "PYTHONPATH": str(folder),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "h"),
        },
    )


@pytest.mark.parametrize(
    ("cases", "options"),
    [
        pytest.param(2, ("--phases", "fuzzing,stateful"), id="few"),
        pytest.param(60, (), id="many", marks=pytest.mark.faults),
    ],
)
def test_no_made_up_request_finds_a_fault(server, work, tmp_path, monkeypatch, cases, options):
    # It tries wrong tokens at every address, more than anybody may in a minute.
    monkeypatch.setattr(keys.Keys, "guessed", lambda self: False)
    done = run(server, work, tmp_path, cases, *options)
    said = done.stdout + done.stderr
    start = max(0, said.find("= FAILURES"))
    assert done.returncode == 0, said[start:][:20_000]
    log = work.home / "log" / "ui.log"
    assert not log.exists() or "Traceback" not in log.read_text()
    print(*[line for line in done.stdout.splitlines() if "generated" in line])
