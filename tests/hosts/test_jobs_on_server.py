"""Answers to jobs are kept where systemd confines an instance, and outlive its process."""

import pytest
from client import write_model

JOB = """
import json, sys, time, urllib.request

port, url = int(sys.argv[1]), sys.argv[2]
base = f"http://127.0.0.1:{port}"
if url == "new":
    body = b'{"inputs": [[1, 2, 3]]}'
    request = urllib.request.Request(base + "/score", body, {"Prefer": "respond-async"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        url = json.load(answer)["url"]
for _ in range(300):
    with urllib.request.urlopen(base + url, timeout=30) as answer:
        if answer.status == 200:
            print(url, answer.read().decode())
            break
    time.sleep(0.1)
"""


@pytest.mark.parametrize("mode", ["root", "user"], indirect=True)
def test_a_job_survives_a_restart_and_a_switch(tmp_path, client, guest, mode):
    name = f"keeps-jobs-{mode}"
    folder = write_model(tmp_path / "model", name)
    port = client("deploy", str(folder), "--to", "srv")["port"]

    def ask(url):
        return guest.run(["python3", "-c", JOB, str(port), url], timeout=120).stdout.split(" ", 1)

    url, answer = ask("new")
    assert answer.strip() == '{"predictions":[12.0]}'
    client("restart", name)
    assert ask(url) == [url, answer]
    write_model(folder, name, factor=5.0)
    client("deploy", name, "--to", "srv")
    assert ask(url) == [url, answer]
    client("undeploy", name, "--purge", "--yes")
    assert not guest.run(["sh", "-c", f"ls /var/lib/private | grep {name} || true"]).stdout
