"""What the tests of the pages share beside the window."""

import pytest
from deployer.sshd import Sshd, make_key


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A real sshd, that admits the key beside it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / "sshd" / "home").mkdir(parents=True)
    settings = f"SetEnv HOME={tmp_path}/sshd/home PATH=/usr/bin:/bin"
    with Sshd(tmp_path / "sshd", settings) as sshd:
        sshd.admit(make_key(tmp_path / "key"))
        yield sshd
