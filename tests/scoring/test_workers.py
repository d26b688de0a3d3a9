"""The lives of workers: forked, recycled, replaced, given up."""

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from app.scoring.errors import worker_died
from app.scoring.launch import ending

from .conftest import wait_for
from .test_batching import together

PID = "import os\ndef predict(model, inputs):\n    return os.getpid()\n"
LOADS = """
import os, signal, time

def load(artifacts):
    with open("loads", "a") as file:
        file.write(f"{os.getpid()}\\n")
    return os.getpid()

def predict(model, inputs):
    if isinstance(inputs, dict) and "crash" in inputs:
        os.kill(os.getpid(), getattr(signal, inputs["crash"]))
    if isinstance(inputs, dict) and "hang" in inputs:
        time.sleep(60)
    time.sleep(0.2 if isinstance(inputs, dict) else 0)
    return [model, os.getpid(), os.getppid()]
"""


def loads(front_folder):
    return (front_folder / "files" / "loads").read_text().split()


def folder(instance):
    return (instance.releases / "current").resolve()


def state(front):
    return front.admin("GET", "/admin/state").json


def metric(front, name):
    text = front.get("/metrics").body.decode()
    return float(re.search(rf"^rhythmicml_{name}{{[^}}]*}} (\S+)", text, re.M)[1])


def ready(front):
    return front.get("/readyz").status == 200


# Preload


def test_a_preloaded_model_is_loaded_once_and_forked(serve, instance):
    front = serve(LOADS, workers=3, preload=True, batch=None)
    said = [answer.json["predictions"] for answer in together(front, [{}] * 9)]
    (template,) = {model for model, _, _ in said}
    assert loads(folder(instance)) == [str(template)]
    assert {parent for _, _, parent in said} == {template}
    assert len({pid for _, pid, _ in said}) == 3
    workers = {worker["pid"] for worker in state(front)["workers"]}
    assert workers == {pid for _, pid, _ in said}


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_a_crashed_fork_is_replaced_by_a_fork(serve, instance, name):
    front = serve(LOADS, preload=True)
    assert front.post("/score", {"crash": name}).status == 500
    wait_for(lambda: ready(front))
    assert front.score([1])[0] == int(loads(folder(instance))[0])
    assert len(loads(folder(instance))) == 1
    assert f"by {name}" in front.log
    assert state(front)["workers"][0]["restarts"] == 1


def test_a_hanging_fork_is_killed_and_replaced(serve):
    front = serve(LOADS, preload=True, timeout=0.6)
    _, before, template = front.score([1])
    assert front.post("/score", {"hang": 1}).status == 504
    wait_for(lambda: ready(front))
    _, after, parent = front.score([1])
    assert (after != before, parent) == (True, template)
    wait_for(lambda: not psutil.pid_exists(before))


def test_a_dead_template_is_started_anew_and_its_forks_with_it(serve, instance):
    front = serve(LOADS, workers=2, preload=True)
    template, old, _ = front.score([1])
    os.kill(template, signal.SIGKILL)
    wait_for(lambda: len(loads(folder(instance))) == 2 and ready(front))
    fresh, pid, parent = front.score([1])
    assert (fresh != template, pid != old, parent) == (True, True, fresh)
    wait_for(lambda: len(psutil.Process(fresh).children()) == 2)
    wait_for(lambda: not psutil.pid_exists(old))


def test_a_template_that_does_not_listen_is_ended_with_its_hanging_fork(serve, instance):
    front = serve(LOADS, preload=True, timeout=0.5)
    _, old, template = front.score([1])
    os.kill(template, signal.SIGSTOP)
    assert front.post("/score", {"hang": 1}).status == 504
    wait_for(lambda: len(loads(folder(instance))) == 2 and ready(front), 30)
    assert front.score([1])[2] != template
    wait_for(lambda: not psutil.pid_exists(old))


def test_forks_end_with_the_front(serve):
    front = serve(LOADS, workers=2, preload=True)
    _, pid, template = front.score([1])
    front.process.kill()
    front.process.wait()
    wait_for(lambda: not psutil.pid_exists(pid) and not psutil.pid_exists(template))


def test_a_front_with_a_template_drains(serve):
    front = serve(LOADS, workers=2, preload=True)
    _, pid, template = front.score([1])
    assert front.end() == 0
    wait_for(lambda: not psutil.pid_exists(pid) and not psutil.pid_exists(template))


