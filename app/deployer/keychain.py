"""Passwords and passphrases: asked for once in a run of the program, and kept in the operating
system's keyring only when the person asks for that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.errors import Problem

Ask = Callable[[str], "str | None"]

SERVICE = "rhythmicml"


_known: dict[str, str] = {}
"""What let us in during this run of the program."""


@contextmanager
def answering(ask: Ask | None) -> Iterator[Ask]:
    """Answers while a connection is made, and afterwards while it lasts.

    From earlier in this run, else the keyring; what is not there, or did not do (then it is asked
    for again), the person is asked for. All is kept for this run when the block ends well.
    """
    given: dict[str, str] = {}

    def answer(prompt: str) -> str | None:
        found = None if prompt in given else _known.get(prompt) or fetch(prompt)
        if found is None and ask:
            found = ask(prompt)
        if found is not None:
            given[prompt] = found
        return found

    try:
        yield answer
    except BaseException:
        for prompt in given:
            _known.pop(prompt, None)
        raise
    else:
        _known.update(given)
    finally:
        given.clear()


def fetch(prompt: str) -> str | None:
    """What was stored as the answer to this prompt; None too where there is no keyring."""
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password(SERVICE, prompt)
    except KeyringError:
        return None


def store(prompt: str, secret: str) -> None:
    """Keep the answer to this prompt."""
    import keyring
    from keyring.errors import KeyringError

    try:
        keyring.set_password(SERVICE, prompt, secret)
    except KeyringError as error:
        raise no_keyring() from error


def forget(prompt: str) -> None:
    """Remove the answer to this prompt, if there is one."""
    import keyring
    from keyring.errors import KeyringError, PasswordDeleteError

    try:
        keyring.delete_password(SERVICE, prompt)
    except PasswordDeleteError:
        pass
    except KeyringError as error:
        raise no_keyring() from error


def backend() -> str:
    """Which keyring there is, in words; "" for none that we can use."""
    import keyring
    from keyring.backends import chainer, fail, null

    found = keyring.get_keyring()
    if isinstance(found, (fail.Keyring, null.Keyring)):
        return ""
    if isinstance(found, chainer.ChainerBackend):
        return ", ".join(each.name for each in found.backends)
    return str(found.name)


def no_keyring() -> Problem:
    return Problem(
        "This machine has no keyring that we can use.",
        remedy="Use an SSH agent (ssh-add), or type the password each time.",
    )
