"""Passwords and passphrases in the operating system's keyring; only when the person asks for it."""

from __future__ import annotations

from collections.abc import Callable

from app.errors import Problem

Ask = Callable[[str], "str | None"]

SERVICE = "rhythmicml"


def first(ask: Ask | None) -> Ask:
    """Answers from the keyring; what is not there, or did not do, is asked for."""
    looked_up: set[str] = set()

    def answer(prompt: str) -> str | None:
        known = None if prompt in looked_up else fetch(prompt)
        looked_up.add(prompt)
        if known is not None:
            return known
        return ask(prompt) if ask else None

    return answer


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


def no_keyring() -> Problem:
    return Problem(
        "This machine has no keyring that we can use.",
        remedy="Use an SSH agent (ssh-add), or type the password each time.",
    )
