"""F16, F17, F38: servers as people have them, and words as people write them.

One shared server with a user for each login shell; what would break it is done to a fresh one.
"""

import contextlib
import json
import time
from functools import partial
from pathlib import Path

import pytest
from client import Client, Failed, write_model
from guests import Guest, soon

from app.deployer import starting
from app.deployer.road import open_ssh
from app.deployer.trust import Trust
from app.errors import Problem
from app.models import Location
from app.services import deployments, locations, models, versions
from app.workspace import Workspace

PWN = "/tmp/pwn"
HOSTILE = [
    text.format(pwn=f"{PWN}{number}")
    for number, text in enumerate(
        [
            "$(touch {pwn})",
            "`touch {pwn}`",
            "'; touch {pwn}; '",
            '"; touch {pwn}; "',
            "; touch {pwn} #",
            "| touch {pwn}",
            "|| touch {pwn}",
            "& touch {pwn} &",
            "&& touch {pwn}",
            "\ntouch {pwn}\n",
            "\r\ntouch {pwn}\r\n",
            "> {pwn}",
            "< /dev/null > {pwn}",
            "<(touch {pwn})",
            ">(touch {pwn})",
            "${{IFS}}touch${{IFS}}{pwn}",
            "$'\\n'touch {pwn}",
            "{{touch,{pwn}}}",
            "(touch {pwn})",
            "!touch {pwn}",
            "!!",
            "^a^touch {pwn}",
            "~root",
            "~/$(touch {pwn})",
            "* ; touch {pwn}",
            "?",
            "[a-z]*",
            "-rf /",
            "--help",
            "-oProxyCommand=touch {pwn}",
            "--privilege=user",
            "\\$(touch {pwn})",
            "\\'; touch {pwn}; \\'",
            "\\",
            "\\\\",
            '"',
            "'",
            "$",
            "%",
            "%h %n %t %i %%",
            "%s%s%s%n",
            "$HOME",
            "${{PATH}}",
            "$$",
            "{{}}",
            "{{0.__class__}}",
            "{{{{7*7}}}}",
            "<script>touch {pwn}</script>",
            "'; DROP TABLE models; --",
            "\\x00",
            "\\u0000",
            "\x01\x1b[31m",
            "\x7f",
            "\t",
            "  spaces  ",
            "ünï çødé",
            "\u202eright to left",
            "\U0001f600",
            "日本語",
            "a" * 180,
        ]
    )
]
ONE_LINE = [word for word in HOSTILE if "\n" not in word]
"""What a value of the environment may be; others are refused by app/config.py."""


def no_pwn(guest):
    found = guest.run(["find", "/tmp", "/var/tmp", "/home", "/root", "-name", "pwn*"]).stdout
    return found == "" and list(Path("/tmp").glob("pwn*")) == []


@pytest.fixture
def work(tmp_path):
    return Workspace(tmp_path / "home")


@pytest.fixture
def client(tmp_path):
    return Client(tmp_path / "home")


def test_f16_there_are_sixty_hostile_words():
    assert len(set(HOSTILE)) == 60


@pytest.mark.faults
def test_f16_values_files_and_messages_come_back_as_they_were(guest, client, tmp_path):
    """Sixty values of the environment, sixty names of files, and the sample's: one deployment."""
    script = """
import json, os
def load(artifacts):
    return sorted(path.name for path in artifacts.iterdir())
def predict(model, inputs: list):
    return [[os.environ.get(f"WORD_{n}") for n in range(60)], model]
"""
    folder = write_model(tmp_path / "model", "hostile", script=script)
    names = sorted({word.replace("/", "_").strip("\x00") for word in HOSTILE})
    for name in names:
        (folder / "artifacts" / name).write_text("x")
    sample = "s $(touch pwn-sample) 'q' %n.json"
    (folder / "sample.json").rename(folder / sample)
    values = "".join(
        f"WORD_{n} = {json.dumps(word, ensure_ascii=False)}\n" for n, word in enumerate(ONE_LINE)
    )
    toml = (folder / "rhythmicml.toml").read_text()
    toml += f"[predict]\nsample = {json.dumps(sample)}\nbatch = false\n[deploy.env]\n{values}"
    (folder / "rhythmicml.toml").write_text(toml.replace("\x7f", "\\u007f"))
    client.add_location(guest, "root")
    client("deploy", str(folder), "--to", "srv", "-m", HOSTILE[0])
    data = tmp_path / "data.json"
    data.write_text('{"inputs": [[1]]}')
    answer = client("score", "hostile", "--data", str(data))["answer"]["predictions"]
    client("undeploy", "hostile", "--purge", "--yes")
    assert answer[0][: len(ONE_LINE)] == ONE_LINE
    assert set(names) <= set(answer[1])
    assert no_pwn(guest)


