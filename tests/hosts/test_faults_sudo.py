"""F18: sudo on a server, in all its moods: the way is said, nothing hangs, no password is seen."""

import threading
import time
import traceback

import pytest
from client import write_model
from guests import Guest

from app.deployer import keychain
from app.deployer.road import open_ssh
from app.deployer.trust import Trust
from app.errors import Problem, Refused
from app.models import Location
from app.services import deployments, locations
from app.workspace import Workspace

SECRET = "Tr0ub4dor&3 %p ü"
USER = "ada"
LONGEST = 10.0
PAM = "/etc/pam.d/sudo"
AT_ONCE = """
auth required pam_unix.so nodelay
account required pam_unix.so
password required pam_unix.so
"""
"""A wrong password is told without the usual two seconds of delay."""


@pytest.fixture(scope="module")
def server(guest: Guest) -> Guest:
    """The shared server, with a user who has a password."""
    guest.add_user(USER)
    guest.run(["chpasswd"], input=f"{USER}:{SECRET}\n")
    return guest


@pytest.fixture
def sudoers(server):
    """Writes what sudo makes of our user; as before when the test ends."""
    files = {f"/etc/sudoers.d/{USER}": None, PAM: server.run(["cat", PAM]).stdout}

    def write(text, path=f"/etc/sudoers.d/{USER}"):
        (server.root / path.lstrip("/")).write_text(text)

    yield write
    for path, before in files.items():
        if before is None:
            (server.root / path.lstrip("/")).unlink(missing_ok=True)
        else:
            write(before, path)
    server.run(["rm", "-rf", "/run/sudo/ts", "/var/lib/sudo"])


class Visit:
    """Opens the road with --privilege sudo, giving these answers and then none."""

    def __init__(self, server, trust):
        self.location = Location(
            "srv",
            url=f"ssh://{USER}@{server.address}",
            identity=str(server.key),
            privilege="sudo",
        )
        self.trust = trust

    def __call__(self, *answers):
        """The mode and the questions, when we got through."""
        asked = []

        def ask(question):
            asked.append(question)
            return answers[len(asked) - 1] if len(asked) <= len(answers) else None

        began = time.monotonic()
        try:
            with open_ssh(self.location, trust=self.trust, ask=ask) as road:
                assert road.call("run", argv=["id", "-u"])["out"] == "0\n"
                return road.hello["mode"], asked
        finally:
            assert time.monotonic() - began < LONGEST


@pytest.fixture
def come(server, tmp_path):
    trust = Trust(tmp_path / "known_hosts")
    trust.accept(server.fingerprint)
    return Visit(server, trust)


@pytest.mark.parametrize(
    ("rule", "mode"),
    [
        ("ada ALL=(ALL) ALL", "sudo-password"),
        ("ada ALL=(ALL) NOPASSWD: ALL", "sudo"),
        ("Defaults timestamp_timeout=0\nada ALL=(ALL) ALL", "sudo-password"),
        ("Defaults use_pty\nada ALL=(ALL) ALL", "sudo-password"),
        ("Defaults use_pty\nada ALL=(ALL) NOPASSWD: ALL", "sudo"),
        ("Defaults lecture=always, passprompt=Kennwort\nada ALL=(ALL) ALL", "sudo-password"),
        ("Defaults !requiretty, log_input, log_output\nada ALL=(ALL) ALL", "sudo-password"),
    ],
)
def test_f18_sudo_that_lets_us_through(sudoers, come, rule, mode):
    sudoers(rule + "\n")
    found, asked = come(SECRET)
    assert found == mode
    assert len(asked) == (mode == "sudo-password")


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("", "not in the sudoers file"),
        ("ada ALL=(ALL) /usr/bin/true", "not allowed to execute"),
        ("Defaults:ada requiretty\nada ALL=(ALL) ALL", "must have a tty"),
        ("ada ALL=(ALL NOPASSWD", "not in the sudoers file"),  # sudo skips what it cannot read
    ],
)
def test_f18_sudo_that_does_not_says_why(sudoers, come, rule, what):
    sudoers(rule + "\n")
    with pytest.raises(Refused, match="does not let us through") as caught:
        come(SECRET)
    said = caught.value.as_dict()
    print(said)
    assert any(each in said["cause"] + said["detail"] for each in what.split("|"))
    assert SECRET not in str(said)
    assert said["remedy"]


def test_f18_wrong_password_is_asked_for_again_and_then_is_one_problem(sudoers, come, server):
    sudoers("ada ALL=(ALL) ALL\n")
    sudoers(AT_ONCE, PAM)
    question = f"Password for sudo on {USER}@{server.address}:22"
    assert come("wrong", SECRET) == ("sudo-password", [question] * 2)
    with pytest.raises(Refused, match="did not take the password") as caught:
        come("wrong 1", "wrong 2", "wrong 3", SECRET)
    assert "wrong" not in str(caught.value.as_dict())
    sudoers("Defaults passwd_tries=1\nada ALL=(ALL) ALL\n")
    with pytest.raises(Refused, match="did not take the password"):
        come("wrong")


