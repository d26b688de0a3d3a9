"""F05: folders and archives from outside: taken whole, or refused with a reason and no trace."""

import io
import os
import resource
import stat
import struct
import tarfile
import time
import zipfile

import pytest

from app.errors import Problem
from app.services import received
from app.services.received import Limits, checked

SMALL = Limits(bytes=64 << 20, entries=1000, small=8 << 20, ratio=20)
HONEST = {"churn/predict.py": b"x = 1\n", "churn/artifacts/model.bin": os.urandom(100_000)}


def zipped(path, files, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for info, content in members:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def taken(into, archive, limits=SMALL):
    with received.receiving(into, limits) as incoming:
        kept = incoming.staging / received.ARCHIVE
        kept.write_bytes(archive.read_bytes())
        incoming.unpack(kept, archive.name)
        return received.keep(incoming, into)


@pytest.fixture
def into(tmp_path):
    return tmp_path / "RhythmicML"


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2"])
def test_folder_of_an_archive_is_there_under_its_name(into, tmp_path, name):
    path = tmp_path / name
    if name.endswith("zip"):
        zipped(path, {"churn/": b"", **HONEST, "churn/__pycache__/x.pyc": b"", "__MACOSX/x": b""})
    else:
        mode = {"r": "w:", "z": "w:gz", "2": "w:bz2"}[name[-1]]
        tarred(path, [*HONEST.items(), ("churn/.git/config", b"")], mode)
    done = taken(into, path)
    assert done.folder == into / "churn"
    there = {str(p.relative_to(into)): p.read_bytes() for p in into.rglob("*") if p.is_file()}
    assert there == HONEST
    assert (done.files, done.size) == (2, 100_006)
    assert all(p.stat().st_mode & 0o077 == 0 for p in into.rglob("*"))
    assert taken(into, path).folder == into / "churn-2"


def test_loose_files_take_the_name_of_the_archive_and_keep_the_right_to_run(into, tmp_path):
    info = tarfile.TarInfo("run.sh")
    info.mode = 0o4777
    done = taken(into, tarred(tmp_path / "My Model.tar.gz", [(info, b"#!"), ("b", b"")]))
    assert done.folder.name == "my-model"
    assert stat.S_IMODE((done.folder / "run.sh").stat().st_mode) == 0o700


def bomb(path):
    return zipped(path.with_suffix(".zip"), {"a": bytes(32 << 20)})


def nested_gzip_bomb(path):
    return tarred(path.with_suffix(".tar.gz"), [("a", bytes(32 << 20))])


def lying_bomb(path):
    """Says that it is small, and is not."""
    content = bytes(32 << 20)
    whole = zipped(path.with_suffix(".zip"), {"a": content})
    data = whole.read_bytes().replace(struct.pack("<L", len(content)), struct.pack("<L", 10))
    whole.write_bytes(data)
    return whole


def slip(path):
    return zipped(path.with_suffix(".zip"), {"a/../../evil": b"x"})


def absolute(path):
    return tarred(path.with_suffix(".tar"), [("/tmp/evil", b"x")], "w:")


def windows(path):
    return zipped(path.with_suffix(".zip"), {"C:evil": b"x"})


def backslash(path):
    return zipped(path.with_suffix(".zip"), {"a\\..\\..\\evil": b"x"})


def symbolic_link(path):
    out = special("a", tarfile.SYMTYPE, "/etc")
    return tarred(path.with_suffix(".tar"), [(out, b""), ("a/evil", b"x")], "w:")


def link_in_zip(path):
    info = zipfile.ZipInfo("a")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return path.with_suffix(".zip")


def hard_link(path):
    return tarred(
        path.with_suffix(".tar"), [(special("a", tarfile.LNKTYPE, "/etc/shadow"), b"")], "w:"
    )


def device(path):
    return tarred(path.with_suffix(".tar"), [(special("a", tarfile.CHRTYPE), b"")], "w:")


def pipe(path):
    return tarred(path.with_suffix(".tar"), [(special("a", tarfile.FIFOTYPE), b"")], "w:")


def million(path):
    """10^6 entries: the directory alone is 49 MB."""
    zeros = dict.fromkeys(range(6), 0)
    head = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, *zeros.values(), 0, 0, 3, 0, 0, 0, 0, 0, 0)
    directory = (head + b"abc") * 10**6
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 10**6, 10**6, len(directory), 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    path.with_suffix(".zip").write_bytes(directory + record + locator + end)
    return path.with_suffix(".zip")


def many_in_a_tar(path):
    return tarred(path.with_suffix(".tar.gz"), [(f"f{n}", b"") for n in range(1001)])


def many_folders(path):
    folders = [(special(f"f{n}", tarfile.DIRTYPE), b"") for n in range(1001)]
    return tarred(path.with_suffix(".tar.gz"), folders)


def deep(path):
    return tarred(path.with_suffix(".tar"), [("/".join("a" * 33), b"")], "w:")


def long_name(path):
    return tarred(path.with_suffix(".tar"), [("n" * 10_000, b"")], "w:")


def long_header(path):
    """A header of 32 MB that says a name: read at once, it would have to be held in memory."""
    info = tarfile.TarInfo("a")
    info.pax_headers = {"comment": "c" * (6 << 20)}
    return tarred(path.with_suffix(".tar"), [(info, b"")], "w:")


