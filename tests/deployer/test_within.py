"""An agent within our own program: it says what one of its own does, and leaves nothing."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from app.deployer.road import open_local, open_road, open_within
from app.errors import Problem
from app.models import Location
from app.scoring.recording import File


@pytest.fixture
def base(tmp_path):
    """A host with one instance that is stopped, some of its log, and what it recorded."""
    folder = tmp_path / "base" / "instances" / "churn"
    (folder / "log").mkdir(parents=True)
    (folder / "log" / "v1-a.log").write_text("one\ntwo\n")
    (folder / "instance.json").write_text('{"port": 8101, "stopped": true}')
    File(folder / "run" / "metrics.sqlite", 4 << 20).close()
    return tmp_path / "base"


def asked(road):
    """What a look asks for."""
    lines = []
    said = road.call("status", name=None, history=5)
    road.call(
        "logs", name="churn", lines=9, follow=False, on_event=lambda event: lines.append(event)
    )
    recorded = road.call("metrics", name=None, since={}, most=1 << 20)
    return said, lines, recorded.partition(b'"instances": ')[2]


def ours():
    """What a look may leave behind: threads, open files, processes."""
    process = psutil.Process()
    return threading.active_count(), process.num_fds(), len(process.children())


def test_it_says_what_an_agent_of_its_own_says(base):
    with open_local(base) as alone, open_within(base) as within:
        assert asked(within) == asked(alone)
        assert {**within.hello, "time": 0} == {**alone.hello, "time": 0}


def test_looks_leave_nothing_behind(base):
    before = ours()
    for _ in range(20):
        with open_within(base) as road:
            asked(road)
            assert len(psutil.Process().children()) == before[2]
    assert ours() == before


def test_many_look_at_once(base):
    def look(_):
        with open_within(base) as road:
            return asked(road)

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(look, range(64)))
    assert found == [found[0]] * 64


def test_what_it_is_at_ends_with_the_way(base):
    before = ours()
    road = open_within(base)
    pending = road.send("run", argv=["sleep", "60"])
    while not psutil.Process().children():
        time.sleep(0.01)
    began = time.monotonic()
    road.close()
    with pytest.raises(Problem, match="closed"):
        pending.result(1)
    assert time.monotonic() - began < 10
    assert ours() == before


def test_a_failure_is_told_and_the_next_question_answered(base):
    with open_within(base) as road:
        with pytest.raises(Problem, match="knows no operation"):
            road.call("nonsense")
        assert road.call("status", name=None, history=0)[0]["name"] == "churn"


def test_a_base_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match="cannot be made") as refused:
        open_within(tmp_path / "file" / "base")
    with pytest.raises(Problem) as alone:
        open_local(tmp_path / "file" / "base")
    assert str(refused.value) == str(alone.value)


def test_looking_takes_no_process_and_all_else_does(base, tmp_path):
    here = Location("local", kind="local", base=str(base))
    for looking in (True, False):
        with open_road(here, tmp_path, looking=looking) as road:
            parent = int(road.call("run", argv=["sh", "-c", "echo $PPID"])["out"])
            assert (parent == os.getpid()) is looking