@pytest.mark.parametrize("word", ["$(touch /tmp/pwn)", "-x", "a;b", "A", "a b", "ü", "a\n", "%n"])
def test_f16_names_that_go_into_units_are_refused(work, tmp_path, word):
    with pytest.raises(Problem):
        locations.add(work, word, "ssh://ana@127.0.0.1:1")
    with pytest.raises(Problem):
        models.add(work, write_model(tmp_path / "model", "fine"), word)


def test_f16_hostile_users_hosts_and_identities_are_refused_before_anyone_is_asked(work, tmp_path):
    for number, word in enumerate(HOSTILE):
        for url in (f"ssh://{word}@127.0.0.1:1", f"ssh://ana@{word}:1", word):
            with pytest.raises(Problem):
                locations.add(work, f"srv{number}", url, identity=f"/no/such/{word}")
    assert locations.list_locations(work)[0].name == "local"


def test_f16_messages_and_folders_come_back_as_they_were(work, tmp_path, guest):
    for number, word in enumerate(HOSTILE[::3]):
        folder = write_model(tmp_path / word.replace("/", "_").strip("\x00"), f"m{number}")
        models.add(work, folder)
        versions.commit(work, f"m{number}", word)
        [version] = versions.versions(work, f"m{number}")
        assert version.message.strip() == word.strip()
    assert no_pwn(guest)


@pytest.mark.faults
def test_f16_sixty_base_folders_arrive_as_they_were_written(work, guest, tmp_path):
    trust = Trust(tmp_path / "known")
    trust.accept(guest.fingerprint)
    for word in HOSTILE:
        base = "/srv/" + word.replace("/", "_")
        url = f"ssh://ds@{guest.address}"
        place = Location("srv", url=url, identity=str(guest.key), base=base)
        with pytest.raises(Problem, match="cannot be made") as caught:
            open_ssh(place, trust=trust)
        assert f'"{base}"' in caught.value.what  # it came there as it was written
    assert no_pwn(guest)


ODD = "/srv/-odd $HOME %n %% (one), ü; touch pwn & # *"


@pytest.mark.parametrize("user", ["root", pytest.param("ds", marks=pytest.mark.faults)])
def test_odd_base_folder_works_from_end_to_end(guest, client, tmp_path, user):
    """Specifiers, quotes, spaces, dollars: in units, paths of sandboxes, credentials, logs."""
    guest.linger("ds")
    base = f"{ODD} {user}"
    guest.run(["install", "-d", "-o", user, "-m", "755", base])
    client.add_location(guest, user, "srv", "--base", base)
    name = f"odd-base-{user}"
    folder = write_model(tmp_path / "model", name)
    client("deploy", str(folder), "--to", "srv")
    write_model(folder, name, factor=3.0)
    client("deploy", str(folder), "--to", "srv")
    assert ask(client, name, tmp_path) == [18.0]
    assert client("deploy", str(folder), "--to", "srv")["changed"] is False
    client("rollback", name)
    assert ask(client, name, tmp_path) == [12.0]
    assert client("logs", name)
    client("undeploy", name, "--purge", "--yes")
    assert no_pwn(guest)


def ask(client, name, tmp_path):
    data = tmp_path / "data.json"
    data.write_text('{"inputs": [[1, 2, 3]]}')
    return client("score", name, "--data", str(data))["answer"]["predictions"]


# F17 and the kinds of hosts


@pytest.mark.parametrize(
    "noise",
    [
        "echo welcome; echo more >&2; printf '\\377\\376\\000'",
        "head -c 900000 /dev/urandom",
        "export LANG=tr_TR.UTF-8 LC_ALL=tr_TR.ISO-8859-9",
        "export LC_ALL=POSIX; umask 077; set -u; cd /nowhere",
        "unset PATH HOME",
        "stty -echo; tput setaf 1; mesg n",
        "alias python3=false sudo=false exec=false; python3() { false; }; export -f python3",
        "export PYTHONSTARTUP=/x PYTHONPATH=/x PYTHONHOME=/x PYTHONHASHSEED=x",
    ],
)
def test_f17_login_scripts_do_no_harm(guest, tmp_path, noise):
    with login_script(guest, noise), road_of(guest, tmp_path) as road:
        assert road.call("run", argv=["printf", "%s", "ü"])["out"] == "ü"
        assert road.call("facts")["pythons"]


