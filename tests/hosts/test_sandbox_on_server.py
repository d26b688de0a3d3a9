"""What models do when they load and predict, in the sandbox of a real service: what works on
`local` works there, or is refused with a reason."""

import json

import pytest
from client import Failed, write_model

PROBES = """
import multiprocessing, os, shutil, socket, sqlite3, subprocess, sys, tempfile, threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import shared_memory
from pathlib import Path

HERE = Path.cwd()


def square(number):
    return number * number


def pool(kind):
    with multiprocessing.get_context(kind).Pool(2) as workers:
        return workers.map(square, [1, 2, 3])


def threads(many=300):
    end = threading.Event()
    each = [threading.Thread(target=end.wait) for _ in range(many)]
    for thread in each:
        thread.start()
    end.set()
    return len([thread.join() for thread in each])


def shared():
    block = shared_memory.SharedMemory(create=True, size=1 << 20)
    block.buf[-1] = 7
    block.close()
    block.unlink()


def write(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Path(path).write_text("x")


def cache():
    return write(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lib" / "x")


def temporary():
    with tempfile.TemporaryDirectory() as folder:
        program = shutil.copy2(HERE / "predict.py", folder)
        Path(program).chmod(0o700)
        return write(Path(folder, "x"))


def program():
    asked = [sys.executable, "-c", "print(6 * 7)"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


def database():
    with sqlite3.connect(HERE / "artifacts" / "facts.db") as facts:
        return facts.execute("select * from facts").fetchall()


def wal(how=""):
    with sqlite3.connect(f"file:{HERE}/artifacts/wal.db{how}", uri=True) as facts:
        return facts.execute("select * from facts").fetchall()


def itself():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def own(number=19):
    return os.nice(number - os.nice(0))


DO = {
    "home": Path.home,
    "cache": cache,
    "temporary": temporary,
    "shm": lambda: write("/dev/shm/left"),
    "shared": shared,
    "fork": lambda: pool("fork"),
    "spawn": lambda: pool("spawn"),
    "threads": threads,
    "thread pool": lambda: list(ThreadPoolExecutor(4).map(square, [4])),
    "program": program,
    "affinity": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
    "batch": lambda: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)),
    "database": database,
    "immutable": lambda: wal("?mode=ro&immutable=1"),
    "itself": itself,
    "lower": own,
    "higher": lambda: own(-5),
    "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "wal": wal,
    "beside": lambda: write(HERE / "x"),
    "etc": lambda: write("/etc/x"),
    "blobs": lambda: os.listdir(HERE.parents[4] / "blobs"),
    "shadow": lambda: Path("/etc/shadow").read_text(),
    "left": lambda: os.listdir("/dev/shm"),
}


def attempt(name):
    try:
        return ["did", repr(DO[name]())]
    except BaseException as error:
        return [type(error).__name__, str(error)]


def predict(inputs: list):
    return [{name: attempt(name) for name in (DO if row == [0] else row)} for row in inputs]
"""
LIBRARIES = """
import io

import joblib
import matplotlib
import numba
import numpy


@numba.njit(cache=True)
def doubled(number):
    return number * 2


@numba.njit(parallel=True)
def total(numbers):
    found = 0.0
    for place in numba.prange(numbers.size):
        found += numbers[place]
    return found


def drawn():
    matplotlib.use("Agg")
    from matplotlib import pyplot

    file = io.BytesIO()
    pyplot.plot([1, 2])
    pyplot.savefig(file)
    return file.tell() > 1000


def pools():
    numbers = numpy.ones(1_000_000)  # so large that it goes by way of /dev/shm
    for backend in "loky", "multiprocessing", "threading":
        parallel = joblib.Parallel(n_jobs=2, backend=backend)
        yield sum(parallel(joblib.delayed(numpy.sum)(numbers) for _ in range(2)))


def predict(inputs: numpy.ndarray):
    if len(inputs) > 1:
        return inputs.sum(axis=1)
    return [[doubled(21), total(numpy.ones(1000)), drawn(), *pools()]]
"""
REFUSED = {"higher", "real time", "wal", "beside", "etc", "shadow"}
HIDDEN = {"root": {"blobs"}, "user": set()}
"""What belongs to all models; a plain user's are all hers."""


