"""The one file on systems with nothing but their own WebKit: Debian 12 and 13, in a chroot each."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from client import ROOT
from guests import cache_folder, call, locked
from screen import PICTURES, until

pytestmark = [pytest.mark.faults, pytest.mark.browser]

SUITES = {"bookworm": "12", "trixie": "13"}
WANTED = ("gir1.2-webkit2-4.1", "python3", "fonts-dejavu-core")


@pytest.fixture(params=SUITES)
def system(request, tmp_path, dist):
    """A root with the file at /rhythmicml, and the display's socket and this machine's devices."""
    if os.getuid() != 0:
        pytest.skip("a chroot takes root")
    root = tmp_path / "root"
    subprocess.run(["cp", "--archive", "--reflink=auto", base(request.param), root], check=True)
    shutil.copy2(dist / "rhythmicml", root / "rhythmicml")
    mounts = [root / name for name in ("proc", "dev")]
    subprocess.run(["mount", "-t", "proc", "proc", mounts[0]], check=True)
    subprocess.run(["mount", "--rbind", "/dev", mounts[1]], check=True)
    subprocess.run(["mount", "--make-rslave", mounts[1]], check=True)
    yield root, SUITES[request.param]
    for place in reversed(mounts):
        subprocess.run(["umount", "--recursive", place], check=True)


def base(suite):
    """The system, made once and kept (about two minutes, 1 GB)."""
    made = cache_folder() / f"desktop-{suite}"
    made.parent.mkdir(parents=True, exist_ok=True)
    with locked(made.parent / f"desktop-{suite}.lock"):
        if not made.is_dir():
            fresh = made.with_suffix(".building")
            shutil.rmtree(fresh, ignore_errors=True)
            call("debootstrap", "--variant=minbase", "--include=ca-certificates", suite, str(fresh))
            shutil.copy2("/etc/resolv.conf", fresh / "etc/resolv.conf")
            install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *WANTED]
            call("chroot", str(fresh), "env", "DEBIAN_FRONTEND=noninteractive", *install)
            fresh.rename(made)
    return made


def test_runs_and_shows_its_window(system, desktop):
    root, number = system
    inside = ["chroot", str(root), "env", "-i", "PATH=/usr/bin:/bin", "HOME=/root",
              f"DISPLAY={desktop.name}", "/rhythmicml"]  # fmt: skip
    assert (root / "etc/debian_version").read_text().startswith(number)
    said = subprocess.run([*inside, "--version"], capture_output=True, text=True, check=True).stdout
    assert said == "rhythmicml, version 0.1.0\n"

    example = root / "example"
    shutil.copytree(ROOT / "assets" / "examples" / "tumour", example)
    subprocess.run([*inside, "add", "/example"], check=True, stdout=subprocess.DEVNULL)
    log = Path(root / "tmp" / "said")
    with log.open("w") as out:
        program = subprocess.Popen(inside, stdout=out, stderr=out)
    try:
        until(desktop.windows, 60)
        until(lambda: desktop.colours() > 100)
        desktop.picture(PICTURES / f"debian-{number}.png")
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
    finally:
        program.kill()
        program.wait()
    assert "Traceback" not in log.read_text()
    assert list((root / "tmp").glob("_MEI*")) == []