@pytest.mark.parametrize(
    "script",
    [
        "exit 3",
        "read -r name; echo hello $name",
        "exec cat",
        "exec sleep 60",
        "cat >/dev/null",
        "head -c 3000000 /dev/zero",
    ],
)
def test_f17_login_scripts_that_let_nobody_in_are_one_problem(guest, tmp_path, script, monkeypatch):
    monkeypatch.setattr(starting, "START", 2.0)
    with login_script(guest, script), pytest.raises(Problem) as caught:
        road_of(guest, tmp_path)
    assert "login scripts" in caught.value.remedy


@contextlib.contextmanager
def login_script(guest, text):
    path = guest.root / "home/ds/.bashrc"
    before = path.read_bytes()
    path.write_text(text + "\n")
    try:
        yield
    finally:
        path.write_bytes(before)


def road_of(guest, tmp_path, user="ds"):
    trust = Trust(tmp_path / "known")
    trust.accept(guest.fingerprint)
    url = f"ssh://{user}@{guest.address}"
    return open_ssh(Location("srv", url=url, identity=str(guest.key)), trust=trust)


POOR = """
echo 'umask 077' | tee -a /etc/profile >> /etc/login.defs
sed -i 's/^UMASK.*/UMASK 077/' /etc/login.defs
echo 'session optional pam_umask.so umask=0077' >> /etc/pam.d/common-session
printf 'LANG=tr_TR\nLC_ALL=tr_TR.ISO-8859-9\n' >> /etc/environment
echo 'Bu sunucu sessiz degildir' > /etc/motd
printf '#!/bin/sh\necho banner from sshrc >&2; echo and more\n' > /etc/ssh/sshrc
chsh -s /bin/dash ds; chsh -s /bin/dash root
mount -t tmpfs -o noexec,nosuid,mode=1777 none /tmp
mount -t tmpfs -o noexec,mode=1777 none /var/tmp
mount -t tmpfs -o size=8m,mode=700,uid=$(id -u ds),gid=$(id -g ds) none /home/ds/.cache
mkdir -p /big/ds; chown ds /big/ds
"""


def test_f17_poor_host_takes_a_deployment_and_its_services_start(fresh_guest, client, tmp_path):
    """dash, umask 077, an unwritable /tmp without exec, Turkish, motd, no pip, no venv, no uv."""
    fresh_guest.linger("ds")
    fresh_guest.run(["mkdir", "-p", "/home/ds/.cache"])
    fresh_guest.run(["sh", "-eu"], input=POOR)
    assert fresh_guest.run(["python3", "-m", "venv", "/big/x"], check=False).returncode
    for user in ("ds", "root"):
        base = ("--base", "/big/ds/base") if user == "ds" else ()
        if user == "root":  # a user's own systemd can make no PrivateTmp then
            fresh_guest.run(["chmod", "0555", "/tmp", "/var/tmp"])
            with pytest.raises(Failed, match="ds cannot write to /tmp and /var/tmp") as caught:
                client("deploy", "poor-ds@1", "--to", "ds")
            assert "chmod 1777 /tmp /var/tmp" in caught.value.problem["remedy"]
        client.add_location(fresh_guest, user, user, *base)
        folder = write_model(tmp_path / user, f"poor-{user}")
        (folder / "requirements.txt").write_text("six\n")
        client("deploy", str(folder), "--to", user, timeout=300)
        assert ask(client, f"poor-{user}", tmp_path) == [12.0]
    write_model(folder, "poor-root", factor=3.0)
    client("deploy", "poor-root", "--to", "root")
    fresh_guest.run(["mount", "-o", "remount,ro", "/tmp"])
    with pytest.raises(Failed, match="root cannot write to /tmp on") as caught:
        client("deploy", "poor-root", "--to", "root")
    assert "mount -o remount,rw /tmp" in caught.value.problem["remedy"]
    refuse_to_act(client, fresh_guest, "poor-root")
    assert ask(client, "poor-root", tmp_path) == [18.0]
    look = ["systemctl", "show", "-P", "DynamicUser", "rhythmicml-poor-root@current.service"]
    assert fresh_guest.run(look).stdout == "yes\n"
    written = ["find", "/home/ds", "-newer", "/etc/motd", "-type", "f", "-size", "+8k"]
    written += ["-not", "-path", "/home/ds/.cache/rhythmicml-*"]  # bytecode: CacheDirectory=
    assert fresh_guest.run(written).stdout == ""