def twice(path):
    return tarred(path.with_suffix(".tar"), [("a", b"1"), ("a", b"2")], "w:")


def file_and_folder(path):
    return tarred(path.with_suffix(".tar"), [("a", b"1"), ("a/b", b"2")], "w:")


def encrypted(path):
    whole = zipped(path.with_suffix(".zip"), {"a": b"x"})
    data = bytearray(whole.read_bytes())
    for magic, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(magic) + at] |= 1
    whole.write_bytes(data)
    return whole


def not_utf8(path):
    with tarfile.open(
        path.with_suffix(".tar"), "w", format=tarfile.USTAR_FORMAT, encoding="latin-1"
    ) as archive:
        archive.addfile(tarfile.TarInfo("\xe9\xff"))
    return path.with_suffix(".tar")


def cut(path):
    whole = tarred(path.with_suffix(".tar.gz"), HONEST.items())
    whole.write_bytes(whole.read_bytes()[:-50_000])
    return whole


def damaged(path):
    whole = tarred(path.with_suffix(".tar"), [("a", b"1"), ("b", b"2")], "w:")
    data = bytearray(whole.read_bytes())
    data[1024:1034] = b"garbage...".ljust(10)
    whole.write_bytes(data)
    return whole


def flipped(path):
    whole = zipped(path.with_suffix(".zip"), HONEST)
    data = bytearray(whole.read_bytes())
    data[50_000] ^= 1
    whole.write_bytes(data)
    return whole


def sparse(path):
    """Says that it has 8 GB, of which nothing is in the archive."""
    info = tarfile.TarInfo("a")
    info.pax_headers = {"GNU.sparse.size": str(8 << 30), "GNU.sparse.major": "0",
                        "GNU.sparse.minor": "1", "GNU.sparse.map": "0,0"}  # fmt: skip
    return tarred(path.with_suffix(".tar"), [(info, b"")], "w:")


def nothing(path):
    return tarred(path.with_suffix(".tar"), [], "w:")


def no_archive(path):
    path.with_suffix(".zip").write_bytes(b"This is no archive. " * 1000)
    return path.with_suffix(".zip")


def other_ending(path):
    path.with_suffix(".rar").write_bytes(b"Rar!")
    return path.with_suffix(".rar")


HOSTILE = {
    bomb: "larger than a model may be",
    nested_gzip_bomb: "larger than a model may be",
    lying_bomb: "cannot be read",
    slip: "it leads outside",
    absolute: "it is not relative",
    windows: "it is not relative",
    backslash: "it is not relative",
    symbolic_link: "is a link, a device",
    link_in_zip: "is a link, a device",
    hard_link: "is a link, a device",
    device: "is a link, a device",
    pipe: "is a link, a device",
    million: "more names than a model may have",
    many_in_a_tar: "more than 1,000 files",
    many_folders: "more than 1,000 files",
    deep: "more than 32 folders deep",
    long_name: "it is too long",
    long_header: "more names than a model may have",
    twice: "comes twice",
    file_and_folder: "comes twice, or is a file and a folder",
    encrypted: "encrypted",
    not_utf8: "not UTF-8",
    cut: "cannot be read",
    damaged: "cannot be read",
    flipped: "cannot be read",
    sparse: "is a link, a device",
    nothing: "no file in it",
    no_archive: "cannot be read",
    other_ending: "no archive that can be read here",
}


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_f05_hostile_archive_is_refused_and_leaves_nothing(into, tmp_path, make):
    folder = tmp_path / "made"
    folder.mkdir()
    archive = make(folder / "archive")
    before = {path for path in tmp_path.rglob("*") if path != into}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    with pytest.raises(Problem) as refused:
        taken(into, archive)
    assert HOSTILE[make] in refused.value.what
    assert time.monotonic() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200_000  # kB
    assert {path for path in tmp_path.rglob("*") if path != into} == before
    assert list(into.iterdir()) == []


def test_f05_names_that_lead_nowhere_else():
    assert checked("a/./b//c.txt", 32) == ("a", "b", "c.txt")
    assert checked("..a/b..", 32) == ("..a", "b..")
    for name in (
        "",
        ".",
        "/",
        "..",
        "a/..",
        "../a",
        "/a",
        "a/../b",
        "a\0b",
        "\udcff",
        "D:x",
        "a\\b",
    ):
        with pytest.raises(Problem):
            checked(name, 32)


def test_what_a_killed_program_left_is_swept_after_a_day(into):
    for name, age in (("old", 2 * received.STALE), ("fresh", 60)):
        left = into / f"{received.STAGING}{name}"
        left.mkdir(parents=True)
        os.utime(left, (time.time() - age,) * 2)
    with received.receiving(into):
        pass
    assert [path.name for path in into.iterdir()] == [f"{received.STAGING}fresh"]


def test_full_disk_is_told_with_what_is_left(into, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with pytest.raises(Problem) as told, received.receiving(into):
        full()
    assert told.value.cause == "No space left on device"
    assert "left there" in told.value.remedy
    assert list(into.iterdir()) == []
