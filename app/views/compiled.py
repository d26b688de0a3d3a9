"""Templates as Python made of them, kept from one start to the next: compiling one is most of what
its page takes the first time. A cache: what is wrong with it costs nothing but that.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket

from app import VERSION, config, frozen, portable

FOLDER = "templates"
DIGEST = hashlib.sha256().digest_size


def loader() -> jinja2.BaseLoader:
    """Where templates are; in the one file they are read as they lie there: a hundred files less to
    make at each start."""
    if not (archive := frozen.packed()):
        return jinja2.FileSystemLoader(config.asset("templates"))

    def read(name: str) -> str | None:
        with suppress(KeyError):
            return archive.read(f"assets/templates/{name}").decode("utf-8")
        return None

    return jinja2.FunctionLoader(read)


class Compiled(jinja2.BytecodeCache):
    """A file for each, replaced whole: a digest, and what it is of."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """Not by its path: one file is unpacked into another folder at each start."""
        return super().get_cache_key(f"{name}|{VERSION}|{jinja2.__version__}")

    def load_bytecode(self, bucket: Bucket) -> None:
        """What is damaged never comes to Python, which would end at it."""
        with suppress(OSError):
            kept = (self._folder / bucket.key).read_bytes()
            code = kept[DIGEST:]
            if hashlib.sha256(code).digest() == kept[:DIGEST]:
                bucket.bytecode_from_string(code)  # if it is of this text and this Python

    def dump_bytecode(self, bucket: Bucket) -> None:
        code = bucket.bytecode_to_string()
        partial = self._folder / f".{bucket.key}.{os.getpid()}.{threading.get_ident()}"
        with suppress(OSError):  # a full disk
            self._folder.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | portable.NO_LINK
            with open(portable.opened(partial, flags), "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            partial.replace(self._folder / bucket.key)
