"""F10. Known hosts: the same verdict as OpenSSH's, never a wider one, and never a broken file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sshd import fingerprint, make_key

from app.deployer import trust as trusts
from app.deployer.trust import HostKey, Trust, parse_line
from app.errors import NotTrusted, Problem

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="there is no ssh-keygen")


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> list[str]:
    """Three public keys as they stand in a known_hosts line: `ssh-ed25519 AAAA…`."""
    folder = tmp_path_factory.mktemp("keys")
    made = [
        make_key(folder / "a"),
        make_key(folder / "b", "ecdsa"),
        make_key(folder / "c", "rsa"),
    ]
    return [" ".join(key.with_suffix(".pub").read_text().split()[:2]) for key in made]


def host_key(text: str) -> HostKey:
    known = parse_line(f"x {text}")
    assert known
    return known.key


def hashed(folder: Path, line: str) -> str:
    path = folder / "to-hash"
    path.write_text(line + "\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True)
    return path.read_text().strip()


HOSTS = [
    "web.example.com",
    "WEB.example.com",
    "bad.example.com",
    "[web.example.com]:2222",
    "10.0.0.7",
    "[10.0.0.7]:2222",
    "other",
]
FILES = {
    "plain": "web.example.com {0}\n10.0.0.7 {1}\n",
    "two names": "web.example.com,10.0.0.7 {0}\n",
    "port": "[web.example.com]:2222 {0}\n[10.0.0.7]:2222,other {1}\n",
    "wildcard": "*.example.com {0}\n",
    "negated": "*.example.com,!bad.example.com {0}\n",
    "negated first": "!bad.example.com,*.example.com {0}\n",
    "question mark": "we?.example.com {0}\n",
    "brackets are no class": "[abc].example.com {0}\nothe[r] {0}\n",
    "all": "* {0}\n",
    "upper case": "WEB.EXAMPLE.COM {0}\n",
    "tabs and spaces": "  web.example.com\t {0}   a comment here\n",
    "windows": "web.example.com {0}\r\n10.0.0.7 {1}\r\n",
    "comments": "# web.example.com {0}\n\n#x\nother {1}\n",
    "garbage": "\x00\x01\n{0}\nweb.example.com\nweb.example.com ssh-ed25519 !!!!\nother {1}\n",
    "several keys": "web.example.com {0}\nweb.example.com {1}\nweb.example.com {2}\n",
    "no end of line": "web.example.com {0}",
    "other ends of lines": "# a\x0b10.0.0.7 {0}\n# b\x0c10.0.0.7 {0}\n# c\u202810.0.0.7 {0}\n"
    "# d\x8510.0.0.7 {0}\n# e\x1e10.0.0.7 {0}\n# f\r10.0.0.7 {0}\nother {1}\n",
    "other white space": "10.0.0.7\x0c{0}\n10.0.0.7\xa0{0}\n10.0.0.7\r{0}\n\r10.0.0.7 {0}\n"
    "other,10.0.0.7\r {1}\nweb.example.com {2}\r \n",
    "nothing after a NUL": "10.0.0.7 {0}\x00 junk\nother\x0010.0.0.7 {1}\n",
    "endless pattern": "a" * 2000 + ",other {0}\n" + "b" * 1022 + ",10.0.0.7 {1}\n",
    "unknown markers": "@trusted other {0}\n@ other {0}\n@revoked\n@cert-authority other\n",
    "version 1": "other 1024 35 1234567890123\n10.0.0.7 {0}\n",
    "long": "".join(f"h{n} {{0}}\n" for n in range(2000)) + "other {1}\n",
}


@pytest.mark.parametrize("name", FILES)
def test_same_lines_as_ssh_keygen(name, keys, tmp_path):
    path = tmp_path / "known_hosts"
    path.write_bytes(FILES[name].format(*keys).encode())
    before = path.read_bytes()
    trust = Trust(tmp_path / "own", (path,))
    for host in HOSTS:
        assert trust.keys(host) == found_by_openssh(path, host), host
    assert path.read_bytes() == before


def test_hashed_names_are_found_as_ssh_keygen_does(keys, tmp_path):
    path = tmp_path / "known_hosts"
    lines = [f"web.example.com {keys[0]}", f"[10.0.0.7]:2222 {keys[1]}"]
    path.write_text("".join(hashed(tmp_path, line) + "\n" for line in lines))
    assert "example" not in path.read_text()
    trust = Trust(tmp_path / "own", (path,))
    for host in HOSTS:
        assert trust.keys(host) == found_by_openssh(path, host), host
    assert trust.keys("[10.0.0.7]:2222")


def found_by_openssh(path: Path, host: str) -> list[HostKey]:
    command = ["ssh-keygen", "-F", host.lower(), "-f", str(path)]
    out = subprocess.run(command, capture_output=True, check=False).stdout.decode("latin-1")
    lines = [parse_line(line) for line in out.split("\n") if not line.startswith("#")]
    return [known.key for known in lines if known]


def test_revoked_key_is_refused_even_when_it_is_also_known(keys, tmp_path):
    path = tmp_path / "known_hosts"
    path.write_text(f"web {keys[0]}\n@revoked * {keys[0]}\n")
    trust = Trust(tmp_path / "own", (path,))
    trust.accept(host_key(keys[0]).fingerprint)
    with pytest.raises(Problem, match="revoked"):
        trust.check("web", host_key(keys[0]))


def test_revoked_line_does_not_hide_the_others(keys, tmp_path):
    path = tmp_path / "known_hosts"
    path.write_text(f"@revoked * {keys[1]}\nweb {keys[0]}\n")
    Trust(tmp_path / "own", (path,)).check("web", host_key(keys[0]))


def test_certificate_authority_is_no_host_key(keys, tmp_path):
    path = tmp_path / "known_hosts"
    path.write_text(f"@cert-authority * {keys[0]}\n@unknown web {keys[0]}\n")
    with pytest.raises(NotTrusted):
        Trust(tmp_path / "own", (path,)).check("web", host_key(keys[0]))


def test_key_whose_type_is_not_its_own_counts_for_nothing(keys, tmp_path):
    path = tmp_path / "known_hosts"
    path.write_text(f"web ecdsa-sha2-nistp256 {keys[0].split()[1]}\n")
    assert Trust(tmp_path / "own", (path,)).keys("web") == []


def test_fingerprint_is_openssh_s(tmp_path):
    key = make_key(tmp_path / "key")
    shown = host_key(" ".join(key.with_suffix(".pub").read_text().split()[:2]))
    assert shown.fingerprint == fingerprint(key)


@pytest.mark.parametrize(
    "said", ["", "yes", "SHA256:short", "MD5:" + "a" * 43, "SHA256:" + "*" * 43]
)
def test_what_is_no_fingerprint_cannot_be_accepted(said, tmp_path):
    with pytest.raises(Problem, match="not a fingerprint"):
        Trust(tmp_path / "own").accept(said)


def test_accepting_adds_a_line_and_keeps_the_rest(keys, tmp_path):
    own = tmp_path / "data" / "known_hosts"
    own.parent.mkdir()
    own.write_text(f"# ours\nother {keys[1]}")
    trust = Trust(own)
    trust.accept(host_key(keys[0]).fingerprint)
    trust.check("web", host_key(keys[0]))
    assert own.read_text() == f"# ours\nother {keys[1]}\nweb {keys[0]}\n"
    assert own.stat().st_mode & 0o777 == 0o600
    assert os.listdir(own.parent) == ["known_hosts"]


def test_accepted_key_does_not_excuse_a_changed_one(keys, tmp_path):
    own = tmp_path / "known_hosts"
    own.write_text(f"web {keys[1]}\n")
    trust = Trust(own)
    trust.accept(host_key(keys[0]).fingerprint)
    with pytest.raises(Problem, match="has changed"):
        trust.check("web", host_key(keys[0]))


def test_forgetting_takes_only_that_host(keys, tmp_path):
    own = tmp_path / "known_hosts"
    own.write_text(f"web {keys[0]}\n# note\nweb {keys[1]}\n[web]:2222 {keys[0]}\n")
    assert Trust(own).forget("web") == 2
    assert own.read_text() == f"# note\n[web]:2222 {keys[0]}\n"
    assert Trust(own).forget("web") == 0


def test_ten_megabytes_are_read_in_good_time(keys, tmp_path):
    path = tmp_path / "known_hosts"
    line = f"some.host.example.com {keys[2]}\n"
    path.write_text(line * (10_000_000 // len(line)) + f"web {keys[0]}\n")
    begun = time.monotonic()
    assert Trust(tmp_path / "own", (path,)).keys("web") == [host_key(keys[0])]
    assert time.monotonic() - begun < 2


def test_file_that_cannot_be_read_is_a_problem(tmp_path):
    with pytest.raises(Problem, match="cannot be read"):
        Trust(tmp_path / "own", (tmp_path,)).keys("web")


def test_kill_while_storing_leaves_a_whole_file(keys, tmp_path):
    own = tmp_path / "known_hosts"
    code = (
        "import sys; from pathlib import Path; from app.deployer import trust\n"
        "text = 'web ' + sys.argv[2] + '\\n'\n"
        "print(flush=True)\n"
        "for n in range(10**9): trust.write(Path(sys.argv[1]), text * (1 + n % 50))\n"
    )
    for n in range(10):
        command = [sys.executable, "-c", code, str(own), keys[0]]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(0.01 * n)
            process.send_signal(signal.SIGKILL)
        lines = own.read_text().splitlines() if own.exists() else []
        assert all(trusts.parse_line(line) for line in lines)


def test_changed_key_in_the_users_file_is_for_the_user_to_remove(keys, tmp_path):
    path = tmp_path / "known_hosts"
    path.write_text(f"[web]:2222 {keys[0]}\n")
    with pytest.raises(Problem) as caught:
        Trust(tmp_path / "own", (path,)).check("[web]:2222", host_key(keys[1]), "srv")
    assert caught.value.remedy.endswith(f'ssh-keygen -R "[web]:2222" -f "{path}"')
