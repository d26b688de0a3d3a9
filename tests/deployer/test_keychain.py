"""Secrets in the keyring: a real backend, kept in memory."""

from __future__ import annotations

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.errors import PasswordDeleteError

from app.deployer import keychain
from app.errors import Problem


class InMemory(KeyringBackend):
    priority = 1

    def __init__(self):
        super().__init__()
        self.kept = {}

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password

    def delete_password(self, service, username):
        try:
            del self.kept[service, username]
        except KeyError:
            raise PasswordDeleteError from None


@pytest.fixture
def backend(monkeypatch):
    before = keyring.get_keyring()
    monkeypatch.setattr(keychain, "_known", {})
    yield keyring.set_keyring
    keyring.set_keyring(before)


def test_secrets_are_kept_under_our_name_until_forgotten(backend):
    memory = InMemory()
    backend(memory)
    keychain.store("Password of ana@host:22", "secret")
    assert memory.kept == {("rhythmicml", "Password of ana@host:22"): "secret"}
    assert keychain.fetch("Password of ana@host:22") == "secret"
    keychain.forget("Password of ana@host:22")
    keychain.forget("Password of ana@host:22")
    assert keychain.fetch("Password of ana@host:22") is None


def test_without_a_keyring_storing_is_a_problem_and_fetching_finds_nothing(backend):
    backend(NoKeyring())
    assert keychain.fetch("Password of ana@host:22") is None
    with pytest.raises(Problem, match="no keyring"):
        keychain.store("Password of ana@host:22", "secret")
    with pytest.raises(Problem, match="no keyring"):
        keychain.forget("Password of ana@host:22")


def test_stored_answer_comes_first_and_once_then_the_person_is_asked(backend):
    memory = InMemory()
    backend(memory)
    keychain.store("Password of a", "stored")
    with keychain.answering(lambda prompt: f"asked {prompt}") as answer:
        assert [answer("Password of a") for _ in range(2)] == ["stored", "asked Password of a"]
        assert answer("Password of b") == "asked Password of b"
    with keychain.answering(None) as answer:
        assert answer("Password of c") is None


def test_what_let_us_in_is_asked_for_once_in_a_run_and_what_did_not_again(backend):
    backend(NoKeyring())
    asked = []

    def connect(works: bool) -> str | None:
        with keychain.answering(lambda prompt: asked.append(prompt) or "typed") as answer:
            given = answer("Password of a")
            if not works:
                raise Problem("refused")
        assert answer("Password of a") == given  # for as long as the connection lasts
        return given

    with pytest.raises(Problem):
        connect(works=False)
    assert [connect(works=True) for _ in range(2)] == ["typed", "typed"]
    assert len(asked) == 2
    with pytest.raises(Problem):
        connect(works=False)
    connect(works=True)
    assert len(asked) == 3