def test_f18_nobody_to_ask_is_said(sudoers, come):
    sudoers("ada ALL=(ALL) ALL\n")
    with pytest.raises(Refused, match="none was given"):
        come()


def test_f18_expired_password_is_said_and_nothing_is_answered(sudoers, come, server):
    sudoers("ada ALL=(ALL) ALL\n")
    sudoers(AT_ONCE, PAM)
    # An expired password would keep us from logging in, too: here sudo alone is meant.
    sshd = server.root / "etc/pam.d/sshd"
    before = sshd.read_text()
    sshd.write_text("auth required pam_permit.so\naccount required pam_permit.so\n")
    shadow = server.run(["grep", f"^{USER}:", "/etc/shadow"]).stdout
    server.run(["chage", "-d", "0", USER])
    try:
        with pytest.raises(Refused) as caught:
            come(SECRET, "never sent", "never sent")
    finally:
        server.run(["chage", "-d", shadow.split(":")[2], USER])
        sshd.write_text(before)
    assert "expired" in caught.value.detail
    assert "passwd" in caught.value.remedy
    assert server.run(["grep", f"^{USER}:", "/etc/shadow"]).stdout == shadow


def test_f18_no_sudo_at_all(come, server):
    server.run(["mv", "/usr/bin/sudo", "/usr/bin/sudo-gone"])
    try:
        with pytest.raises(Refused, match="There is no sudo"):
            come(SECRET)
    finally:
        server.run(["mv", "/usr/bin/sudo-gone", "/usr/bin/sudo"])


WATCH = """
import os, pathlib, sys, time
secret, seen, rounds = sys.stdin.readline().strip().encode(), [], 0
end = pathlib.Path("/tmp/watched")
while not end.exists():
    rounds += 1
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        for name in ("cmdline", "environ"):
            try:
                found = (folder / name).read_bytes()
            except OSError:
                continue
            if secret in found:
                seen.append(f"{folder} {name} {found!r}")
    time.sleep(0.05)
end.unlink()
print(rounds, seen)
"""


def test_f18_password_is_asked_once_and_seen_nowhere(sudoers, server, tmp_path, monkeypatch):
    """A whole deployment, with /proc of the server read twenty times a second."""
    sudoers("Defaults timestamp_timeout=0\nada ALL=(ALL) ALL\n")
    monkeypatch.setattr(keychain, "_known", {})
    asked = []
    work = Workspace(tmp_path / "home", lambda question: asked.append(question) or SECRET)
    watched = []

    def watch():
        watched.append(
            server.run(["python3", "-c", WATCH], input=SECRET + "\n", timeout=120).stdout
        )

    watcher = threading.Thread(target=watch)
    watcher.start()
    url = f"ssh://{USER}@{server.address}"
    options = {"identity": str(server.key), "accept_key": server.fingerprint}
    locations.add(work, "srv", url, privilege="sudo", **options)
    folder = write_model(tmp_path / "model", "by-sudo")
    events = list(deployments.deploy(work, str(folder), to="srv"))
    said = "\n".join(str(event) for event in events)
    planned = list(deployments.deploy(work, str(folder), to="srv", dry_run=True))[-1].data
    assert locations.check(work, "srv")["mode"] == planned["mode"] == "sudo-password"
    server.run(["touch", "/tmp/watched"])
    watcher.join()
    list(deployments.undeploy(work, "by-sudo", purge=True))
    assert said.index("with sudo and a password") < said.index("Listen on port")
    assert len(asked) == 1
    rounds, _, seen = watched[0].partition(" ")
    assert (seen.strip(), int(rounds) > 20) == ("[]", True)
    kept = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]
    places = ["/var/log", "/var/lib/rhythmicml", "/run/systemd", "/etc", f"/home/{USER}", "/tmp"]
    grep = ["grep", "-rslaF", "-f", "-", *places]
    assert server.run(grep, input=SECRET, check=False).stdout == ""
    assert SECRET not in server.run(["journalctl", "--no-pager"]).stdout
    assert SECRET not in said


def test_f18_no_traceback_shows_the_password(sudoers, come):
    sudoers("ada ALL=(ALL) ALL\nDefaults passwd_tries=1\n")
    sudoers(AT_ONCE, PAM)
    try:
        with keychain.answering(lambda question: f"not {SECRET}") as ask:
            open_ssh(come.location, trust=come.trust, ask=ask)
    except Problem as problem:
        shown = traceback.TracebackException.from_exception(problem, capture_locals=True)
        frames = [frame for frame in shown.stack if "/app/" in frame.filename]
        assert len(frames) > 2
        assert not [frame for frame in frames if SECRET in str(frame.locals)]
    else:
        raise AssertionError("it was let through")
    assert keychain._known == {}
