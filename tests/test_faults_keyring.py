"""F07: no keyring, or a locked one: said plainly, nothing kept in plain text, the rest works."""

import textwrap

import pytest
from client import Client, Failed
from secrecy import places_here, set_secret, write_secretive_model

from app.deployer import keychain
from app.errors import Problem

SECRET = "passphrase-0123456789-abcdefghij"
LOCKED = """
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

class Keyring(KeyringBackend):
    priority = 1

    def refuse(self, *words):
        raise KeyringLocked("The user dismissed the dialogue.")

    get_password = set_password = delete_password = refuse
"""


@pytest.fixture(params=["none", "locked"])
def backend(request, tmp_path, monkeypatch):
    """A keyring that does not do, here and in programs that are started."""
    import keyring

    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "locked_keyring.py").write_text(textwrap.dedent(LOCKED))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    name = {"none": "keyring.backends.fail.Keyring", "locked": "locked_keyring.Keyring"}
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", name[request.param])
    before = keyring.get_keyring()
    keyring.core.init_backend()
    yield request.param
    keyring.set_keyring(before)


def test_f07_secret_is_kept_nowhere_unless_a_file_is_agreed_to(backend, tmp_path):
    client = Client(tmp_path / "home")
    folder = write_secretive_model(tmp_path / "vault", "vault")
    client("add", str(folder))
    code, said = set_secret(client, "vault", SECRET)
    assert code == 1
    assert "keyring" in said
    assert "--file" in said
    assert places_here(SECRET, tmp_path) == []
    with pytest.raises(Failed) as failed:
        client("deploy", "vault")
    assert "secret set" in failed.value.problem["remedy"]
    assert set_secret(client, "vault", SECRET, "--file")[0] == 0
    assert places_here(SECRET, tmp_path) == [str(tmp_path / "home" / "secrets.json")]


def test_f07_what_is_typed_does_for_this_run_and_is_kept_nowhere(backend, tmp_path):
    question, asked = f"Passphrase of {tmp_path}", []

    def ask(said):
        asked.append(said)
        return SECRET

    for _ in range(2):
        with keychain.answering(ask) as answer:
            assert answer(question) == SECRET
    assert asked == [question]
    with pytest.raises(Problem) as told:
        keychain.store(question, SECRET)
    assert "keyring" in told.value.what
    assert "ssh-add" in told.value.remedy
    assert places_here(SECRET, tmp_path) == []
    keychain._known.pop(question)
