"""What must be true after every fault, whatever it was: I1 to I7, one function for all tests."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client import Client
from guests import Guest

from app.deployer.agent.instances import OURS

SYSTEM_BASE = "/var/lib/rhythmicml"
ASK = r"""
import http.client, json, sys
seen = []
for _ in range(10):
    link = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
    link.request("POST", "/score", b'{"inputs": [[1, 2, 3]]}', {"Content-Type": "application/json"})
    answer = link.getresponse()
    answer.read()
    seen.append([answer.status, answer.headers["X-Release"]])
    link.close()
print(json.dumps(seen))
"""


def here(argv: list[str], check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=check)


@dataclass
class Site:
    """One model of one client on one host. run: a command there. again: a deploy that must work."""

    client: Client
    name: str
    to: str
    base: str = SYSTEM_BASE
    run: Callable[..., subprocess.CompletedProcess[str]] = here
    again: tuple[str, ...] = ()
    acknowledged: list[int] = field(default_factory=list)

    @classmethod
    def on(cls, guest: Guest, client: Client, name: str, to: str = "srv") -> Site:
        return cls(client, name, to, run=guest.run)

    @classmethod
    def local(cls, client: Client, name: str) -> Site:
        return cls(client, name, "local", str(client.home / "local"))

    @property
    def folder(self) -> str:
        return f"{self.base}/instances/{self.name}"

    @property
    def by_systemd(self) -> bool:
        return self.to != "local"

    def shell(self, command: str) -> str:
        return self.run(["sh", "-c", command], check=False).stdout

    def current(self) -> str:
        return self.shell(f"readlink {self.folder}/releases/current").strip()

    def port(self) -> int:
        return int(json.loads(self.shell(f"cat {self.folder}/instance.json"))["port"])

    def complete(self) -> set[str]:
        found = self.shell(f"ls -d {self.folder}/releases/v*/release.json")
        return {line.split("/")[-2] for line in found.splitlines()}

    def deploy(self) -> dict[str, Any]:
        """A deployment that is told about and counted among the acknowledged."""
        done: dict[str, Any] = self.client("deploy", *(self.again or (self.name,)), "--to", self.to)
        self.acknowledged.append(done["version"])
        return done


def check_invariants(site: Site, within: float = 60.0) -> float:
    """I1 to I7 of faults.md, section 8. Gives the seconds that the lock was still held."""
    held = _lock_is_free(site, within)
    _production_answers(site)
    _truth_is_told(site)
    _half_releases_do_not_start(site)
    _same_deployment_works(site)
    _production_answers(site)
    _nothing_is_left_over(site)
    _store_is_whole(site)
    return held


def _lock_is_free(site: Site, within: float) -> float:
    """I4"""
    began = time.monotonic()
    lock = f"{site.folder}/lock"
    while site.run(
        ["sh", "-c", f"! test -e {lock} || flock -n {lock} true"], check=False
    ).returncode:
        assert time.monotonic() - began < within, (
            f"I4: the lock is held: {site.shell(f'cat {lock}')}"
        )
        time.sleep(0.1)
    return time.monotonic() - began


def _production_answers(site: Site) -> None:
    """I1: it answers, and each answer is of one complete release. Nothing, if there is none."""
    if not site.current():
        return
    answers = json.loads(site.run(["python3", "-c", ASK, str(site.port())]).stdout)
    assert {status for status, _ in answers} == {200}, f"I1: {answers}"
    assert {release for _, release in answers} <= site.complete(), f"I1: {answers}"


def _truth_is_told(site: Site) -> None:
    """I2: production here is production there, and no result says otherwise."""
    rows = [row for row in site.client("status") if row["model"] == site.name]
    current = site.current()
    assert [row["release"] or "" for row in rows] in ([current], [] if not current else None), "I2"
    last = next(e for e in site.client("history", site.name) if e["action"] in ("deploy", "switch"))
    waiting = "unconfirmed.json" in site.shell(f"ls {site.folder}")
    wanted = {
        "done": last["release"],
        "interrupted": last["previous"],
        "taken back": last["previous"],
        "failed": last["previous"],
        "unknown": current if waiting else "no longer unknown",
        "": current if waiting else "no longer under way",
    }
    assert wanted[last["result"]] == current, f"I2: {last['result']}, production is {current}"
    if last["result"] not in ("done", "failed") and rows:
        assert "rhythmicml" in rows[0]["note"], "I2: nobody says how to go on"


def _half_releases_do_not_start(site: Site) -> None:
    """I3"""
    if not site.by_systemd:
        return
    there = site.shell(f"ls {site.folder}/releases").split()
    for release in {each for each in there if each.startswith("v")} - site.complete():
        unit = f"rhythmicml-{site.name}@{release}.service"
        site.run(["systemctl", "start", unit], check=False)
        assert site.shell(f"systemctl is-active {unit}").strip() != "active", f"I3: {release}"


def _same_deployment_works(site: Site) -> None:
    """I5: and a second one finds nothing to do."""
    done = site.deploy()
    assert site.current() == done["release"], "I5"
    assert site.deploy()["changed"] is False, "I5"


def _nothing_is_left_over(site: Site) -> None:
    """I6"""
    known = "-name .lock -o -name .complete -o -name .ports -o -name '.tls-*'"
    hidden = site.shell(
        f"find {site.base} -path '*/envs/*/*' -prune -o -path '*/runtime/*/*' -prune -o "
        f"-path '*/cache/*' -prune -o -name '.*' ! \\( {known} \\) -print"
    )
    assert [each for each in hidden.splitlines() if not each.endswith(".lock")] == [], "I6"
    assert site.shell(f"ls -A {site.base}/tmp 2>/dev/null") == "", "I6"
    assert set(site.shell(f"ls -A {site.base}").split()) <= OURS, "I6"
    assert "unconfirmed.json" not in site.shell(f"ls {site.folder}"), "I6"
    there = {e for e in site.shell(f"ls {site.folder}/releases").split() if e != "current"}
    assert there <= site.complete(), f"I6: {there - site.complete()}"
    if site.by_systemd:
        units = site.shell(f"systemctl list-units --plain --no-legend 'rhythmicml-{site.name}@*'")
        assert len(units.splitlines()) == 1, f"I6: {units}"
        timers = site.shell("systemctl list-timers --plain --no-legend 'rhythmicml-guard-*'")
        assert f"guard-{site.name}." not in timers, f"I6: {timers}"


def _store_is_whole(site: Site) -> None:
    """I7: SQLite finds nothing wrong, what was acknowledged is there, blobs are what they say."""
    with closing(sqlite3.connect(site.client.home / "store.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "I7"
        rows = database.execute(
            "SELECT number, manifest, lock FROM versions WHERE model_id ="
            " (SELECT id FROM models WHERE name = ?)",
            [site.name],
        ).fetchall()
        undecided = database.execute(
            "SELECT count(*) FROM deployments WHERE result IN ('', 'unknown') AND model = ?",
            [site.name],
        ).fetchall()
    assert undecided == [(0,)], "I7"
    assert set(site.acknowledged) <= {number for number, *_ in rows}, "I7"
    for _, manifest, lock in rows:
        files = json.loads(_blob(site, manifest))["files"]
        for digest in (lock, *(entry[1] for entry in files if entry[1])):
            assert hashlib.sha256(_blob(site, digest)).hexdigest() == digest, f"I7: {digest}"


def _blob(site: Site, digest: str) -> bytes:
    return (Path(site.client.home) / "blobs" / digest[:2] / digest).read_bytes()
