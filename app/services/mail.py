"""Telling people of alerts by e-mail, through a server that speaks SMTP."""

from __future__ import annotations

import re
import smtplib
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any

from app.errors import Problem
from app.services import trust
from app.services.message import Message

WITHIN = 10.0
"""Seconds for each answer of the server."""
SECURITY = ("starttls", "tls", "none")
PORTS = {"starttls": 587, "tls": 465, "none": 25}
ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Mail:
    """How e-mail is sent. user: empty where the server wants no password."""

    host: str
    port: int
    security: str
    sender: str
    to: tuple[str, ...]
    user: str = ""

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Mail:
        return cls(**{**kept, "to": tuple(kept["to"])})

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "to": list(self.to)}

    @property
    def shown(self) -> str:
        return f"{', '.join(self.to)} through {self.host}:{self.port}"


def checked(
    server: str, sender: str, to: tuple[str, ...], *, security: str = "starttls", user: str = ""
) -> Mail:
    """server: HOST or HOST:PORT. Raises Problem at what cannot be."""
    if security not in SECURITY:
        raise Problem(f'"{security}" is no way to speak to a server.', remedy=", ".join(SECURITY))
    host, colon, digits = server.rpartition(":")
    host, port = (host, digits) if colon else (server, str(PORTS[security]))
    if not HOST.fullmatch(host) or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise Problem(f'"{server}" is no mail server.', remedy="Give HOST or HOST:PORT.")
    wrong = [each for each in (sender, *to) if not ADDRESS.fullmatch(each)]
    if wrong or not to:
        what = f'"{wrong[0]}" is no e-mail address.' if wrong else "Nobody is named to write to."
        raise Problem(what, remedy="Give one such as ana@example.com.")
    if user and (security == "none" and not _is_near(host)):
        raise Problem(
            f"A password would go to {host} unencrypted.",
            remedy="Choose starttls or tls, or leave out the user.",
        )
    return Mail(host, int(port), security, sender, to, user)


def _is_near(host: str) -> bool:
    return host in ("localhost", "127.0.0.1", "::1")


def send(mail: Mail, password: str | None, message: Message) -> None:
    """Raises Problem when the server did not take it for everybody."""
    try:
        with _server(mail) as server:
            if mail.security == "starttls":
                server.starttls(context=trust.context())
            if mail.user:
                server.login(mail.user, password or "")
            refused = server.send_message(letter(mail, message))
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise _not_sent(mail, _said(error)) from error
    if refused:
        raise _not_sent(mail, f"Not for {', '.join(refused)}.")


def _server(mail: Mail) -> smtplib.SMTP:
    name = socket.gethostname()
    name = name if "." in name else "[127.0.0.1]"  # smtplib would ask DNS, for as long as it takes
    if mail.security == "tls":
        context = trust.context()
        return smtplib.SMTP_SSL(mail.host, mail.port, name, timeout=WITHIN, context=context)
    return smtplib.SMTP(mail.host, mail.port, name, timeout=WITHIN)


def letter(mail: Mail, message: Message) -> EmailMessage:
    """What is sent. Nothing in it makes a header: a host's words may hold line ends."""
    made = EmailMessage()
    made["Subject"] = " ".join(f"[RhythmicML] {message.title}".split())[:200]
    made["From"], made["To"] = mail.sender, ", ".join(mail.to)
    made["Date"], made["Message-ID"] = (
        formatdate(),
        make_msgid(domain=mail.sender.rpartition("@")[2]),
    )
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(str(message.body["text"]).encode("utf-8", "replace").decode() + "\n")
    return made


def _said(error: Exception) -> str:
    """What a server answers is bytes in most of smtplib's errors."""
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        return f"{error.smtp_code} {text}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(
            f"{who}: {code} {said.decode('utf-8', 'replace')}"
            for who, (code, said) in error.recipients.items()
        )
    return str(error) or type(error).__name__


def _not_sent(mail: Mail, cause: str) -> Problem:
    return Problem(
        f"The mail server {mail.host}:{mail.port} did not take it.",
        cause=cause[:500],
        remedy="Look at its settings: rhythmicml alerts email",
    )
