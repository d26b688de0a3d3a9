"""`requirements.txt` resolved to a lock: exact versions with hashes. uv's one home on this side.

A lock starts with the index lines of the requirements, as they were written (so that `${TOKEN}`
stays a reference), for whoever installs from it. Paths in it are relative to the model's folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path, PurePosixPath

from app import config, frozen
from app.errors import Problem
from app.models import Configuration

PLATFORM = "linux"
INCLUDE = re.compile(r"(?:-r|--requirement|-c|--constraint)(?:\s*=\s*|\s*)(\S+)")
LINKS = re.compile(r"(?:-f|--find-links)(?:\s*=\s*|\s*)(\S+)")
INDEX = re.compile(
    r"(?:-i\b|--(?:index-url|extra-index-url|no-index|only-binary|no-binary)(?![\w-])).*"
)
YANKED = re.compile(r"`([^`]+)` is yanked(?: \(reason: \"(.*)\"\))?")
UNREACHED = ("Failed to fetch", "Request failed", "error sending request", "network was disabled")


@dataclass
class Requirements:
    """What the requirements say, with all that they include.

    files: every file read, by its path in the model's folder. options: index lines. links: folders
    of packages inside the model's folder. asked: the requirements themselves.
    """

    files: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


def find_uv() -> Path:
    """The uv that came with us, else one on the PATH."""
    if frozen.FROZEN:
        return frozen.uv(config.home() / "tools", metadata.version("uv"))
    import uv

    try:
        return Path(uv.find_uv_bin())
    except FileNotFoundError as error:
        if found := shutil.which("uv"):
            return Path(found)
        raise Problem("uv was not found.", remedy="Install it: pip install uv") from error


def python_of(configuration: Configuration) -> str:
    """The Python a model wants, `major.minor`; this machine's when it does not say."""
    return configuration.python or frozen.python_version()


