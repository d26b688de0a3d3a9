"""The whole main job on this machine, through the command line, with no server and no systemd."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import zipfile
from functools import partial

import pytest
from client import PREDICT, Client, Failed, Together, own_port
from client import briefly_watched as write_model


@pytest.fixture
def newcomer(tmp_path):
    """Somebody who has deployed nothing yet, so that all is to be built."""
    client = Client(tmp_path / "home")
    yield client
    client.undeploy_all()
    for pid in keepers(client):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def client(newcomer):
    return newcomer.settled()


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "churn", "churn")


def ask(client, data='{"inputs": [[1, 2, 3]]}'):
    path = client.home / "data.json"
    path.write_text(data)
    return client("score", "churn", "--data", str(path))["answer"]


def post(port, body=b'{"inputs": [[1, 2, 3]]}'):
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/score", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return json.loads(answer.read()), dict(answer.headers)


def test_whole_main_job(newcomer, folder):
    client = newcomer
    first = client("deploy", str(folder), "--port", str(own_port()))
    assert (first["version"], first["location"], first["changed"]) == (1, "local", True)
    assert ask(client) == {"predictions": [12.0]}
    assert post(first["port"])[1]["X-Release"] == first["release"]
    [given] = client("show", "churn@1")["version"]["schema"]["outputs"]
    assert given["type"] == "float64", "the deployment taught the version what it gives"

    assert client("deploy", str(folder))["changed"] is False

    write_model(folder, "churn", factor=3.0)
    second = client("deploy", "churn", "-m", "three")
    assert (second["version"], second["sent"]["files"]) == (2, 1)
    assert second["port"] == first["port"]
    assert ask(client) == {"predictions": [18.0]}

    assert client("rollback", "churn")["version"] == 1
    assert ask(client) == {"predictions": [12.0]}
    assert client("switch", "churn@2")["release"] == second["release"]

    [row] = client("status", "churn")
    assert (row["state"], row["version"], row["latest"]) == ("serving", 2, 2)
    assert any("is ready" in line for line in client("logs", "churn"))

    client("stop", "churn")
    assert client("status")[0]["state"] == "stopped"
    with pytest.raises(urllib.error.URLError):
        post(first["port"])
    client("start", "churn")
    client("restart", "churn")
    assert ask(client) == {"predictions": [18.0]}

    client("undeploy", "churn")
    assert client("status") == []
    assert client("deploy", "churn")["sent"]["files"] == 0, "its releases had stayed"
    assert [v["message"] for v in client("versions", "churn")] == ["three", ""]


def test_broken_release_leaves_the_old_one_serving(client, folder):
    port = client("deploy", str(folder))["port"]
    broken = PREDICT.replace("return json", 'raise RuntimeError("cursed")\n    return json')
    write_model(folder, "churn", script=broken)
    with pytest.raises(Failed) as failed:
        client("deploy", "churn")
    assert failed.value.problem["kind"] == "GateFailed"
    assert "RuntimeError: cursed" in failed.value.problem["detail"]
    assert failed.value.problem["cause"] == "RuntimeError: cursed"
    assert "Production is as it was." in failed.value.problem["remedy"]
    assert post(port)[0] == {"predictions": [12.0]}
    [newest, *_] = client("history", "churn")
    assert (newest["action"], newest["result"], newest["version"]) == ("deploy", "failed", 2)
    assert "RuntimeError: cursed" in newest["detail"]
    write_model(folder, "churn", script=PREDICT.replace("return [", "return 1 / 0 * ["))
    with pytest.raises(Failed) as failed:
        client("deploy", "churn")
    cause = "not predicted: The model failed on this request. It raised ZeroDivisionError."
    assert cause in failed.value.problem["cause"]
    assert "put a real one there" in failed.value.problem["remedy"]


def test_deploy_names_what_breaks_for_callers_of_production(client, folder):
    config = folder / "rhythmicml.toml"
    column = '[schema.inputs]\nage = {{ type = "int64", max = {} }}\n'
    script = "def predict(model, inputs):\n    return [1 for _ in inputs]\n"
    write_model(folder, "churn", script=script)
    (folder / "sample.json").write_text('[{"age": 41}]')
    before = config.read_text()
    config.write_text(before + column.format(120))
    assert client("deploy", str(folder))["breaking"] == []
    config.write_text(before + column.format(110))
    client("commit", "churn")
    said = ['column "age" must be at most 110 now.']
    assert client("deploy", "churn", "--plan")["breaking"] == said
    assert client("deploy", "churn")["breaking"] == said
    assert client("deploy", "churn")["breaking"] == []


def test_failed_restart_does_not_say_that_production_is_as_it_was(client, folder, tmp_path):
    script = f"""
import os