def refuse_to_act(client, guest, name):
    """Whatever would have to start one of its two releases is refused; what runs is left alone."""
    [before] = client("status", name)
    for words in (["switch", f"{name}@1"], ["rollback", name], ["restart", name]):
        with pytest.raises(Failed, match="root cannot write to /tmp on"):
            client(*words)
    [after] = client("status", name)
    assert (after["release"], after["since"]) == (before["release"], before["since"])
    by_hand = ["/var/lib/rhythmicml/rhythmicml-host", "rollback", name]
    assert "root cannot write to /tmp on" in guest.run(by_hand, check=False).stderr
    client("stop", name)
    with pytest.raises(Failed, match="root cannot write to /tmp on"):
        client("start", name)
    guest.run(["mount", "-o", "remount,rw", "/tmp"])
    client("start", name)


@pytest.mark.faults
@pytest.mark.parametrize("shell", ["/bin/dash", "/usr/bin/fish", "/bin/tcsh", "/bin/zsh"])
@pytest.mark.parametrize("way", ["user", "sudo", "sudo-password"])
def test_every_login_shell_takes_a_deployment(shells, client, tmp_path, shell, way):
    user = f"u-{shell.rpartition('/')[2]}-{way[-4:]}"
    shells.add_user(user, shell)
    shells.run(["chpasswd"], input=f"{user}:secret\n")
    if way != "user":
        rule = "ALL" if way == "sudo-password" else "NOPASSWD: ALL"
        (shells.root / f"etc/sudoers.d/{user}").write_text(f"{user} ALL=(ALL) {rule}\n")
    shells.linger(user)
    work = Workspace(tmp_path / "home", lambda question: "secret")
    options = {"identity": str(shells.key), "accept_key": shells.fingerprint}
    options["privilege"] = "sudo" if way == "sudo-password" else "auto"
    locations.add(work, "srv", f"ssh://{user}@{shells.address}", **options)
    folder = write_model(tmp_path / "model", f"by-{user}")
    [*_, result] = deployments.deploy(work, str(folder), to="srv")
    assert result.data["changed"]
    assert locations.check(work, "srv")["mode"] == way
    list(deployments.undeploy(work, f"by-{user}", purge=True))


@pytest.fixture(scope="module")
def shells():
    with Guest.boot("shells", variant="shells") as guest:
        yield guest


# F38


@pytest.mark.faults
def test_f38_services_outlive_logouts_and_reboots(fresh_guest, client, tmp_path):
    """Without polkit. A user with linger and root, ten boots, up within 30 s each time."""
    fresh_guest.linger("ds")
    ports = {}
    for user in ("root", "ds"):
        client.add_location(fresh_guest, user, user)
        folder = write_model(tmp_path / user, f"boot-{user}")
        ports[user] = client("deploy", str(folder), "--to", user)["port"]
    assert client("location", "check", "ds")["polkit"] is False
    fresh_guest.run(["loginctl", "kill-user", "ds"], check=False)
    longest = 0.0
    for boot in range(10):
        if boot % 2:
            fresh_guest.kill()
            fresh_guest.boot_again()
        else:
            fresh_guest.reboot()
        began = time.monotonic()
        for port in ports.values():
            soon("serving after the boot", partial(ready, fresh_guest, port), 30)
        longest = max(longest, time.monotonic() - began)
    print(f"F38: up within {longest:.1f} s of the login prompt, 10 boots")


def ready(guest, port):
    read = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/readyz', timeout=20)"
    return guest.run(["python3", "-c", read], check=False).returncode == 0


def test_f38_missing_linger_is_found_before_the_deployment(fresh_guest, client, tmp_path):
    client.add_location(fresh_guest, "ds")
    assert client("location", "check", "srv")["linger"] is False
    folder = write_model(tmp_path / "model", "no-linger")
    with pytest.raises(Failed) as failed:
        client("deploy", str(folder), "--to", "srv")
    assert failed.value.problem["remedy"].endswith("once: loginctl enable-linger ds")
    assert "--privilege sudo" in failed.value.problem["remedy"]
    assert fresh_guest.run(["ls", "-A", "/home/ds/.config"], check=False).stdout == ""
    made = ["find", "/home/ds", "-name", "blobs", "-o", "-name", "rhythmicml-*"]
    assert fresh_guest.run(made).stdout == ""
