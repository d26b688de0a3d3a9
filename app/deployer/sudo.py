"""Through sudo on a server: the password is asked for here, and goes to sudo's input alone.

The command of starting.py says on stderr that sudo asks, and then that Python runs. Until it does,
nothing is sent but a password, and that only to a question; each wait has an end.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from app.deployer.keychain import Ask
from app.deployer.starting import NO_PYTHON, NO_SUDO, PROMPT, TOKEN, no_python
from app.errors import Problem, Refused, Unreachable

if TYPE_CHECKING:
    import paramiko

PATIENCE = 9.0
TRIES = 3
KEPT = 64 * 1024
EXPIRED = b"password is expired"


def get_through(channel: paramiko.Channel, place: str, token: str, ask: Ask | None) -> None:
    """Return when Python has begun there. Raises Refused when sudo does not let us through."""
    try:
        for attempt in range(TRIES):
            said = until_asked(channel, place, token, bool(attempt))
            if said is None:
                return
            if attempt and not says_wrong(said):
                raise another_question(place, said)
            answer(channel, place, ask)
        said = until_asked(channel, place, token, True)
        if said is not None:
            raise wrong_password(place) if says_wrong(said) else another_question(place, said)
    except BaseException:
        channel.close()
        raise


def answer(channel: paramiko.Channel, place: str, ask: Ask | None) -> None:
    password = ask(question(place)) if ask else None
    if password is None:
        raise Refused(
            f"sudo on {place} wants a password, and none was given.",
            remedy="Give it at a terminal, or once and for all with --remember: "
            "rhythmicml location add … --privilege sudo --remember",
        )
    with contextlib.suppress(OSError):  # sudo has ended meanwhile; it says why
        channel.sendall(password.encode() + b"\n")


def question(place: str) -> str:
    return f"Password for sudo on {place}"


def until_asked(channel: paramiko.Channel, place: str, token: str, answered: bool) -> str | None:
    """What stood on stderr before sudo's question; None when Python has begun instead."""
    asks, begun = PROMPT.replace(TOKEN, token).encode(), token[::-1].encode()
    end = time.monotonic() + PATIENCE
    said = b""
    while asks not in said and begun not in said:
        channel.settimeout(max(0.0, end - time.monotonic()))
        try:
            part = channel.recv_stderr(4096)
        except TimeoutError:
            other = another_question if answered and said.strip() else silent
            raise other(place, words(said)) from None
        if not part:
            raise ended(channel, place, words(said))
        said = (said + part)[-KEPT:]
        if answered and EXPIRED in said:
            raise another_question(place, words(said))
    return None if begun in said else words(said.partition(asks)[0])


def words(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip()


def says_wrong(said: str) -> bool:
    """Whether sudo asks once more for the same; anything else is another question."""
    return "try again" in said


def ended(channel: paramiko.Channel, place: str, said: str) -> Problem:
    """sudo has given up, or there was nothing to run."""
    if not channel.status_event.wait(2):
        return Unreachable(f"The connection to {place} was lost.", detail=said)
    code = channel.exit_status
    if code == NO_PYTHON:
        return no_python(place, said)
    if code == NO_SUDO:
        return Refused(
            f"There is no sudo on {place}.",
            remedy="Log in as root, or install for yourself alone: --privilege user",
        )
    if "incorrect password" in said:
        return wrong_password(place)
    return Refused(
        f"sudo on {place} does not let us through.",
        cause=why(said) or f"exit status {code}",
        detail=said,
        remedy=remedy(said),
    )


def why(said: str) -> str:
    """sudo's last line, which is its reason."""
    return said.splitlines()[-1].removeprefix("sudo: ") if said else ""


def remedy(said: str) -> str:
    if "tty" in said:
        return "Ask the administrator for a line in sudoers: Defaults:USER !requiretty"
    if "expired" in said:
        return "Log in with ssh, set a new password (passwd), and run the same command again."
    return (
        "Ask the administrator for the right to run python3 as root there, "
        "or install for yourself alone: --privilege user"
    )


def wrong_password(place: str) -> Refused:
    return Refused(
        f"sudo on {place} did not take the password.",
        remedy="Run the same command again; it is the password of that user there.",
    )


def another_question(place: str, said: str) -> Refused:
    """An expired password, a second factor: nothing that we could answer with the same words."""
    return Refused(
        f"sudo on {place} asks for more than a password.",
        cause=why(said),
        detail=said,
        remedy=remedy(said)
        if "expired" in said
        else "Ask the administrator to let that user through with the password alone, "
        "or install for yourself alone: --privilege user",
    )


def silent(place: str, said: str) -> Unreachable:
    return Unreachable(
        f"sudo on {place} has said nothing for {PATIENCE:g} seconds.",
        detail=said,
        remedy="See what it waits for: ssh there and run sudo true",
    )
