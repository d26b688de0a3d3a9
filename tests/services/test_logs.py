"""Logs: hostile lines are text, cut; filters; followed; kept here for when the host is gone."""

import itertools
import os
import random
import threading
import time

import pytest
from client import Client, Failed

from app.deployer.agent import logs as agents_logs
from app.deployer.agent.lines import LEVELS, LONGEST, Sieve, level_of, plain
from app.errors import Problem
from app.models import Instance, Location
from app.services import collecting, logs
from app.store.kept_logs import KeptLogs

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e<script>alert(1)</script>"


def test_a_hostile_line_is_text_and_cut():
    shown = plain(HOSTILE + "x" * 10_000_000)
    assert shown.startswith("\\x1b[2J\\x1b]0;owned\\x07\\u202e<script>")
    assert len(shown) < LONGEST + 100
    assert shown.endswith("more characters)")
    assert shown.isprintable()
    assert plain("a\tb é 日本") == "a\tb é 日本"


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("front: v1 is ready", "info"),
        ("2026-11-28T07:00:00+0000 rhythmicml[12]: Traceback (most recent call last):", "error"),
        ("ValueError: no", "error"),
        ('  File "predict.py", line 3', ""),
        ("FutureWarning: soon", "warning"),
        ("WARNING: low memory", "warning"),
        ("DEBUG tuning", "debug"),
        ('{"time":"…","status":503,"endpoint":"score"}', "error"),
        ('{"status":404}', "warning"),
        ('{"asked":{"status":500},"status":200}', "info"),
        ('{"status":"500"}', "info"),
        ('{"status":200}', "info"),
        ("{" * 100_000, "info"),
        ("an error of style", "info"),
    ],
)
def test_the_level_of_a_line_is_told_by_its_words(line, level):
    assert level_of(line) == level


def test_a_traceback_goes_with_its_first_line():
    said = ["fine", "Traceback (most recent call last):", '  File "a.py"', "ValueError: no", "fine"]
    sieve = Sieve(level="error")
    assert [line for line in said if sieve.passes(line)] == said[1:4]
    sieve = Sieve("FILE", "error")
    assert [line for line in said if sieve.passes(line)] == said[2:3]


def test_what_serves_is_read_last_though_the_one_before_it_ended_later(work, log):
    log.write_text("v1 is ready\nv1 has ended\n")
    log.with_name("v2-b.log").write_text("v2 is ready\n")
    release = log.parents[1] / "releases" / "v2-b"
    release.mkdir(parents=True)
    (release / "release.json").write_text("{}")
    release.with_name("current").symlink_to("v2-b")
    os.utime(log.with_name("v2-b.log"), (1, 1))
    wanted = ["v1 is ready", "v1 has ended", "v2 is ready"]
    assert logs.last(work, "churn").lines == wanted
    assert logs.last(work, "churn", grep="v").lines == wanted


def test_the_last_lines_that_are_wanted(work, log):
    lines = [f"request {n}" + (" ERROR" if n % 100 == 0 else "") for n in range(30_000)]
    log.write_text("\n".join([*lines, HOSTILE, "z" * (10 << 20), "end"]) + "\n")
    last = logs.last(work, "churn", lines=4).lines
    assert last[-1] == "end"
    assert max(map(len, last)) < LONGEST + 100
    found = logs.last(work, "churn", lines=3, level="error").lines
    assert found == [f"request {n} ERROR" for n in (29700, 29800, 29900)]
    assert logs.last(work, "churn", grep="OWNED").lines == [plain(HOSTILE)]
    assert logs.last(work, "churn", grep="nothing like it").lines == []
    client = Client(work.home)
    assert client("logs", "churn", "--grep", "request 7 ", "--level", "error") == []
    assert client("logs", "churn", "--grep", "owned") == [plain(HOSTILE)]


@pytest.mark.parametrize("block", [40, 300, 1 << 20])
def test_from_the_end_the_same_lines_are_found(tmp_path, monkeypatch, block):
    monkeypatch.setattr(agents_logs, "BLOCK", block)
    dice = random.Random(block)
    said = (
        *("fine", "", "WARN é", "Traceback (most", '  File "a.py"', "\t", "ValueError: no"),
        *('{"status":200}', '{"status": 503}', '{"status":404,"a":1}', "  ERROR", "STRASSE"),
        "x" * 99,
    )
    files = [tmp_path / "a.log", tmp_path / "b.log"]
    for file in files:
        file.write_text("\n".join([*dice.choices(said, k=400), "end"]))
    for grep, level, most in itertools.product(("", "no", "straße", "É"), LEVELS, (1, 7, 10_000)):
        if Sieve(grep, level).open:
            continue
        every = []
        for file in files:
            sieve = Sieve(grep, level)
            every += [line for line in file.read_text().split("\n") if sieve.passes(line)]
        assert agents_logs._last(files, most, Sieve(grep, level)) == every[-most:], (grep, level)


def test_followed_with_a_filter_also_where_a_line_does_not_end(work, log):
    log.write_text("old ERROR\n")
    following = logs.tail(work, "churn", follow=True, level="error")
    assert next(line for line in following if line) == "old ERROR"

    def write():
        with log.open("a") as file:
            file.write("fine\nhalf")
            file.flush()
            time.sleep(0.5)
            file.write(" an ERROR\n" + "ERROR " * 500_000)

    thread = threading.Thread(target=write)
    thread.start()
    said = list(itertools.islice((line for line in following if line), 2))
    thread.join()
    following.close()
    assert said[0] == "half an ERROR"
    assert said[1].startswith("ERROR ERROR")
    assert len(said[1]) < LONGEST + 100


def test_what_was_said_stays_readable_when_the_instance_is_gone(work, log):
    log.write_text(f"ready\nValueError: no\n{HOSTILE}\n")
    with work.open_store() as store:
        place = store.locations.get("local")
    with work.reach(place) as road:
        collecting._bring(work, road, "local", {"churn"})
    kept = KeptLogs(work.home)
    _, lines = kept.get("churn", "local")
    assert lines == ["ready", "ValueError: no", plain(HOSTILE)]
    path = work.home / "logs" / "local" / "churn.json.gz"
    assert path.stat().st_mode & 0o777 == 0o600
    assert logs.due(work, "local", ["churn"]) == []
    os.utime(path, (0, 0))
    assert logs.due(work, "local", ["churn"]) == ["churn"]

    with work.open_store() as store:
        store.instances.remove("churn", "local")
        store.locations.add(Location("away", "ssh", "ssh://nobody@127.0.0.1:9"))
        store.instances.upsert(Instance("churn", "away", 8101, "v1-a", 1, "serving"))
    kept.keep("churn", "away", time.time() - 500, lines)
    found = logs.last(work, "churn", to="away", level="error")
    assert (found.lines, found.kept_at < time.time()) == (["ValueError: no"], True)
    assert "127.0.0.1" in found.why
    with pytest.raises(Problem):
        logs.last(work, "churn", to="nowhere")


def test_a_kept_file_that_is_damaged_is_none(work):
    kept = KeptLogs(work.home)
    for text in (b"", b"nonsense", b"\x1f\x8b\x08\x00broken"):
        kept.keep("churn", "local", 1.0, ["x"])
        (work.home / "logs" / "local" / "churn.json.gz").write_bytes(text)
        assert kept.get("churn", "local") is None
    with pytest.raises(Failed):
        Client(work.home)("logs", "churn")