def test_forks_share_the_memory_of_the_model(serve, science, instance):
    instance.python = science
    script = """
import os
import numpy as np

def load(artifacts):
    return np.load(artifacts / "weights.npy")

def predict(model, inputs):
    return [os.getpid(), float(model.sum())]
"""
    import_numpy = f"import numpy; numpy.save('weights.npy', numpy.ones({200 << 17}))"
    weights = folder_with_weights(instance, science, import_numpy)
    front = serve(script, workers=2, preload=True, files={"artifacts/weights.npy": weights})
    pid, total = front.score([1])
    assert total == 200 << 17
    memory = Path(f"/proc/{pid}/smaps_rollup").read_text()
    resident, share = (
        int(re.search(rf"^{name}: +(\d+)", memory, re.M)[1]) for name in ("Rss", "Pss")
    )
    assert resident > 200_000
    assert share < resident * 0.6


def folder_with_weights(instance, science, source):
    import subprocess

    subprocess.run([science / "bin" / "python", "-c", source], cwd=instance.folder, check=True)
    return (instance.folder / "weights.npy").read_bytes()


def test_a_template_that_cannot_load_fails_once(serve):
    script = "def load(a):\n    raise OSError('no weights')\ndef predict(m, i): ...\n"
    front = serve(script, ready=False, workers=3, preload=True)
    assert front.process.wait(20) == 1
    assert front.log.count("Traceback") == 1
    assert "OSError: no weights" in front.log


def test_a_fork_that_hangs_on_the_sample_names_preload(serve):
    script = """
import os, time

def load(artifacts):
    return os.getpid()

def predict(model, inputs):
    while model != os.getpid():
        time.sleep(0.05)
"""
    front = serve(
        script,
        ready=False,
        preload=True,
        start_timeout=1.5,
        sample="sample.json",
        files={"sample.json": b"[1]"},
    )
    assert front.process.wait(20) == 1
    assert "Set preload = false" in front.log


@pytest.mark.parametrize("preload", [False, True])
def test_every_worker_predicts_the_sample_before_ready(serve, preload):
    # In one piece: what several processes say at once would be mixed.
    script = "import os\ndef predict(m, i):\n    print(f'on {os.getpid()}')\n    return i\n"
    files = {"sample.json": b"[41]"}
    front = serve(script, workers=3, preload=preload, sample="sample.json", files=files)
    before = front.log.partition("is ready")[0]
    assert set(re.findall(r"on (\d+)", before)) == {str(w["pid"]) for w in state(front)["workers"]}


# Recycling


@pytest.mark.parametrize("preload", [False, True])
def test_workers_are_recycled_after_so_many_requests_without_a_refusal(serve, preload):
    front = serve(LOADS, preload=preload, recycle_requests=20, batch=None)

    def client(_):
        return [front.post("/score", [1]) for _ in range(40)]

    with ThreadPoolExecutor(4) as threads:
        answers = [answer for some in threads.map(client, range(4)) for answer in some]
    assert {answer.status for answer in answers} == {200}
    wait_for(lambda: metric(front, "worker_recycles_total") >= 1)
    assert metric(front, "worker_restarts_total") == 0
    if not preload:
        wait_for(lambda: len(psutil.Process(front.process.pid).children()) <= 2)


def test_a_worker_that_grew_is_recycled(serve):
    script = """
import os
HELD = []

def predict(model, inputs):
    HELD.append(b"x" * inputs)
    return os.getpid()
"""
    front = serve(script, recycle_memory=150 << 20)
    before = front.score("1000")
    front.score(str(200 << 20))
    limit = time.monotonic() + 20
    while front.score("1000") == before:
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert metric(front, "worker_recycles_total") == 1


def test_a_model_larger_than_recycle_memory_is_not_recycled_for_ever(serve):
    front = serve(PID, recycle_memory=1 << 20)
    before = front.score("1")
    time.sleep(1.2)
    assert {front.score("1") for _ in range(3)} == {before}
    assert metric(front, "worker_recycles_total") == 0


def test_a_replacement_that_cannot_load_leaves_the_old_worker(serve, instance):
    script = """
import os

def load(artifacts):
    if os.path.exists("broken"):
        raise OSError("gone")

def predict(model, inputs):
    return os.getpid()
"""
    front = serve(script, recycle_requests=3, batch=None)
    before = front.score("1")
    (folder(instance) / "files" / "broken").touch()
    assert {front.score("1") for _ in range(5)} == {before}
    wait_for(lambda: "to replace" in front.log)
    assert front.score("1") == before
    assert metric(front, "worker_restarts_total") == 0


# Hung and crashing loads