def with_databases(folder):
    """Two of SQLite, the second as databases are that somebody writes to."""
    import sqlite3

    for name, mode in ("facts", "delete"), ("wal", "wal"):
        with sqlite3.connect(folder / "artifacts" / f"{name}.db") as facts:
            facts.execute(f"pragma journal_mode={mode}")
            facts.execute("create table facts (number)")
            facts.execute("insert into facts values (7)")
        facts.close()
    return folder


@pytest.fixture(params=["root", pytest.param("user", marks=pytest.mark.faults)])
def mode(request):
    return request.param


@pytest.fixture
def client(client):
    yield client
    client.undeploy_all()


def ask(client, name, row, spaces=0):
    data = client.home / "data.json"
    data.write_text(json.dumps({"inputs": [row]}) + " " * spaces)
    return client("score", name, "--data", str(data))["answer"]["predictions"][0]


def test_models_do_in_a_service_what_they_do_elsewhere(client, mode, guest, tmp_path):
    name = f"probes-{mode}"
    folder = with_databases(write_model(tmp_path / "model", name, script=PROBES))
    (folder / "sample.json").write_text('{"inputs": [["home"]]}')
    client("deploy", str(folder), "--to", "srv")
    said = ask(client, name, [0], spaces=1_200_000)  # so large a body is read beside the front
    assert {each for each, (how, _) in said.items() if how != "did"} == REFUSED | HIDDEN[mode], said
    assert said["wal"] == ["OperationalError", "unable to open database file"]
    assert said["higher"][0] == said["real time"][0] == "PermissionError"
    assert "left" in said["left"][1]
    assert "left" not in guest.run(["ls", "/dev/shm"]).stdout.split()


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("open('cache.bin', 'w')", "writes only to"),
        ("import sqlite3; sqlite3.connect('artifacts/wal.db').execute('select * from facts')",
         "mode=ro&immutable=1"),
        ("import os; os.chown('/tmp', 0, 0)", "sandbox may forbid it"),
        ("import socket; socket.socket(socket.AF_NETLINK)", "only IP and Unix sockets"),
    ],
    ids=["write", "database", "privilege", "socket"],
)  # fmt: skip
@pytest.mark.faults
def test_what_the_sandbox_forbids_is_said_where_a_deployment_fails(client, tmp_path, body, hint):
    script = (
        f"def load(artifacts):\n    {body}\n\ndef predict(model, inputs: list):\n    return [0]"
    )
    folder = with_databases(write_model(tmp_path / "model", "forbidden", script=script))
    with pytest.raises(Failed) as failed:
        client("deploy", str(folder), "--to", "srv")
    assert hint in failed.value.problem["cause"]
    assert (
        f"worker: {failed.value.problem['cause'].partition('. ')[2]}"
        in (failed.value.problem["detail"])
    )


@pytest.mark.faults
def test_libraries_and_large_bodies_work_in_a_service(client, mode, tmp_path):
    """2 and 42 MB of JSON are more than the front reads by itself, and than one answer's part."""
    folder = write_model(tmp_path / "model", f"libraries-{mode}", script=LIBRARIES)
    (folder / "requirements.txt").write_text("numpy\nnumba\njoblib\nmatplotlib\n")
    with (folder / "rhythmicml.toml").open("a") as file:
        file.write("[deploy]\nmax_request_rows = 10_000_000\n")
    client("deploy", str(folder), "--to", "srv", timeout=500)
    expected = [42, 1000.0, True, 2_000_000.0, 2_000_000.0, 2_000_000.0]
    assert ask(client, f"libraries-{mode}", [1, 2, 3]) == expected
    data = client.home / "large.json"
    for many in 100_000, 2_000_000:
        data.write_text(json.dumps({"inputs": [[1.5, 2.25, 3.125]] * many}))
        answer = client("score", f"libraries-{mode}", "--data", str(data), timeout=300)["answer"]
        assert answer["predictions"] == [6.875] * many
