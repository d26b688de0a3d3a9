"""Whether a release fits is decided from numbers; what is not known is not held against a host."""

from dataclasses import replace

import pytest

from app.deployer.agent import room as asked
from app.deployer.fit import (
    FLOOR,
    PACKAGE,
    Need,
    Room,
    cautions,
    checks,
    environment_size,
    floor,
    refuse_unfit,
)
from app.errors import Problem, Unfit

MIB, GIB = 1 << 20, 1 << 30
NEED = Need("churn", sent=100 * MIB, builds=True, packages=("numpy",), files=("predict.py",))
ROOM = Room(
    base="/srv",
    disk_free=10 * GIB,
    disk_total=20 * GIB,
    inodes_free=1_000_000,
    memory_free=4 * GIB,
    memory_used=GIB,
    libc="glibc 2.36",
    flags=("avx", "avx2", "fma"),
)
BESIDE = replace(NEED, beside=True)


def test_what_fits_is_not_refused():
    refuse_unfit(BESIDE, ROOM)


def test_what_nothing_is_known_of_is_not_refused():
    refuse_unfit(replace(BESIDE, packages=("polars",)), Room())


def test_floor_is_a_gibibyte_or_a_twentieth():
    assert floor(None) == floor(20 * GIB) == FLOOR
    assert floor(100 * GIB) == 5 * GIB


@pytest.mark.parametrize(
    ("need", "room", "what", "cause"),
    [
        (NEED, {"disk_free": GIB}, "disk of /srv is too full", "1.1 GB free"),
        (NEED, {"disk_free": 30 * GIB, "disk_total": 1000 * GIB}, "too full", "53.7 GB that stay"),
        (NEED, {"inodes_free": 50_000}, "too few files", "50,001 files needed, 50,000 more"),
        (BESIDE, {"memory_free": GIB - 1}, "cannot run twice", "1.1 GB more needed"),
        (
            replace(BESIDE, peak=5 * GIB),
            {},
            "cannot run twice",
            "5.4 GB more needed while both run (as much as this version was seen to take)",
        ),
        (
            replace(NEED, files=("wheels/own-1.0-cp311-cp311-manylinux_2_39_x86_64.whl",)),
            {},
            "own need glibc 2.39, and that host has 2.36",
            "",
        ),
        (replace(NEED, packages=("polars",)), {"flags": ("avx",)}, "polars", "avx2, fma"),
    ],
)
def test_what_does_not_fit_is_refused_with_numbers(need, room, what, cause):
    with pytest.raises(Problem) as caught:
        refuse_unfit(need, replace(ROOM, **room))
    assert what in caught.value.what
    assert cause in caught.value.cause
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("need", "room"),
    [
        (replace(NEED, sent=0, builds=False), {"disk_free": 1}),  # nothing is written
        (NEED, {"memory_free": 1}),  # nothing else runs
        (BESIDE, {"memory_free": 1, "memory_used": None}),  # never measured
        (replace(BESIDE, memory=512 * MIB), {"memory_free": 600 * MIB}),  # it may not take more
        (replace(NEED, files=("a-1-manylinux_2_17_x86_64.whl",)), {}),
        (replace(NEED, files=("a-1-manylinux_2_39_x86_64.whl", "a-1-none-any.whl")), {}),
        (replace(NEED, files=("a-1-manylinux_2_39_x86_64.whl",)), {"libc": "musl"}),
    ],
)
def test_what_fits_after_all(need, room):
    refuse_unfit(need, replace(ROOM, **room))


def test_disk_is_judged_to_the_byte():
    whole = NEED.sent + environment_size(NEED.packages) + FLOOR
    refuse_unfit(NEED, replace(ROOM, disk_free=whole))
    with pytest.raises(Problem):
        refuse_unfit(NEED, replace(ROOM, disk_free=whole - 1))


def test_large_packages_are_known_by_their_first_word():
    none = environment_size(())
    assert environment_size(("numpy",)) == none + PACKAGE
    assert environment_size(("nvidia-cublas-cu12",)) > none + 5 * PACKAGE


def test_limit_of_a_control_group_counts_without_its_cache(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000000 kB\nMemAvailable:    4000000 kB\n")
    assert asked.memory_free(tmp_path, str(meminfo)) == 4_000_000 * 1024
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 300000\n")
    assert asked.memory_free(tmp_path, str(meminfo)) == 400_000
    (tmp_path / "memory.max").write_text("max\n")
    assert asked.memory_free(tmp_path, str(meminfo)) == 4_000_000 * 1024


def test_flags_are_those_that_matter():
    assert asked.flags("processor : 0\nflags\t\t: fpu avx sse4_2\n") == ["avx", "sse4_2"]
    assert asked.flags("Features : asimd\n") is None


def test_checks_say_what_there_is_and_what_is_too_little():
    said = {each.name: (each.fits, each.words) for each in checks(BESIDE, ROOM)}
    assert said == {
        "Disk": (True, "105 MB to send, about 73.4 MB to build; 10.7 GB free"),
        "Files": (True, "1,000,000 more can be made"),
        "Memory": (True, "1.1 GB more while both run; 4.3 GB free"),
        "C library": (True, "glibc 2.36"),
        "Processor": (True, "nothing special is needed"),
    }
    assert {each.fits for each in checks(BESIDE, Room())} == {None}
    poor = replace(ROOM, disk_free=GIB, memory_free=MIB)
    assert [each.fits for each in checks(BESIDE, poor)] == [False, True, False, True, True]
    with pytest.raises(Unfit, match="disk of /srv is too full") as raised:
        refuse_unfit(BESIDE, poor)
    assert [each["fits"] for each in raised.value.as_dict()["checks"]] == [
        False, True, False, True, True,
    ]  # fmt: skip


def test_packages_for_a_gpu_that_is_not_there_are_told_and_not_refused():
    none, some = replace(ROOM, gpu=False), replace(ROOM, gpu=True)
    torch = ("numpy", "torch", "nvidia-cudnn-cu13", "nvidia-cublas")
    [told] = cautions(torch, none)
    assert (told.name, told.fits) == ("GPU", None)
    assert told.words == (
        "no driver of NVIDIA, yet 2 packages of CUDA come, about 839 MB. For the processor alone, "
        "put --extra-index-url https://download.pytorch.org/whl/cpu into requirements.txt."
    )
    [told] = cautions(("xgboost", "nvidia-nccl-cu12"), none)
    assert "nvidia-nccl-cu12 comes" in told.words
    assert "require xgboost-cpu instead of xgboost" in told.words
    assert cautions(torch, some) == cautions(torch, ROOM) == cautions(("numpy",), none) == []
    refuse_unfit(replace(NEED, packages=torch), none)
