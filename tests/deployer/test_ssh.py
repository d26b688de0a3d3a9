"""What only SSH has: whom we trust, how we log in, and what becomes of a broken connection."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pwd
import signal
import subprocess
import time
from pathlib import Path

import pytest
from sshd import USER, fingerprint, free_port, make_key

from app.deployer import road as roads
from app.deployer import starting
from app.deployer import sudo as sudo_talk
from app.deployer.forward import hang_up
from app.deployer.road import open_road
from app.errors import NotTrusted, Problem, Refused, Unreachable
from app.models import Location

SECRET = "correct-horse-battery"


# Whom we trust


def test_new_host_is_not_trusted_and_nothing_of_us_is_said(serve, reach, trust):
    sshd = serve()
    with pytest.raises(NotTrusted) as caught:
        reach(sshd, known=False)
    assert caught.value.fingerprint == sshd.fingerprint
    assert sshd.fingerprint in caught.value.remedy
    assert "userauth-request" not in sshd.log()
    assert not trust.own.exists()


def test_accepted_key_is_stored_for_good(serve, reach, trust):
    sshd = serve()
    reach(sshd).close()
    assert trust.own.stat().st_mode & 0o777 == 0o600
    assert trust.own.read_text().startswith(f"{sshd.name} ssh-ed25519 ")
    trust._accepted.clear()
    reach(sshd, known=False).close()


def test_other_fingerprint_is_not_accepted(serve, reach, trust, tmp_path):
    trust.accept(fingerprint(make_key(tmp_path / "other")))
    with pytest.raises(NotTrusted):
        reach(serve(), known=False)


def test_changed_key_is_refused_with_both_fingerprints(serve, reach, trust):
    old = serve()
    reach(old).close()
    old.stop()
    new = serve(port=old.port)
    with pytest.raises(Problem) as caught:
        reach(new)
    assert not isinstance(caught.value, NotTrusted)
    assert old.fingerprint in caught.value.what
    assert new.fingerprint in caught.value.what
    assert caught.value.remedy.endswith("rhythmicml location forget-key srv")
    assert "userauth-request" not in new.log()
    trust.forget(new.name)
    reach(new).close()


def test_server_that_shows_only_another_type_of_key_is_refused(serve, reach, tmp_path):
    old = serve()
    reach(old).close()
    old.stop()
    new = serve(port=old.port, host_key=make_key(tmp_path / "rsa", "rsa"))
    with pytest.raises(Problem, match="has changed"):
        reach(new)


def test_known_type_of_key_is_asked_for_first(serve, reach, tmp_path, trust):
    rsa = make_key(tmp_path / "rsa", "rsa")
    sshd = serve(f"HostKey {tmp_path}/more", host_key=rsa) if make_key(tmp_path / "more") else None
    trust.accept(fingerprint(rsa))
    trust.own.write_text(f"{sshd.name} {rsa.with_suffix('.pub').read_text()}")
    reach(sshd, known=False).close()


def test_key_in_the_users_own_file_is_believed_and_the_file_untouched(serve, home):
    sshd = serve()
    known = home / ".ssh" / "known_hosts"
    text = f"# mine\n{sshd.name} {sshd.host_key.with_suffix('.pub').read_text()}"
    known.write_text(text)
    location = Location(
        "srv", url=sshd.url, identity=str(sshd.folder / "key"), base=str(home / "b")
    )
    open_road(location, home / "data").close()
    assert known.read_text() == text


# How we log in


def test_agent_runs_as_root_when_we_are_root(server, reach):
    if os.getuid() != 0:
        pytest.skip("we are not root")
    with reach(server) as road:
        assert (road.hello["mode"], road.hello["user"]) == ("root", "root")


def test_refused_key_is_named(server, reach, tmp_path):
    key = make_key(tmp_path / "stranger")
    with pytest.raises(Refused) as caught:
        reach(server, identity=str(key))
    assert caught.value.cause == f'key "{key}": not accepted'
    assert "publickey" in caught.value.detail


def test_only_the_chosen_key_is_tried(serve, reach, home, tmp_path):
    sshd = serve("MaxAuthTries 2")
    for name in ("id_ed25519", "id_ecdsa", "id_rsa"):
        make_key(home / ".ssh" / name, name[3:])
    reach(sshd).close()


def test_default_keys_are_tried_without_a_chosen_one(serve, reach, home):
    sshd = serve()
    sshd.admit(make_key(home / ".ssh" / "id_ecdsa", "ecdsa"))
    make_key(home / ".ssh" / "id_ed25519")
    reach(sshd, identity="").close()


def test_identity_that_is_missing_or_no_key_is_said(server, reach, tmp_path):
    with pytest.raises(Refused, match="did not let us in") as caught:
        reach(server, identity=str(tmp_path / "nothing"))
    assert "No such file" in caught.value.cause
    (tmp_path / "text").write_text("no key")
    with pytest.raises(Refused) as caught:
        reach(server, identity=str(tmp_path / "text"))
    assert "not a private key" in caught.value.cause


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_passphrase_is_asked_for(serve, reach, tmp_path, kind):
    sshd = serve()
    key = make_key(tmp_path / "locked", kind, SECRET)
    sshd.admit(key)
    asked = []
    answers = iter(["wrong", SECRET])
    reach(sshd, identity=str(key), ask=lambda p: asked.append(p) or next(answers)).close()
    assert asked == [f"Passphrase of {key}"] * 2


def test_old_kind_of_encrypted_key_works(serve, reach, tmp_path):
    sshd = serve()
    key = make_key(tmp_path / "pem", "rsa", SECRET, "-m", "PEM")
    sshd.admit(key)
    reach(sshd, identity=str(key), ask=lambda prompt: SECRET).close()


def test_passphrase_that_is_not_given_or_wrong_is_said_and_never_shown(serve, reach, tmp_path):
    sshd = serve()
    key = make_key(tmp_path / "locked", "ed25519", "another")
    for ask, why in ((None, "was not given"), (lambda prompt: SECRET, "passphrase is wrong")):
        with pytest.raises(Refused) as caught:
            reach(sshd, identity=str(key), ask=ask)
        assert why in caught.value.cause
        assert SECRET not in repr(caught.value.as_dict())


def test_key_held_by_the_agent_needs_no_passphrase(serve, reach, tmp_path, monkeypatch):
    sshd = serve()
    key = make_key(tmp_path / "locked", "ed25519", SECRET)
    sshd.admit(key)
    with ssh_agent(tmp_path, key, monkeypatch):
        reach(sshd, identity=str(key)).close()
        reach(sshd, identity="").close()


@contextlib.contextmanager
def ssh_agent(folder: Path, key: Path, monkeypatch):
    path = folder / "agent.sock"
    answer = folder / "answer"
    answer.write_text(f"#!/bin/sh\necho {SECRET}\n")
    answer.chmod(0o700)
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        while not path.exists():
            time.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        env = {**os.environ, "SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force"}
        subprocess.run(["ssh-add", "-q", str(key)], env=env, check=True, capture_output=True)
        yield
    finally:
        process.kill()
        process.wait()


def test_refused_password_is_never_shown(serve, reach, caplog):
    sshd = serve("PasswordAuthentication yes", "MaxAuthTries 6")
    with caplog.at_level(logging.DEBUG), pytest.raises(Refused) as caught:
        reach(sshd, identity="", ask=lambda prompt: SECRET)
    assert "password: not accepted" in caught.value.cause
    assert caught.value.remedy.startswith("Check the user's name and the password.")
    assert SECRET not in repr(caught.value.as_dict()) + caplog.text
    assert SECRET not in repr(caught.value.__dict__)


def test_password_without_anyone_to_ask_is_refused_at_once(serve, reach):
    with pytest.raises(Refused) as caught:
        reach(serve("PasswordAuthentication yes"), identity="", ask=None)
    assert caught.value.cause == "password: none was given"


def test_too_many_tries_are_said(serve, reach, home):
    for name in ("id_ed25519", "id_ecdsa", "id_rsa"):
        make_key(home / ".ssh" / name, name[3:])
    with pytest.raises(Refused) as caught:
        reach(serve("MaxAuthTries 2"), identity="")
    assert "the server closed the connection" in caught.value.cause


# Ways there


def test_nobody_at_the_port_is_unreachable(server, reach):
    with pytest.raises(Unreachable, match="accepts no connection"):
        reach(server, url=f"ssh://{USER}@127.0.0.1:{free_port()}")


def test_unknown_name_is_unreachable(server, reach):
    with pytest.raises(Unreachable, match="is not known"):
        reach(server, url="ssh://ana@no-such-host.invalid")


def test_server_that_never_speaks_is_unreachable(server, reach, monkeypatch):
    import socket

    from app.deployer import ssh

    monkeypatch.setattr(ssh, "BANNER", 0.5)
    monkeypatch.setattr(ssh, "HANDSHAKE", 0.5)
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(Unreachable, match="agreeing on keys"),
    ):
        reach(server, url=f"ssh://{USER}@127.0.0.1:{mute.getsockname()[1]}")


def test_weak_algorithms_are_refused(serve, reach):
    """F11"""
    for weak, cause in {
        ("Ciphers aes128-cbc,3des-cbc",): "ciphers",
        ("Ciphers aes128-ctr", "MACs hmac-sha1,hmac-md5"): "macs",
        ("KexAlgorithms diffie-hellman-group1-sha1",): "kex",
    }.items():
        with pytest.raises(Refused, match="no algorithm that is safe") as caught:
            reach(serve(*weak))
        assert cause in caught.value.cause
        assert weak[-1].split()[1].replace(",", ", ") in caught.value.detail


def test_strong_algorithms_without_gcm_work(serve, reach):
    reach(serve("Ciphers aes256-ctr", "MACs hmac-sha2-512-etm@openssh.com")).close()


def test_ssh_configuration_is_honoured(server, reach, home):
    (home / ".ssh/config").write_text(
        f"Host mine\n  HostName 127.0.0.1\n  Port {server.port}\n  User {USER}\n"
        f"  IdentityFile {server.folder}/key\n  IdentitiesOnly yes\n"
    )
    reach(server, url="ssh://mine", identity="").close()


def test_jump_goes_through_both_servers_and_checks_both(serve, reach, home, trust):
    jump, target = serve(), serve()
    (home / ".ssh/config").write_text(
        f"Host target\n  HostName 127.0.0.1\n  Port {target.port}\n  User {USER}\n"
        f"  IdentityFile {target.folder}/key\n  ProxyJump jump\n"
        f"Host jump\n  HostName 127.0.0.1\n  Port {jump.port}\n  User {USER}\n"
        f"  IdentityFile {jump.folder}/key\n"
    )
    with pytest.raises(NotTrusted) as caught:
        reach(target, url="ssh://target", identity="")
    assert caught.value.fingerprint == jump.fingerprint
    trust.accept(jump.fingerprint)
    with reach(target, url="ssh://target", identity="") as road:
        assert road.call("run", argv=["printenv", "HOME"])["out"].strip() == f"{target.folder}/home"
    assert (
        f"forwarding to 127.0.0.1 port {target.port}" in jump.log().replace("direct-tcpip", "")
        or "direct-tcpip" in jump.log()
    )
    assert {jump.name, target.name} == {
        line.split()[0] for line in trust.own.read_text().splitlines()
    }


def test_proxy_command_is_refused(server, reach, home, tmp_path):
    (home / ".ssh/config").write_text(f"Host *\n  ProxyCommand touch {tmp_path}/pwn\n")
    with pytest.raises(Problem, match="ProxyCommand"):
        reach(server)
    assert not (tmp_path / "pwn").exists()


# What we find there


@pytest.mark.parametrize(
    "noise",
    [
        "echo welcome; echo more >&2",
        "head -c 300000 /dev/zero | tr '\\0' 0",
        "printf '\\377\\376\\000'; export LANG=tr_TR.ISO-8859-9 LC_ALL=C",
        "alias python3=false; cd /",
    ],
)
def test_noisy_login_scripts_do_no_harm(serve, reach, noise):
    sshd = serve()
    (sshd.folder / "home/.bashrc").write_text(noise + "\n")
    with reach(sshd) as road:
        assert road.call("run", argv=["printf", "%s", "ü"])["out"] == "ü"


@pytest.mark.skipif(
    not pwd.getpwuid(os.getuid()).pw_shell.endswith("/bash"), reason="our login shell is not bash"
)
def test_login_script_that_exits_is_one_clear_message(serve, reach):
    sshd = serve()
    (sshd.folder / "home/.bashrc").write_text("echo closed on Sundays >&2; exit 3\n")
    with pytest.raises(Unreachable) as caught:
        reach(sshd)
    assert "exit status 3" in caught.value.cause
    assert "closed on Sundays" in caught.value.detail


def test_host_without_python_is_said(serve, reach, tmp_path):
    tools(tmp_path / "bin", "id", "sh")
    with pytest.raises(Problem, match=r"no Python on .*: python3, 3\.9 or later"):
        reach(serve(path=str(tmp_path / "bin")))


def test_old_and_broken_pythons_are_passed_over(serve, reach, tmp_path):
    folder = tools(tmp_path / "bin", "id", "sh")
    script(folder / "python3", "exit 97")
    script(folder / "python3.13", "exit 127")
    (folder / "python3.11").symlink_to("/usr/bin/python3")
    with reach(serve(path=str(folder))) as road:
        assert road.call("ping") > 0


@pytest.mark.parametrize(
    ("sudo", "privilege", "mode"),
    [
        ('shift; exec "$@"', "auto", "sudo"),
        ('shift; exec "$@"', "user", "user"),
        ("echo a password is required >&2; exit 1", "auto", "user"),
    ],
)
def test_sudo_is_used_when_it_asks_nothing(serve, reach, tmp_path, sudo, privilege, mode):
    folder = tools(tmp_path / "bin", "sh", "python3", "true")
    script(folder / "id", "echo 1000")
    script(folder / "sudo", sudo)
    with reach(serve(path=str(folder)), privilege=privilege) as road:
        assert road.hello["mode"] == mode


@pytest.mark.parametrize(
    ("sudo", "what", "answers"),
    [
        ("read a; echo $4 >&2; read a; sleep 60", "asks for more than a password", 1),
        ("read a; echo Verification code: >&2; read a", "asks for more than a password", 1),
        ("read a; echo Welcome >&2; sleep 60", "asks for more than a password", 1),
        ("sleep 60", "has said nothing", 1),
        ("read a; echo Sorry, try again. $4 >&2; read a; exit 1", "does not let us through", 2),
        ("exit 0", "does not let us through", 1),
    ],
)
def test_sudo_that_asks_for_something_else_or_hangs_is_left(
    serve, reach, tmp_path, monkeypatch, sudo, what, answers
):
    monkeypatch.setattr(sudo_talk, "PATIENCE", 1.5)
    folder = tools(tmp_path / "bin", "sh", "python3", "sleep")
    script(folder / "id", "echo 1000")
    script(folder / "sudo", f'[ "$1" = -n ] && exit 1\necho "$4" >&2\n{sudo}')
    asked = []
    with pytest.raises(Problem, match=what):
        reach(
            serve(path=str(folder)),
            privilege="sudo",
            ask=lambda question: asked.append(question) or SECRET,
        )
    assert len(asked) == answers


@pytest.mark.parametrize("shell", ["bash", "dash", "fish", "tcsh", "zsh"])
@pytest.mark.parametrize("privilege", starting.PRIVILEGES)
def test_command_goes_through_login_shells(shell, privilege):
    """Without input, the tiny program comes as far as reading its first byte."""
    command = [shell, "-c", starting.command(privilege)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"there is no {shell} here")
    assert "IndexError" in done.stderr


def test_command_needs_no_quoting_anywhere():
    for command in map(starting.command, starting.PRIVILEGES):
        assert not set(command) & set("!\\\n`")
        assert command.count("'") == 2
        assert len(command) < 1000


def tools(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(f"/usr/bin/{name}")
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


# What breaks


def test_lost_connection_is_unreachable_and_soon(serve, reach):
    sshd = serve()
    with reach(sshd) as road:
        pending = road.send("run", argv=["sleep", "97"])
        time.sleep(0.2)
        begun = time.monotonic()
        sshd.cut()
        with pytest.raises(Unreachable, match=r"connection to .* was lost") as caught:
            pending.result()
        assert caught.value.cause == 'It was at "run".'
        assert time.monotonic() - begun < 3
        with pytest.raises(Unreachable):
            road.call("ping")


@pytest.mark.parametrize("lost", ["by the server", "by us"])
def test_dialled_socket_whose_connection_is_lost_fails_as_sockets_do(serve, reach, lost):
    sshd = serve()
    with reach(sshd) as road:
        used, unused = (road.dial(("127.0.0.1", sshd.port)) for _ in range(2))
        if lost == "by us":
            road.close()
        else:
            sshd.cut()
        with pytest.raises(OSError, match=r"closed|gone|lost"):
            used.sendall(bytes(1 << 28))
        for dialled in (used, unused):
            hang_up(dialled)
            dialled.close()


def test_connection_lost_in_the_middle_of_an_upload_is_unreachable(serve, reach, tmp_path):
    sshd = serve()
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(1 << 30)

    def cut(done: int, total: int) -> None:
        if done > 1 << 26:
            sshd.cut()

    with reach(sshd) as road, pytest.raises(Unreachable):
        road.upload([("0" * 64, 1 << 30, path)], cut)
    end = time.monotonic() + 5
    while any(p.is_file() for p in (tmp_path / "base/blobs").rglob("*")):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_host_that_falls_silent_is_unreachable(serve, reach, monkeypatch):
    monkeypatch.setattr(roads, "SILENCE", 1.0)
    monkeypatch.setattr(roads, "BEAT", 0.2)
    monkeypatch.setattr(starting, "PATIENCE", 1.0)
    sshd = serve()
    with reach(sshd) as road:
        time.sleep(1.5)
        assert road.call("ping") > 0
        children = sshd.children()
        for child in children:
            os.kill(child, signal.SIGSTOP)
        try:
            with pytest.raises(Unreachable, match="not been heard"):
                road.call("ping")
        finally:
            for child in children:
                os.kill(child, signal.SIGCONT)


def test_forbidden_forwarding_goes_through_an_agent_of_its_own(serve, reach):
    sshd = serve("AllowTcpForwarding no")
    with reach(sshd) as road:
        dialled = road.dial(("127.0.0.1", sshd.port))
        assert dialled.recv(4) == b"SSH-"
        dialled.close()
        with pytest.raises(Unreachable):
            road.dial(("127.0.0.1", 1))


def test_forbidden_jump_is_refused(serve, reach, home, trust):
    jump, target = serve("AllowTcpForwarding no"), serve()
    (home / ".ssh/config").write_text(
        f"Host 127.0.0.1\n  ProxyJump {USER}@localhost:{jump.port}\n"
        f"Host localhost\n  IdentityFile {jump.folder}/key\n  Port {jump.port}\n"
    )
    trust.accept(jump.fingerprint)
    with pytest.raises(Refused, match="does not allow"):
        reach(target)


def test_full_server_is_tried_again_then_said(serve, reach, tmp_path):
    sshd = serve("MaxSessions 2", "AllowTcpForwarding no")
    with reach(sshd) as road:
        first = road.dial(("127.0.0.1", sshd.port))
        with pytest.raises(Unreachable):
            road.dial(("127.0.0.1", sshd.port))
        first.close()
        road.dial(("127.0.0.1", sshd.port)).close()


def test_new_keys_in_the_middle_change_nothing(serve, reach, tmp_path):
    sshd = serve("RekeyLimit 4M")
    data = os.urandom(40 << 20)
    path = tmp_path / "big"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    with reach(sshd) as road:
        road.upload([(digest, len(data), path)])
        assert road.call("get", digest=digest) == data
    assert sshd.log().count("rekeying in progress") + sshd.log().count("set_newkeys") > 6


def test_words_of_all_kinds_travel_whole_or_not_at_all(server, reach, tmp_path):
    odd = ["$(touch {})", "`touch {}`", "'; touch {}; '", '"; touch {}; "', "\n touch {}", "-x {}"]
    words = [text.format(tmp_path / "pwn") for text in odd] + ["ü\u202e\U0001f600"]
    with reach(server) as road:
        for number, word in enumerate(words):
            done = road.call("run", argv=["printf", "%s", word], env={"WORD": word})
            assert done["out"] == word
            held = road.call("lock", name=f"m{number}", who=word, step=word)
            assert (held["who"], held["step"]) == (word, word)
    assert not (tmp_path / "pwn").exists()


def test_key_of_a_dead_agent_is_no_obstacle(serve, reach, monkeypatch, tmp_path):
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "nothing"))
    reach(serve()).close()


def test_both_key_and_password_may_be_wanted(serve, reach):
    sshd = serve("AuthenticationMethods publickey,password", "PasswordAuthentication yes")
    with pytest.raises(Refused) as caught:
        reach(sshd, ask=lambda prompt: SECRET)
    assert "accepted, but password is wanted too" in caught.value.cause
    assert "password: not accepted" in caught.value.cause


def test_certificate_beside_the_key_is_used(serve, reach, tmp_path):
    authority, key = make_key(tmp_path / "authority"), make_key(tmp_path / "mine")
    command = ["ssh-keygen", "-q", "-s", str(authority), "-I", "me", "-n", USER]
    subprocess.run([*command, f"{key}.pub"], check=True, capture_output=True)
    sshd = serve(f"TrustedUserCAKeys {authority}.pub")
    reach(sshd, identity=str(key)).close()


def test_many_keys_in_the_agent_do_not_lock_us_out(serve, reach, tmp_path, monkeypatch):
    keys = [make_key(tmp_path / f"key{n}") for n in range(8)]
    with ssh_agent(tmp_path, keys[0], monkeypatch):
        subprocess.run(["ssh-add", "-q", *map(str, keys)], check=True, capture_output=True)
        with pytest.raises(Refused) as caught:
            reach(serve(), identity="")
    assert caught.value.cause.count("not accepted") == 4
    assert caught.value.cause.endswith("the server counts them")
