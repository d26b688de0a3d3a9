"""TLS certificates of public instances: the user's own, checked; or made here."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import Problem

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

DAYS = 825
RENEWED_BEFORE = timedelta(days=30)
MAKER = "RhythmicML"
EVERY_HOST = ("localhost", "127.0.0.1", "::1")
"""Names by which an instance is known through a tunnel."""


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain and its key, both PEM."""

    certificate: str
    key: str = field(repr=False)
    words: str = ""


@dataclass(frozen=True)
class Described:
    """What people want to know of a certificate. fingerprint: SHA-256, as openssl writes it."""

    fingerprint: str
    expires: datetime
    names: tuple[str, ...]
    made_here: bool

    def ends_soon(self) -> bool:
        return self.expires - _now() < RENEWED_BEFORE

    def as_dict(self) -> dict[str, object]:
        return {
            "fingerprint": self.fingerprint,
            "expires": self.expires.isoformat(timespec="seconds"),
            "names": list(self.names),
            "self_signed": self.made_here,
        }


def describe(pem: str) -> Described:
    """Of the first certificate in a PEM text. Raises ValueError."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    first = x509.load_pem_x509_certificates(pem.encode())[0]
    makers = first.issuer.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return Described(
        fingerprint=first.fingerprint(hashes.SHA256()).hex(":").upper(),
        expires=first.not_valid_after_utc,
        names=_names(first),
        made_here=first.issuer == first.subject and [each.value for each in makers] == [MAKER],
    )


def known(pem: str | None) -> Described | None:
    """What is there, if it can be read."""
    try:
        return describe(pem) if pem else None
    except (ValueError, IndexError):
        return None


def needed(found: str | None, name: str, names: Sequence[str], own: Pair | None) -> Pair | None:
    """What has to be put on a host that has `found`; None when that will do.

    own: the configured certificate; without one, what was made here is renewed when it ends soon
    or lacks one of the names.
    """
    if own:
        return own if own.certificate != found else None
    there = known(found)
    if there and there.made_here and not there.ends_soon() and set(names) <= set(there.names):
        return None
    return make(name, names)


def make(name: str, names: Sequence[str]) -> Pair:
    """A self-signed one on P-256, for these host names and addresses."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    of = x509.NameOID
    subject = x509.Name(
        [x509.NameAttribute(of.ORGANIZATION_NAME, MAKER), x509.NameAttribute(of.COMMON_NAME, name)]
    )
    begin = _now() - timedelta(minutes=5)
    end = begin + timedelta(days=DAYS)
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for extension, critical in _extensions(key, names):
        builder = builder.add_extension(extension, critical)
    made = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    return Pair(
        made.public_bytes(pem).decode(),
        key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        f"a self-signed certificate ({names[0]}, good until {end:%Y-%m-%d})",
    )


def _extensions(
    key: PrivateKeyTypes, names: Sequence[str]
) -> list[tuple[x509.ExtensionType, bool]]:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    use = dict.fromkeys(
        (
            *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    public = key.public_key()
    return [
        (x509.SubjectAlternativeName([_general(each) for each in names]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.KeyUsage(digital_signature=True, **use), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),  # type: ignore[arg-type]
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False),  # type: ignore[arg-type]
    ]


def _general(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    kinds = (x509.DNSName, x509.IPAddress)
    return tuple(str(each.value) for each in found if isinstance(each, kinds))


def names_of(*wanted: str) -> list[str]:
    """Host names and addresses that a certificate can hold, each once; tunnels included."""
    fit = [each for each in wanted if each and each.isascii() and "%" not in each]
    return list(dict.fromkeys([*fit, *EVERY_HOST]))


def read(certificate: str | None, key: str | None) -> Pair | None:
    """The configured files of this machine, checked; None when none are configured."""
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise Problem(
            "A certificate and its key belong together, and only one of them is configured.",
            remedy="Set both certificate and certificate_key under [deploy], or neither.",
        )
    pair = Pair(_text(certificate), _text(key), f"the certificate of {certificate}")
    _refuse_unfit(pair, certificate, key)
    return pair


def _text(path: str) -> str:
    try:
        return Path(path).read_text("ascii")
    except (OSError, ValueError) as error:
        raise Problem(
            f'"{path}" cannot be read.',
            cause=getattr(error, "strerror", "") or "It is no PEM text.",
            remedy="certificate and certificate_key under [deploy] name PEM files of this machine.",
        ) from None


def _refuse_unfit(pair: Pair, certificate: str, key: str) -> None:
    """Not PEM, a key of another certificate, or one whose time is over or has not come."""
    from cryptography import x509

    try:
        first = x509.load_pem_x509_certificates(pair.certificate.encode())[0]
    except (ValueError, IndexError):
        raise Problem(
            f'"{certificate}" holds no certificate that we can read.',
            remedy="Write it as PEM, the host's own certificate first, then its chain.",
        ) from None
    if _private(pair.key, key).public_key() != first.public_key():
        raise Problem(
            f'"{key}" is not the key of "{certificate}".',
            remedy="Set the key that the certificate was made for.",
        )
    now = _now()
    if now >= first.not_valid_after_utc or now < first.not_valid_before_utc:
        raise Problem(
            f'The certificate "{certificate}" is not valid now.',
            cause=f"It holds from {first.not_valid_before_utc:%Y-%m-%d %H:%M} "
            f"to {first.not_valid_after_utc:%Y-%m-%d %H:%M} (UTC).",
            remedy="Renew it, then deploy again.",
        )


def _private(text: str, path: str) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(text.encode(), None)
    except TypeError:
        raise Problem(
            f'The key "{path}" is locked with a passphrase, which a server cannot type.',
            remedy="Write it without one, readable by you alone: openssl pkey -in KEY -out NEW",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise Problem(
            f'"{path}" holds no private key that we can read.', remedy="Write it as PEM."
        ) from None


def _now() -> datetime:
    return datetime.now(timezone.utc)
