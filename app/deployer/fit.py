"""Whether a release fits on a host: said with numbers, before anything is sent. Pure.

What could not be found out is not held against a host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from app.errors import Problem, Unfit
from app.words import size

FLOOR = 1 << 30
FLOOR_PART = 0.05
"""Of a disk, what a deployment leaves free: a twentieth, and never less than 1 GiB."""

SPARE_INODES = 50_000
"""Files that are left to a host after a deployment: an environment has up to so many."""

PACKAGE = 40 << 20
ENVIRONMENT = 30 << 20
LARGE = {
    "jax": 300 << 20,
    "mxnet": 900 << 20,
    "nvidia": 400 << 20,
    "pyspark": 450 << 20,
    "tensorflow": 1800 << 20,
    "torch": 1800 << 20,
    "xgboost": 400 << 20,
}
"""Bytes that a package takes installed, by its first word; of others, PACKAGE. Guesses."""

NEEDED_FLAGS = {
    "polars": ("avx2", "fma"),
    "tensorflow": ("avx",),
    "tensorflow-cpu": ("avx",),
}
"""Packages whose wheels end with SIGILL on a processor without these (x86_64)."""

CUDA = "nvidia-"
"""What the packages begin with that are of use on a GPU of NVIDIA alone."""
WITHOUT_CUDA = {
    "torch": "put --extra-index-url https://download.pytorch.org/whl/cpu into requirements.txt",
    "xgboost": "require xgboost-cpu instead of xgboost",
}
"""Package that brings them → what to do where there is none."""


@dataclass(frozen=True)
class Need:
    """What a release asks of a host.

    sent: bytes. packages: those of the environment that has to be built; none if it is there.
    files: names of files it brings along. memory: its limit [bytes], if it has one. peak: bytes
    that its version was seen to take. loads_in: seconds that the last start on that host took.
    beside: something runs that will go on until this release has proved itself.
    """

    name: str
    sent: int = 0
    packages: tuple[str, ...] = ()
    builds: bool = False
    files: tuple[str, ...] = ()
    memory: int | None = None
    peak: int | None = None
    loads_in: float | None = None
    beside: bool = False


@dataclass(frozen=True)
class Room:
    """What a host has. None: it could not be found out.

    memory_used: the most that what runs of the model took so far. flags: of the processor. gpu:
    whether a driver of NVIDIA is at work.
    """

    base: str = ""
    disk_free: int | None = None
    disk_total: int | None = None
    inodes_free: int | None = None
    memory_free: int | None = None
    memory_used: int | None = None
    libc: str = ""
    flags: tuple[str, ...] | None = None
    gpu: bool | None = None


@dataclass(frozen=True)
class Check:
    """One thing a host has to have. fits: None where it could not be found out."""

    name: str
    words: str
    fits: bool | None


def checks(need: Need, room: Room) -> list[Check]:
    """Everything that is looked at, with its numbers."""
    return [check for check, _ in _judged(need, room)]


def cautions(packages: Iterable[str], room: Room) -> list[Check]:
    """What would run there and is hardly meant: packages for a GPU that the host does not have."""
    there = set(packages)
    cuda = sorted(each for each in there if each.startswith(CUDA))
    if not cuda or room.gpu is not False:
        return []
    come = f"{cuda[0]} comes" if len(cuda) == 1 else f"{len(cuda)} packages of CUDA come"
    takes = size(environment_size(cuda) - ENVIRONMENT)
    remedies = [how for package, how in WITHOUT_CUDA.items() if package in there]
    remedy = "; ".join(remedies) or "require a build without CUDA"
    words = f"no driver of NVIDIA, yet {come}, about {takes}. For the processor alone, {remedy}."
    return [Check("GPU", words, None)]


def refuse_unfit(need: Need, room: Room) -> None:
    """Raises Unfit with all checks, which names the first thing of which there is too little."""
    judged = _judged(need, room)
    for _, problem in judged:
        if problem:
            raise Unfit(
                problem.what,
                cause=problem.cause,
                remedy=problem.remedy,
                checks=[asdict(check) for check, _ in judged],
            )


def _judged(need: Need, room: Room) -> list[tuple[Check, Problem | None]]:
    judged = []
    for name, (refuse, describe) in CHECKS.items():
        words, problem = describe(need, room), None
        try:
            refuse(need, room)
        except Problem as found:
            problem, words = found, found.cause.rstrip(".") or found.what
        check = Check(name, words or "not known", False if problem else True if words else None)
        judged.append((check, problem))
    return judged


def floor(total: int | None) -> int:
    return max(FLOOR, int((total or 0) * FLOOR_PART))


def environment_size(packages: Iterable[str]) -> int:
    """A guess at the bytes of an environment with these packages."""
    return ENVIRONMENT + sum(LARGE.get(re.split("[-_]", each)[0], PACKAGE) for each in packages)


def _refuse_disk(need: Need, room: Room) -> None:
    guess = environment_size(need.packages) if need.builds else 0
    reserve = floor(room.disk_total)
    whole = need.sent + guess + reserve
    if not (need.sent or need.builds) or room.disk_free is None or room.disk_free >= whole:
        return
    built = f", about {size(guess)} for its environment" if guess else ""
    raise Problem(
        f"The disk of {room.base} is too full for {need.name}.",
        cause=f"{size(whole)} needed ({size(need.sent)} to send{built}, {size(reserve)} that stay "
        f"free), {size(room.disk_free)} free.",
        remedy="Make room there, or give the location another base folder.",
    )


def _refuse_inodes(need: Need, room: Room) -> None:
    whole = len(need.files) + (SPARE_INODES if need.builds else 0)
    if room.inodes_free is None or room.inodes_free >= whole:
        return
    raise Problem(
        f"The disk of {room.base} can hold too few files for {need.name}.",
        cause=f"{whole:,} files needed, {room.inodes_free:,} more can be made.",
        remedy="Remove files there, or give the location another base folder.",
    )


def _refuse_memory(need: Need, room: Room) -> None:
    peak = need.peak or room.memory_used
    if not need.beside or peak is None or room.memory_free is None:
        return
    wanted = min(peak, need.memory or peak)
    if room.memory_free >= wanted:
        return
    seen = "this version was seen to take" if need.peak else "what runs took at most"
    raise Problem(
        f"{need.name} cannot run twice on that host, as it does while it is switched.",
        cause=f"{size(wanted)} more needed while both run (as much as {seen}), "
        f"{size(room.memory_free)} free.",
        remedy=f"rhythmicml deploy {need.name} --stop-first ends the old release before the new "
        f"one starts: nobody is answered meanwhile{downtime(need.loads_in)}.",
    )


def downtime(loads_in: float | None) -> str:
    """How long that is, as far as it is known."""
    return f", for about {loads_in:.1f} s as at the last start" if loads_in else ""


def _refuse_libc(need: Need, room: Room) -> None:
    """Only wheels that the release brings along are judged: of others the tags are not known."""
    has = re.fullmatch(r"glibc (\d+)\.(\d+)", room.libc)
    if not has:
        return
    for package, least in sorted(_oldest_libc(need.files).items()):
        if least > (int(has[1]), int(has[2])):
            raise Problem(
                f"The wheels of {package} need glibc {least[0]}.{least[1]}, "
                f"and that host has {has[1]}.{has[2]}.",
                remedy=f"Bring a wheel of {package} for an older glibc, or use a newer host.",
            )


def _oldest_libc(files: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Package → the oldest glibc that one of its wheels among the files runs with."""
    found: dict[str, tuple[int, int]] = {}
    for path in files:
        name = path.rpartition("/")[2]
        if not name.endswith(".whl"):
            continue
        tags = [(int(a), int(b)) for a, b in re.findall(r"manylinux_(\d+)_(\d+)_", name)]
        least = min(tags, default=(0, 0))
        package = name.partition("-")[0]
        found[package] = min(least, found.get(package, least))
    return found