BREAKABLE = """
import os, time

def load(artifacts):
    if os.path.exists("hang"):
        time.sleep(600)
    if os.path.exists("broken"):
        raise OSError("no weights at " + os.path.abspath("broken"))
    if os.path.exists("dead"):
        os._exit(3)

def predict(model, inputs):
    return os.getpid()
"""


@pytest.mark.parametrize("preload", [False, True])
def test_a_replacement_that_hangs_while_loading_is_killed(serve, instance, preload):
    front = serve(BREAKABLE, start_timeout=5, preload=preload)
    pid = front.score("1")
    hang = folder(instance) / "files" / "hang"
    hang.touch()
    victim = psutil.Process(pid).ppid() if preload else pid
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: "had not loaded within 5 s" in front.log or "while it was" in front.log, 30)
    hang.unlink()
    wait_for(lambda: ready(front), 30)


def test_a_crash_loop_is_told_in_full_only_in_private(serve, instance):
    front = serve(BREAKABLE)
    pid = front.score("1")
    broken = folder(instance) / "files" / "broken"
    broken.touch()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "no weights" in state(front)["error"])
    public = front.get("/readyz")
    assert public.status == 503
    assert public.json["error"] == (
        "The model is not ready. Loading it raised OSError. Try again shortly."
    )
    assert "broken" not in front.post("/score", [1]).body.decode()
    private = front.admin("GET", "/readyz")
    assert private.status == 503
    for told in (private.json["traceback"], state(front)["traceback"]):
        assert told.startswith("Traceback")
        assert str(broken) in told
    broken.unlink()
    wait_for(lambda: ready(front))


def test_nobody_waits_for_a_worker_that_ends_again_and_again(serve, instance):
    front = serve(BREAKABLE)
    pid = front.score("1")
    broken = folder(instance) / "files" / "broken"
    broken.touch()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "OSError" in front.get("/readyz").body.decode())
    began = time.monotonic()
    assert front.post("/score", {}).status == 503
    assert time.monotonic() - began < 1
    broken.unlink()
    wait_for(lambda: front.post("/score", {}).status == 200)


def test_a_crash_is_named(serve, instance):
    front = serve(BREAKABLE)
    pid = front.score("1")
    (folder(instance) / "files" / "dead").touch()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "exit code 3" in state(front)["error"])
    said = front.get("/readyz").json["error"]
    assert "While loading the model, the worker ended with exit code 3." in said


def test_a_worker_killed_from_outside_may_have_been_out_of_memory(serve):
    slow = PID + "\nimport time\ndef load(artifacts):\n    time.sleep(1)\n"
    front = serve(slow)
    os.kill(front.score("1"), signal.SIGKILL)
    wait_for(lambda: "SIGKILL; the system may have run out of memory" in state(front)["error"])
    wait_for(lambda: ready(front))
    assert front.score("1")
    assert state(front)["error"] == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [("SIGKILL", "more memory"), ("SIGSEGV", "Compiled code"), ("SIGABRT", "gave up")],
)
def test_the_caller_learns_how_the_process_died(serve, name, words):
    said = serve(LOADS).post("/score", {"crash": name}).json["error"]
    assert said["cause"].startswith(f"It ended by {name}")
    assert words in said["remedy"]
    assert ("out of memory" in said["cause"]) == (name == "SIGKILL")


def test_other_ends_of_a_process_have_no_known_cause():
    for fate in ("with exit code 3", "by SIGTERM", "by signal 200", "by us"):
        said = worker_died(fate)
        assert (said.cause, said.remedy) == (f"It ended {fate}.", "Its log may say why.")


def test_a_segfault_leaves_a_traceback_in_the_log(serve):
    front = serve(LOADS)
    assert front.post("/score", {"crash": "SIGSEGV"}).status == 500
    wait_for(lambda: "Fatal Python error: Segmentation fault" in front.log)


@pytest.mark.parametrize(
    ("code", "said"),
    [(0, "with exit code 0"), (-11, "by SIGSEGV"), (-200, "by signal 200")],
)
def test_endings_in_words(code, said):
    assert ending(code) == said


def test_workers_load_at_the_same_time(serve, instance):
    script = """
import os, time

def load(artifacts):
    open(f"loading.{os.getpid()}", "w").close()
    limit = time.monotonic() + 20
    while len([name for name in os.listdir() if name.startswith("loading.")]) < 2:
        assert time.monotonic() < limit, "alone"
        time.sleep(0.02)

def predict(model, inputs):
    return inputs
"""
    assert serve(script, workers=2).score([1]) == [1]