def key(folder: Path, configuration: Configuration) -> str:
    """Names everything that decides a lock: the same key, the same lock."""
    said = read(folder, configuration.requirements)
    parts = {
        "files": said.files,
        "links": [_listing(folder / link) for link in said.links],
        "python": python_of(configuration),
        "platform": PLATFORM,
        "allow_yanked": configuration.allow_yanked,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def lock(folder: Path, configuration: Configuration) -> bytes:
    """The lock of the folder's requirements, for Linux and the configured Python.

    Raises Problem, with the resolver's own words as its detail, when there is none.
    """
    said = read(folder, configuration.requirements)
    if not said.asked:
        return b""
    answer = _ask_uv(folder, configuration)
    if answer.returncode:
        raise _unresolved(configuration, without_secrets(answer.stderr))
    if not configuration.allow_yanked:
        _refuse_yanked(configuration, without_secrets(answer.stderr))
    lines = [line for line in answer.stdout.splitlines() if line and not line.startswith("#")]
    _refuse_without_hash(configuration, lines)
    return ("\n".join(said.options + lines) + "\n").encode()


def packages(lock: bytes) -> dict[str, str]:
    """The packages of a lock: name → version, or where it comes from."""
    found = {}
    for line in lock.decode().splitlines():
        if match := re.match(r"([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?\s*(?:==|@)\s*([^\s;\\]+)", line):
            found[match[1]] = match[2]
    return found


def read(folder: Path, name: str) -> Requirements:
    """The requirements file and all it includes with -r and -c."""
    said = Requirements()
    _read_into(said, folder, PurePosixPath(name), included_by="")
    return said


def _read_into(said: Requirements, folder: Path, path: PurePosixPath, included_by: str) -> None:
    name = posixpath.normpath(path)
    if name in said.files:
        return
    if name.startswith(("..", "/")):
        raise Problem(
            f'"{included_by}" includes "{path}", which is outside the model\'s folder.',
            remedy="Copy that file into the folder, so that it is versioned too.",
        )
    said.files[name] = _text(folder, name, included_by)
    for line in _lines(said.files[name]):
        _read_line(said, folder, path, line)


def _read_line(said: Requirements, folder: Path, path: PurePosixPath, line: str) -> None:
    if match := INCLUDE.fullmatch(line):
        if "://" in match[1]:
            said.asked.append(line)
        else:
            _read_into(said, folder, path.parent / match[1], included_by=str(path))
    elif match := LINKS.fullmatch(line):
        _read_links(said, path, match[1])
    elif INDEX.fullmatch(line):
        said.options.append(line)
    else:
        said.asked.append(line)


def _read_links(said: Requirements, path: PurePosixPath, value: str) -> None:
    """A place of packages. pip takes it from the file's folder, a lock from the model's."""
    if "://" in value or value.startswith(("/", "$")):
        said.options.append(f"--find-links {value}")
        return
    place = posixpath.normpath(path.parent / value)
    said.links.append(place)
    said.options.append(f"--find-links ./{place}")


def _text(folder: Path, name: str, included_by: str) -> str:
    try:
        return (folder / name).read_text("utf-8-sig")
    except FileNotFoundError as error:
        asked = f', which "{included_by}" includes,' if included_by else ""
        raise Problem(
            f'"{name}"{asked} is not in "{folder}".',
            remedy=f'Create "{name}"; an empty one will do when nothing is needed.',
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f'"{folder / name}" cannot be read as text.') from error


def _lines(text: str) -> Iterator[str]:
    """Logical lines: continued ones joined, comments and empty ones left out."""
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        if bare := re.sub(r"(^|\s)#.*", "", line).strip():
            yield bare


def _listing(folder: Path) -> list[tuple[str, int]]:
    try:
        return sorted((path.name, path.stat().st_size) for path in folder.iterdir())
    except OSError:
        return []


def _ask_uv(folder: Path, configuration: Configuration) -> subprocess.CompletedProcess[str]:
    arguments = [
        *(str(find_uv()), "pip", "compile", configuration.requirements),
        *("--python-version", python_of(configuration), "--python-platform", PLATFORM),
        *("--generate-hashes", "--no-header", "--no-annotate"),
        *("--color", "never", "--no-progress"),
    ]
    # A Python is only needed to build source packages; the one at hand will do.
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    try:
        return subprocess.run(
            arguments,
            cwd=folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    except OSError as error:
        raise Problem("uv could not be started.", remedy="Install it: pip install uv") from error


def index_url() -> str:
    """The package index that uv uses here, by its settings and environment; empty without one."""
    argv = [str(find_uv()), "pip", "compile", "-", "--emit-index-url", "--no-header", "--quiet"]
    done = subprocess.run(argv, input="", capture_output=True, encoding="utf-8", check=False)
    found = re.search(r"^--index-url (\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else ""


def _unresolved(configuration: Configuration, said: str) -> Problem:
    name = configuration.requirements
    if any(words in said for words in UNREACHED):
        return Problem(
            f'The package index could not be asked about "{name}".',
            remedy="Check the network and the index, then commit again.",
            detail=said,
        )
    if "matching platform tag" in said:
        what = f'"{name}" asks for a package that is not made for Linux.'
    elif "Couldn't parse" in said:
        what = f'"{name}" cannot be understood.'
    else:
        what = f'"{name}" cannot be resolved for Python {python_of(configuration)} on Linux.'
    return Problem(what, remedy=f'Correct "{name}", then commit again.', detail=said)


def _refuse_yanked(configuration: Configuration, said: str) -> None:
    yanked = YANKED.findall(said)
    if yanked:
        reasons = [f"{which}: {reason}" if reason else which for which, reason in yanked]
        raise Problem(
            f'"{configuration.requirements}" asks for {yanked[0][0]}, which its author took back.',
            remedy="Ask for another version, or set allow_yanked = true in [dependencies].",
            detail="\n".join(reasons),
        )


def _refuse_without_hash(configuration: Configuration, lines: list[str]) -> None:
    """Folders and repositories have no hash: a host could install something else."""
    for line in lines:
        if not line.startswith((" ", "--")) and not line.endswith("\\"):
            name, asked = configuration.requirements, without_secrets(line)
            raise Problem(
                f'"{name}" asks for {asked}, which has no hash.',
                remedy="Build a wheel of it into a folder here, and name that with --find-links.",
            )


def without_secrets(said: str) -> str:
    return re.sub(r"://[^/@\s`'\"]*@", "://***@", said).strip()