def _refuse_processor(need: Need, room: Room) -> None:
    if room.flags is None:
        return
    for package in need.packages:
        lacking = [each for each in NEEDED_FLAGS.get(package, ()) if each not in room.flags]
        if lacking:
            raise Problem(
                f"{package} cannot run on that host's processor.",
                cause=f"It uses {', '.join(lacking)}, which the processor does not have.",
                remedy=f"Use a host that has it, or a build of {package} without it.",
            )


# What there is, in words; empty where it is not known


def _disk_words(need: Need, room: Room) -> str:
    if room.disk_free is None:
        return ""
    built = f", about {size(environment_size(need.packages))} to build" if need.builds else ""
    return f"{size(need.sent)} to send{built}; {size(room.disk_free)} free"


def _inodes_words(need: Need, room: Room) -> str:
    return "" if room.inodes_free is None else f"{room.inodes_free:,} more can be made"


def _memory_words(need: Need, room: Room) -> str:
    if room.memory_free is None:
        return ""
    peak = need.peak or room.memory_used
    more = f"{size(peak)} more while both run; " if need.beside and peak else ""
    return f"{more}{size(room.memory_free)} free"


def _libc_words(need: Need, room: Room) -> str:
    return room.libc


def _processor_words(need: Need, room: Room) -> str:
    if room.flags is None:
        return ""
    needed = sorted({flag for each in need.packages for flag in NEEDED_FLAGS.get(each, ())})
    return f"has {', '.join(needed)}" if needed else "nothing special is needed"


Refuse = Callable[[Need, Room], None]
Describe = Callable[[Need, Room], str]
CHECKS: dict[str, tuple[Refuse, Describe]] = {
    "Disk": (_refuse_disk, _disk_words),
    "Files": (_refuse_inodes, _inodes_words),
    "Memory": (_refuse_memory, _memory_words),
    "C library": (_refuse_libc, _libc_words),
    "Processor": (_refuse_processor, _processor_words),
}