def load(artifacts):
    if os.path.exists({str(tmp_path / "broken")!r}):
        raise OSError("the weights are gone")

def predict(model, inputs):
    return 1
"""
    write_model(folder, "churn", script=script)
    (tmp_path / "broken").touch()
    with pytest.raises(Failed) as failed:
        client("deploy", str(folder))
    assert "Nothing is in production here yet." in failed.value.problem["remedy"]
    (tmp_path / "broken").unlink()
    client("deploy", str(folder))
    (tmp_path / "broken").touch()
    with pytest.raises(Failed) as failed:
        client("restart", "churn")
    assert failed.value.problem["cause"] == "OSError: the weights are gone"
    assert "rhythmicml start churn" in failed.value.problem["remedy"]
    [row] = client("status", "churn")
    assert row["state"] == "failing"
    assert "rhythmicml logs churn" in row["error"]
    (tmp_path / "broken").unlink()
    client("start", "churn")
    assert client("status", "churn")[0]["state"] == "serving"


def test_killed_front_is_replaced_and_connections_wait_for_it(client, folder):
    port = client("deploy", str(folder))["port"]
    for _ in range(3):
        os.kill(front_of(client), signal.SIGKILL)
        assert post(port)[0] == {"predictions": [12.0]}


def test_killed_keeper_is_shown_and_the_next_deployment_heals_it(client, folder):
    client("deploy", str(folder), "--port", str(own_port()))
    os.kill(keeper_of(client), signal.SIGKILL)
    wait_until(lambda: client("status")[0]["state"] == "failing")
    assert "rhythmicml start churn" in client("status")[0]["error"]
    assert client("deploy", "churn")["changed"]
    assert ask(client) == {"predictions": [12.0]}


def test_taken_port_names_who_has_it(client, folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Failed) as failed:
            client("deploy", str(folder), "--port", str(port))
    assert failed.value.problem["what"] == f"Port {port} is taken on that host."
    assert f"pid {os.getpid()}" in failed.value.problem["cause"]


def test_plan_changes_nothing(client, folder):
    planned = client("deploy", str(folder), "--plan")["plan"]
    assert planned[-1].startswith("Make v1 production")
    assert client("status") == []
    assert not (client.home / "local" / "instances").exists()


def test_interrupted_deployment_says_so_and_is_picked_up(client, folder):
    client("deploy", str(folder))
    write_model(folder, "churn", script=slow(3))
    deploying = client.start("deploy", "churn")
    lock = client.home / "local/instances/churn/lock"
    wait_until(lambda: "Start v2" in lock.read_text(), 30)
    deploying.send_signal(signal.SIGINT)
    _, said = deploying.communicate(timeout=30)
    assert deploying.returncode == 130
    assert said.startswith("Stopped.")
    assert ask(client) == {"predictions": [12.0]}
    assert client("history", "churn")[0]["result"] == "interrupted"
    wait_until(lambda: deployed(client), 30)
    assert client("status")[0]["version"] == 2


def test_interrupted_first_deployment_leaves_nothing_behind(client, folder):
    write_model(folder, "churn", script=slow(5))
    deploying = client.start("deploy", str(folder))
    wait_until(lambda: keepers(client), 20)
    time.sleep(0.5)
    deploying.send_signal(signal.SIGINT)
    deploying.communicate(timeout=30)
    assert deploying.returncode == 130
    wait_until(lambda: not keepers(client), 20)
    assert client("status") == []


def test_killed_first_deployment_leaves_nothing_behind(client, folder):
    write_model(folder, "churn", script=slow(5))
    deploying = client.start("deploy", str(folder))
    wait_until(lambda: keepers(client), 20)
    deploying.kill()
    deploying.communicate(timeout=30)
    wait_until(lambda: not keepers(client), 20)
    write_model(folder, "churn")
    assert client("deploy", "churn")["changed"]
    deployed = [each for each in client("history", "churn") if each["action"] == "deploy"]
    assert [each["result"] for each in deployed] == ["done", "interrupted"]


def test_release_whose_worker_dies_after_the_gate_still_answers(client, folder):
    """It must answer, with 503 if need be: a port that accepts and says nothing is the worst."""
    dying = """
import os, threading
asked = []

def predict(model, inputs: list):
    asked.append(1)
    if len(asked) == 4:  # its own try of the sample, and three at the gate
        threading.Timer(1, os._exit, [1]).start()
    return [sum(row) for row in inputs]
"""
    write_model(folder, "churn", script=dying)
    port = client("deploy", str(folder))["port"]
    wait_until(lambda: any("another is started" in line for line in client("logs", "churn")), 20)
    wait_until(lambda: status_of(port) == 200, 20)


def test_status_says_why_a_worker_cannot_come_back(client, folder, tmp_path):
    script = f"""
import os

