"""The keeper: starts, restarts, stops, survives; its port never stops listening."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection

import psutil
import pytest

from .conftest import call, wait_for

MODEL = "import os\ndef predict(m, i):\n    return os.getppid()\n"


class Keeper:
    def __init__(self, instance, port=0):
        self.instance = instance
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                instance.program,
                "keeper",
                "--instance",
                instance.folder,
                "--port",
                str(port),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with self.process.stdout as said:
            self.line = json.loads(said.readline())
            self.rest = said.read()  # ends at once, though the keeper goes on
        self.port = self.line.get("port")

    def order(self, do, **more):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.instance.folder / "run" / "keeper.sock"))
            sock.sendall(json.dumps({"do": do, **more}).encode() + b"\n")
            return json.loads(sock.makefile().readline())

    def fronts(self):
        return self.order("status")["fronts"]

    def post(self, body="1", timeout=15):
        return call(HTTPConnection("127.0.0.1", self.port, timeout=timeout), "POST", "/score", body)

    def state(self, release):
        client = HTTPConnection("localhost", timeout=10)
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.connect(str(self.instance.folder / "run" / f"{release}.sock"))
        return call(client, "GET", "/admin/state").json

    def log(self, release):
        return (self.instance.folder / "log" / f"{release}.log").read_text()

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(40)


@pytest.fixture
def keep(instance):
    keepers = []

    def start(port=0):
        keepers.append(Keeper(instance, port))
        return keepers[-1]

    yield start
    for keeper in keepers:
        keeper.close()


def test_it_says_where_it_listens_and_lets_go_of_stdout(keep):
    keeper = keep()
    assert keeper.line == {"port": keeper.port, "pid": keeper.process.pid}
    assert keeper.rest == b""


def test_it_starts_current(instance, keep):
    name = instance.release(MODEL)
    keeper = keep()
    answer = keeper.post()
    assert answer.json == {"predictions": keeper.fronts()[name]["pid"]}


def test_orders(instance, keep):
    keeper = keep()
    assert keeper.fronts() == {}
    name = instance.release(MODEL)
    assert keeper.order("start", release=name)["ok"]
    assert keeper.order("start", release=name)["ok"]
    assert keeper.post().status == 200
    assert keeper.order("status")["port"] == keeper.port
    assert keeper.order("stop", release=name) == {"ok": True}
    assert keeper.fronts() == {}
    assert "draining" in keeper.log(name)


def test_a_front_can_be_stopped_and_started_at_once(instance, keep):
    name = instance.release(MODEL)
    keeper = keep()
    assert keeper.post().status == 200
    before = keeper.fronts()[name]["pid"]
    stopping = threading.Thread(target=keeper.order, args=["stop"], kwargs={"release": name})
    stopping.start()
    wait_for(lambda: keeper.fronts().get(name, {"stopping": True})["stopping"])
    assert keeper.order("start", release=name)["pid"] != before
    stopping.join()
    assert (keeper.post().status, keeper.fronts()[name]["restarts"]) == (200, 0)


@pytest.mark.parametrize(
    "order", [{"do": "dance"}, {}, {"do": "start"}, {"do": "start", "release": "none"},
              {"do": "start", "release": "../x"}]
)  # fmt: skip
def test_orders_not_understood_are_answered(keep, order):
    keeper = keep()
    assert "error" in keeper.order(order.pop("do", None), **order)


def test_a_killed_front_is_restarted_and_nobody_is_refused(instance, keep):
    name = instance.release(MODEL)
    keeper = keep()
    assert keeper.post().status == 200
    first = keeper.fronts()[name]["pid"]
    os.kill(first, signal.SIGKILL)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(keeper.post())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 20
    front = keeper.fronts()[name]
    assert (front["restarts"], front["exit"]) == (1, -9)
    assert front["pid"] != first


def test_a_front_that_cannot_load_is_tried_with_growing_pauses(instance, keep):
    name = instance.release(
        "def load(a):\n    raise OSError('no weights')\n" + MODEL, current=False
    )
    keeper = keep()
    keeper.order("start", release=name)
    wait_for(lambda: keeper.fronts()[name]["exit"] == 1)
    assert "no weights" in keeper.log(name)
    time.sleep(1.5)
    assert keeper.fronts()[name]["restarts"] <= 4
    keeper.order("stop", release=name)
    wait_for(lambda: keeper.fronts() == {})


def test_a_release_without_a_runtime_is_reported(instance, keep):
    name = instance.release(MODEL, current=False)
    (instance.releases / name / "runtime" / "env").unlink()
    keeper = keep()
    keeper.order("start", release=name)
    wait_for(lambda: keeper.fronts()[name]["exit"] == 127)
    assert "cannot start" in keeper.log(name)


def test_two_releases_side_by_side_and_a_switch(instance, keep):
    old = instance.release(MODEL)
    keeper = keep()
    assert keeper.post().headers["X-Model-Version"] == "1"
    new = instance.release(MODEL + "# 2\n", number=2, current=False)
    keeper.order("start", release=new)
    wait_for(
        lambda: (instance.folder / "run" / f"{new}.sock").exists() and keeper.state(new)["ready"]
    )
    assert {keeper.post().headers["X-Model-Version"] for _ in range(10)} == {"1"}
    instance.switch(new)
    client = HTTPConnection("localhost", timeout=10)
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.connect(str(instance.folder / "run" / f"{new}.sock"))
    assert call(client, "POST", "/admin/serve").status == 200
    keeper.order("stop", release=old)
    wait_for(lambda: old not in keeper.fronts())
    assert {keeper.post().headers["X-Model-Version"] for _ in range(10)} == {"2"}


def test_quit_ends_all(instance, keep):
    name = instance.release(MODEL)
    keeper = keep()
    keeper.post()
    pid = keeper.fronts()[name]["pid"]
    assert keeper.order("quit") == {"ok": True}
    assert keeper.process.wait(10) == 0
    assert not psutil.pid_exists(pid)
    assert not (instance.folder / "run" / "keeper.sock").exists()


def test_fronts_drain_when_their_keeper_is_killed_and_a_new_one_takes_over(instance, keep):
    name = instance.release(MODEL)
    keeper = keep()
    keeper.post()
    pid = keeper.fronts()[name]["pid"]
    keeper.process.kill()
    keeper.process.wait()
    wait_for(lambda: not psutil.pid_exists(pid))
    assert keep(keeper.port).post().status == 200


def test_a_hangup_does_not_end_it(instance, keep):
    keeper = keep()
    keeper.process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert keeper.fronts() == {}


def test_a_port_that_is_taken_is_one_clear_line(instance, keep):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        keeper = keep(taken.getsockname()[1])
        assert "Address already in use" in keeper.line["error"]
        assert keeper.process.wait(5) == 1


def test_a_second_keeper_is_refused(keep):
    keep()
    assert "another keeper is running" in keep().line["error"]


def test_a_log_that_has_grown_starts_over(instance, keep):
    name = instance.release(MODEL)
    log = instance.folder / "log" / f"{name}.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * (11 << 20))
    keep().post()
    assert log.stat().st_size < 1 << 20
    assert log.with_name(log.name + ".1").stat().st_size == 5 << 20
