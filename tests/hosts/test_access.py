"""Getting in, and what the server itself refuses: passwords, keys, sudo, disks."""

import pytest
from client import Client, Failed, write_model

from app.deployer.road import open_ssh
from app.deployer.trust import Trust
from app.errors import NotTrusted, Problem, Refused
from app.models import Location

SECRET = "correct horse battery"


@pytest.fixture
def client(tmp_path):
    return Client(tmp_path / "home")


@pytest.fixture
def trust(tmp_path, guest):
    trust = Trust(tmp_path / "known_hosts")
    trust.accept(guest.fingerprint)
    return trust


def to(guest, user):
    return Location("srv", url=f"ssh://{user}@{guest.address}")


def test_password_is_asked_for_and_lets_us_in(guest, trust):
    guest.run(["chpasswd"], input=f"ds:{SECRET}\n")
    asked = []

    def answer(question):
        asked.append(question)
        return SECRET

    with open_ssh(to(guest, "ds"), trust=trust, ask=answer) as road:
        assert road.hello["user"] == "ds"
    assert len(asked) == 1
    assert f"ds@{guest.address}" in asked[0]


def test_wrong_password_is_refused_and_never_shown(guest, trust):
    guest.run(["chpasswd"], input=f"ds:{SECRET}\n")
    with pytest.raises(Refused) as caught:
        open_ssh(to(guest, "ds"), trust=trust, ask=lambda question: "not it")
    assert "not it" not in repr(caught.value.as_dict())


def test_nobody_to_ask_is_a_problem_not_a_prompt(client, guest):
    with pytest.raises(Failed) as failed:
        client(
            "location", "add", "srv", f"ssh://ds@{guest.address}",
            "--accept-key", guest.fingerprint,
        )  # fmt: skip
    assert failed.value.problem["kind"] == "Refused"


def test_unknown_key_shows_its_fingerprint_and_is_not_a_location_yet(client, guest):
    with pytest.raises(Failed) as failed:
        client("location", "add", "srv", f"ssh://root@{guest.address}")
    assert failed.value.problem["kind"] == NotTrusted.__name__
    assert guest.fingerprint in failed.value.problem["remedy"]
    assert [each["name"] for each in client("location", "list")] == ["local"]


def test_changed_key_is_refused_until_it_is_forgotten(client, fresh_guest):
    client.add_location(fresh_guest, "root")
    before = fresh_guest.fingerprint
    fresh_guest.run(["sh", "-c", "rm /etc/ssh/ssh_host_*; ssh-keygen -A -q; systemctl restart ssh"])
    after = fresh_guest.fingerprint
    assert after != before
    with pytest.raises(Failed) as failed:
        client("location", "check", "srv")
    said = str(failed.value.problem)
    assert before in said
    assert after in said
    assert "location forget-key srv" in failed.value.problem["remedy"]
    client("location", "forget-key", "srv")
    with pytest.raises(Failed, match="NotTrusted"):
        client("location", "check", "srv")


@pytest.mark.parametrize(
    ("user", "mode", "base"),
    [
        ("root", "root", "/var/lib/rhythmicml"),
        ("ops", "sudo", "/var/lib/rhythmicml"),
        ("ds", "user", "/home/ds/.local/share/rhythmicml"),
    ],
)
def test_check_says_what_the_server_is_and_what_we_may(client, guest, user, mode, base):
    client.add_location(guest, user)
    facts = client("location", "check", "srv")
    assert (facts["mode"], facts["base"]) == (mode, base)
    assert (facts["distribution"], facts["arch"]) == ("debian", guest.run(["arch"]).stdout.strip())
    assert facts["systemd"].startswith("252")
    assert [each["version"] for each in facts["pythons"]] == ["3.11.2"]
    assert facts["internet"] is True
    assert 0 < facts["latency"] < 1
    assert facts["disk_free"] > 0
    assert facts["memory"] > 0