def load(artifacts):
    if os.path.exists({str(tmp_path / "broken")!r}):
        raise OSError("the weights are gone")

def predict(model, inputs):
    return os.getpid()
"""
    write_model(folder, "churn", script=script)
    (tmp_path / "broken").touch()
    with pytest.raises(Failed) as failed:
        client("deploy", str(folder))
    assert "Nothing is in production here yet." in failed.value.problem["remedy"]
    (tmp_path / "broken").unlink()
    client("deploy", str(folder))
    (tmp_path / "broken").touch()
    os.kill(ask(client)["predictions"], signal.SIGKILL)
    limit = time.monotonic() + 20
    while "OSError: the weights are gone" not in (row := client("status")[0])["error"]:
        assert time.monotonic() < limit, row
        time.sleep(0.1)
    assert row["state"] in ("failing", "starting")
    (tmp_path / "broken").unlink()


def test_unchanged_deployment_leaves_a_healed_front_alone(client, folder):
    port = client("deploy", str(folder))["port"]
    os.kill(front_of(client), signal.SIGKILL)
    post(port)
    healed = front_of(client)
    assert client("deploy", "churn")["version"] == 1
    assert front_of(client) == healed
    assert post(port)[0] == {"predictions": [12.0]}


def test_new_version_on_a_stopped_instance_serves_alone(client, folder):
    client("deploy", str(folder), "--port", str(own_port()))
    client("stop", "churn")
    write_model(folder, "churn", factor=3.0)
    done = client("deploy", "churn")
    assert {post(done["port"])[1]["X-Release"] for _ in range(12)} == {done["release"]}


def test_own_port_that_another_program_took_meanwhile_is_named(client, folder):
    port = client("deploy", str(folder), "--port", str(own_port()))["port"]
    client("stop", "churn")
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(Failed) as failed:
            client("start", "churn")
        assert f"pid {os.getpid()}" in failed.value.problem["cause"]
        assert "--port" in failed.value.problem["remedy"]
    client("start", "churn")
    assert ask(client) == {"predictions": [12.0]}


def test_rollback_looks_back_further_than_the_last_restarts(client, folder):
    client("deploy", str(folder))
    write_model(folder, "churn", factor=3.0)
    client("deploy", "churn")
    with (client.home / "local/instances/churn/history.jsonl").open("a") as history:
        history.write('{"action": "restart", "who": "ana", "at": "now"}\n' * 250)
    assert client("rollback", "churn")["version"] == 1


def test_two_first_deployments_at_once_get_ports_of_their_own(newcomer, folder, tmp_path):
    client = newcomer
    other = write_model(tmp_path / "fraud", "fraud")
    client("location", "list")
    done = Together(
        lambda: client("deploy", str(folder)), lambda: client("deploy", str(other))
    ).results
    assert [each["changed"] for each in done] == [True, True]
    assert done[0]["port"] != done[1]["port"]


def test_two_users_who_deploy_at_once_get_ports_of_their_own(tmp_path):
    homes = [Client(tmp_path / f"home{number}") for number in range(3)]
    folders = [write_model(tmp_path / f"model{number}", "churn") for number in range(3)]
    done = Together(
        *(partial(home, "deploy", str(folder)) for home, folder in zip(homes, folders, strict=True))
    ).results
    try:
        assert len({each["port"] for each in done}) == 3
        assert [ask(home) for home in homes] == [{"predictions": [12.0]}] * 3
    finally:
        for home in homes:
            home("undeploy", "churn", "--purge", "--yes")


def test_log_is_followed_into_the_next_release(client, folder):
    client("deploy", str(folder))
    following = subprocess.Popen(
        [*client.argv("logs", "churn", "-f")],
        env=client.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert "v1-" in following.stdout.readline()
        write_model(folder, "churn", factor=3.0)
        client("deploy", "churn")
        assert any("v2-" in line for line in following.stdout)
        following.send_signal(signal.SIGINT)
        assert following.wait(30) == 0
    finally:
        following.kill()
        following.stdout.close()


def test_answer_of_bytes_comes_out_as_it_is(client, folder):
    write_model(
        folder, "churn", script="def predict(model, inputs: bytes):\n    return inputs[::-1]"
    )
    (folder / "sample.json").unlink()
    client("deploy", str(folder))
    body = bytes(range(256)) * 20
    argv = client.argv("score", "churn", "--data", "-")
    done = subprocess.run(argv, env=client.environ, input=body, capture_output=True, check=True)
    assert done.stdout == body[::-1]


def test_purge_gives_the_disk_back_also_after_an_undeploy(newcomer, folder):
    client = newcomer
    client("deploy", str(folder))
    client("undeploy", "churn")
    client("undeploy", "churn", "--purge", "--yes")
    left = [path for path in (client.home / "local").rglob("*") if path.is_file()]
    assert [path.name for path in left if not path.name.startswith(".")] == []


def slow(seconds):
    return PREDICT.replace("return json", f"time.sleep({seconds})\n    return json")


def status_of(port):
    try:
        return 200 if post(port) else 0
    except urllib.error.HTTPError as error:
        return error.code


def deployed(client):
    try:
        return client("deploy", "churn")["version"] == 2
    except Failed as failed:
        if failed.problem["kind"] != "Busy":
            raise
        return False


def test_packages_among_the_model_s_own_files_are_installed(client, folder):
    write_wheel(folder / "wheels", "tiny", "1.0", "VALUE = 7.0\n")
    (folder / "requirements.txt").write_text("--no-index\n--find-links ./wheels\ntiny==1.0\n")
    uses = "import tiny\n" + PREDICT.replace('model["factor"]', "tiny.VALUE")
    (folder / "predict.py").write_text(uses)
    client("deploy", str(folder))
    assert ask(client) == {"predictions": [42.0]}


def write_wheel(folder, name, version, source):
    folder.mkdir()
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["deploy", "/nowhere/at/all"], 'The folder "/nowhere/at/all" is not there.'),
        (["deploy", "ghost"], 'No model "ghost" is known.'),
        (["switch", "ghost@3"], 'No model "ghost" is known.'),
        (["deploy", "ghost@x"], '"ghost@x" names no version.'),
        (["score", "ghost", "--data", "/dev/null"], 'No model "ghost" is known.'),
        (["location", "check", "ghost"], 'No location "ghost" is known.'),
        (["location", "remove", "local"], "local"),
    ],
)
def test_bad_input_is_one_problem(client, words, what):
    with pytest.raises(Failed) as failed:
        client(*words)
    assert what in failed.value.problem["what"]


def test_text_goes_to_people_and_problems_to_stderr(client, folder):
    done = subprocess.run(
        client.argv("deploy", "ghost"), env=client.environ, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        'Error: No model "ghost" is known.\n  Remedy: List them: rhythmicml list\n'
    )


def front_of(client):
    keeper = keeper_of(client)
    children = f"/proc/{keeper}/task/{keeper}/children"
    with open(children) as file:
        return int(file.read().split()[0])


def keeper_of(client):
    return keepers(client)[0]


def keepers(client):
    pattern = f"keeper --instance {client.home}/local/instances/"
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def wait_until(true, seconds=10):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def released(client, name="churn"):
    found = client.home / "local" / "instances" / name / "releases"
    return sorted(int(path.name[1:].split("-")[0]) for path in found.glob("v*"))


def test_the_default_of_keep_removes_nothing_before_the_next_deploy(client, folder):
    for number in range(3):
        (folder / "predict.py").write_text(PREDICT + "\n" * number)
        client("deploy", str(folder))
    assert client("keep") == {"keep": 5}
    assert client("keep", "1") == {"keep": 1}
    assert released(client) == [1, 2, 3]
    (folder / "predict.py").write_text(PREDICT + "\n" * 4)
    assert "Remove 1 old release" in client("deploy", "churn", "--plan")["plan"][0]


def listing(client):
    """`versions` as a person reads it."""
    argv = client.argv("versions", "churn")
    return subprocess.check_output(argv, env=client.environ, text=True)


def test_old_releases_go_and_pinned_ones_stay(client, folder):
    """F31: what has failed is gone before the next one is sent; what is pinned outlives all."""
    config = folder / "rhythmicml.toml"
    config.write_text(config.read_text() + "[deploy]\nkeep = 1\n")
    client("deploy", str(folder))
    assert client("pin", "churn@1")["pinned"] == [1]
    assert [each["pinned"] for each in client("versions", "churn")] == [["local"]]
    (folder / "predict.py").write_text(PREDICT.replace("return json", "raise SystemExit #"))
    with pytest.raises(Failed):
        client("deploy", "churn")
    assert released(client) == [1, 2]
    (folder / "predict.py").write_text(PREDICT + "\n")
    assert "Remove 1 old release" in client("deploy", "churn", "--plan")["plan"][0]
    client("deploy", "churn")
    (folder / "predict.py").write_text(PREDICT + "\n\n")
    client("deploy", "churn")
    assert released(client) == [1, 3, 4], "the failed one went, the others did not"
    assert client("status", "churn")[0]["pinned"] == [1]
    assert "local" in listing(client).splitlines()[-1]
    assert client("unpin", "churn@1")["pinned"] == []
    assert [each["pinned"] for each in client("versions", "churn")] == [[], [], [], []]
    assert "PINNED" not in listing(client)
    (folder / "predict.py").write_text(PREDICT + "\n\n\n")
    client("deploy", "churn")
    assert released(client) == [3, 4, 5]
