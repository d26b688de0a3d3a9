"""What a pickled model says of itself, read from the file's bytes. Nothing is unpickled here."""

from __future__ import annotations

import pickletools
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

GLOBALS = (
    re.compile(rb"c([\w.]+)\n([\w.]+)\n"),
    re.compile(rb"\x8c.([\w.]+)\x94\x8c.([\w.]+)\x94\x93", re.DOTALL),
)
"""A class by module and name, as written before and from protocol 4 on."""
GATHERED = re.compile(rb"(\x80.)?(\x95.{8})?(\](?!\x00)|[})(])", re.DOTALL)
PACKED = (b"\x78", b"\x1f\x8b", b"BZ", b"\x5d\x00", b"\xfd7z", b"\x04\x22\x4d\x18")
"""How files begin that joblib compressed: zlib, gzip, bz2, lzma, xz, lz4."""
BUILDERS = frozenset({"copy_reg", "copyreg", "builtins", "__builtin__"})
RELEASED = re.compile(r"\d+(\.\d+)+(rc\d+|\.post\d+)?")
REMEMBERED = frozenset({"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"})
LISTED = REMEMBERED | {"MARK", "APPEND", "APPENDS"}
MOST = 1 << 24
"""Of what is packed: no more than this is unpacked [bytes]."""


@dataclass(frozen=True)
class Pickled:
    """What was read; what could not be is empty.

    classes: by module and name, the outermost first. version: scikit-learn's. features: how many
    numbers the first step takes that was fitted; names: theirs. by_joblib: whether pickle alone
    could not read it. named: whether it was fitted on a table. gathered: whether it is a dict, list
    or tuple, of whatever, and no model itself.
    """

    classes: tuple[str, ...] = ()
    version: str = ""
    features: int = 0
    names: tuple[str, ...] = ()
    by_joblib: bool = False
    named: bool = False
    gathered: bool = False

    @property
    def modules(self) -> frozenset[str]:
        return frozenset(each.split(".")[0] for each in self.classes)


def read(data: bytes) -> Pickled:
    """data: the file, or its beginning and its end."""
    text = _unpacked(data)
    version, features = _after(text, b"_sklearn_version"), _after(text, b"n_features_in_")
    return Pickled(
        _classes(text),
        version if isinstance(version, str) and RELEASED.fullmatch(version) else "",
        features if isinstance(features, int) else 0,
        _names(text),
        data.startswith(PACKED) or b"joblib.numpy_pickle" in text,
        b"feature_names_in_" in text,
        GATHERED.match(text) is not None,
    )


def _unpacked(data: bytes) -> bytes:
    """What zlib or gzip packed, which is how joblib compresses unless told otherwise."""
    if not data.startswith(PACKED[:2]):
        return data
    with suppress(zlib.error):
        return zlib.decompressobj(wbits=47).decompress(data, MOST)
    return data


def _classes(text: bytes) -> tuple[str, ...]:
    pattern = GLOBALS[text[:1] == b"\x80" and text[1:2] >= b"\x04"]
    found = (b".".join(each.groups()).decode("ascii", "replace") for each in pattern.finditer(text))
    return tuple(dict.fromkeys(each for each in found if each.split(".")[0] not in BUILDERS))


def _operations(text: bytes, key: bytes) -> Iterator[tuple[str, Any]]:
    """The pickle's operations behind a key, as far as they can be read: name and argument."""
    at = text.find(key)
    if at < 0:
        return
    rest = text[at + len(key) :].removeprefix(b"\n")
    with suppress(ValueError, IndexError, UnicodeDecodeError):
        for operation, argument, _ in pickletools.genops(rest):
            yield operation.name, argument


def _after(text: bytes, key: bytes) -> Any:
    """The value that is kept under a key."""
    found = (argument for name, argument in _operations(text, key) if name not in REMEMBERED)
    return next(found, None)


def _names(text: bytes) -> tuple[str, ...]:
    """The columns it was fitted on: the first list behind the key, when it is one of texts."""
    names: list[str] | None = None
    for operation, argument in _operations(text, b"feature_names_in_"):
        if names is None:
            names = [] if operation in ("EMPTY_LIST", "LIST") else None
        elif "UNICODE" in operation:
            names.append(argument)
        elif operation not in LISTED:
            whole = operation == "TUPLE" and all(map(str.isprintable, names))
            return tuple(names) if whole else ()
    return ()