def test_full_disk_is_said_with_numbers_and_nothing_is_half_done(client, fresh_guest, tmp_path):
    fresh_guest.run(["sh", "-c", "mkdir /small && mount -t tmpfs -o size=20m,mode=755 none /small"])
    client.add_location(fresh_guest, "root", "srv", "--base", "/small/base")
    folder = write_model(tmp_path / "model", "full")
    with pytest.raises(Failed) as failed:
        client("deploy", str(folder), "--to", "srv")
    assert "free" in failed.value.problem["cause"]
    assert (
        fresh_guest.run(["systemctl", "list-sockets", "rhythmicml-*"]).stdout.count(".socket") == 0
    )
    fresh_guest.run(["mount", "-o", "remount,size=2g", "/small"])
    assert client("deploy", str(folder), "--to", "srv")["changed"]
    left = fresh_guest.run(["find", "/small", "-name", "*.part*"]).stdout
    assert left == ""


def test_disk_that_fills_up_meanwhile_stops_the_deployment_and_not_production(
    client, fresh_guest, tmp_path
):
    fresh_guest.run(["sh", "-c", "mkdir /small && mount -t tmpfs -o size=2g,mode=755 none /small"])
    client.add_location(fresh_guest, "root", "srv", "--base", "/small/base")
    folder = write_model(tmp_path / "model", "filling")
    client("deploy", str(folder), "--to", "srv")
    for index in range(3):
        (folder / "artifacts" / f"weights{index}.bin").write_bytes(bytes([index]) * 300_000_000)
    fresh_guest.run(["sh", "-c", "head -c 600M /dev/zero > /small/other"])
    with pytest.raises(Failed) as failed:
        client("deploy", "filling", "--to", "srv")
    assert "free" in str(failed.value.problem)
    assert client("status")[0]["state"] == "serving"
    fresh_guest.run(["rm", "/small/other"])
    assert client("deploy", "filling", "--to", "srv")["version"] == 2


def test_server_without_python_is_said(client, fresh_guest):
    fresh_guest.run(["sh", "-c", "mv /usr/bin/python3 /usr/bin/hidden; rm -f /usr/bin/python3.*"])
    with pytest.raises(Failed, match="no Python"):
        client.add_location(fresh_guest, "root")


def test_server_without_systemd_is_told_before_anything_changes(client, fresh_guest, tmp_path):
    client.add_location(fresh_guest, "root")
    folder = write_model(tmp_path / "model", "no-systemd")
    fresh_guest.run(["mv", "/run/systemd/system", "/run/systemd/hidden"])
    with pytest.raises(Failed) as failed:
        client("deploy", str(folder), "--to", "srv")
    fresh_guest.run(["mv", "/run/systemd/hidden", "/run/systemd/system"])
    assert "does not run systemd" in failed.value.problem["what"]


def test_server_that_is_gone_is_unreachable(client, fresh_guest, tmp_path):
    client.add_location(fresh_guest, "root")
    folder = write_model(tmp_path / "model", "gone")
    client("deploy", str(folder), "--to", "srv")
    fresh_guest.kill()
    [row] = client("status", "gone")
    assert row["state"] == "unreachable"
    assert "Last seen serving" in row["error"]
    with pytest.raises(Failed) as failed:
        client("deploy", "gone", "--to", "srv")
    assert failed.value.problem["kind"] == "Unreachable"
    fresh_guest.boot_again()
    assert client("status", "gone")[0]["state"] in ("starting", "serving")


def test_privilege_user_stays_a_user_though_sudo_is_there(client, guest):
    client.add_location(guest, "ops", "srv", "--privilege", "user")
    assert client("location", "check", "srv")["mode"] == "user"


def test_problems_of_the_agent_are_problems_here(guest, trust):
    location = Location("srv", url=f"ssh://root@{guest.address}", identity=str(guest.key))
    with (
        open_ssh(location, trust=trust) as road,
        pytest.raises(Problem, match="knows no operation"),
    ):
        road.call("nonsense")
