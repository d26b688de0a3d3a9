"""What the stand-in for Windows can do with a server that was deployed to from Linux once."""

import json
import os
import subprocess
import sys

import pytest
from client import ROOT, write_model

pytestmark = pytest.mark.faults

RUN = (
    "import json, sys, without_unix as stand_in; stand_in.become_windows();"
    "print(json.dumps([stand_in.answered(*words) for words in json.load(sys.stdin)]))"
)


def on_windows(client, *commands):
    """What these commands answer there; all must do what they should."""
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env=client.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = json.loads(done.stdout)
    assert [said for code, said in answers if code] == []
    return [said for _, said in answers]


@pytest.mark.parametrize("mode", ["root"])
def test_a_second_version_is_deployed_scored_and_taken_back_from_there(client, mode, tmp_path):
    folder = write_model(tmp_path / "model", "from-windows")
    client("deploy", str(folder), "--to", "srv")
    write_model(folder, "from-windows", factor=50.0)
    (folder / "artifacts" / "large.bin").write_bytes(os.urandom(20 << 20))
    data = tmp_path / "data.json"
    data.write_text('{"inputs": [[1, 2, 3]]}')
    table = tmp_path / "rows.jsonl"
    table.write_text("[1, 2, 3]\n[4, 5, 6]\n")
    score = ["score", "from-windows", "--data"]
    deployed, answer, rows, status, _, _, back, before = on_windows(
        client,
        ["deploy", "from-windows", "--to", "srv"],
        [*score, str(data)],
        [*score, str(table), "--out", str(tmp_path / "out.csv")],
        ["status"],
        ["logs", "from-windows"],
        ["verify"],
        ["rollback", "from-windows"],
        [*score, str(data)],
    )
    assert deployed["version"] == 2
    assert answer["answer"] == {"predictions": [300.0]}
    assert rows["rows"] == 2
    assert (tmp_path / "out.csv").read_text().count("\n") == 3
    assert [row["model"] for row in status] == ["from-windows"]
    assert back["version"] == 1
    assert before["answer"] == {"predictions": [12.0]}
    client("undeploy", "from-windows", "--purge", "--yes")
