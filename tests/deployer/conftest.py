"""A home of its own for every test, a real sshd, and the two roads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sshd import SSHD, Sshd, make_key

from app.deployer.road import Road, open_local, open_ssh
from app.deployer.trust import Trust
from app.models import Location


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the person who runs the tests is read: no keys, no agent, no configuration."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".ssh").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for all tests that need nothing special, with the key `key` admitted."""
    if SSHD is None:
        pytest.skip("there is no sshd here")
    folder = tmp_path_factory.mktemp("sshd")
    (folder / "home").mkdir()
    with Sshd(folder, f"SetEnv HOME={folder}/home PATH=/usr/bin:/bin") as sshd:
        sshd.admit(make_key(folder / "key"))
        yield sshd


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """Start an sshd with options of its own."""
    if SSHD is None:
        pytest.skip("there is no sshd here")
    started: list[Sshd] = []

    def start(*options: str, path: str = "/usr/bin:/bin", **others: object) -> Sshd:
        folder = tmp_path / f"sshd{len(started)}"
        (folder / "home").mkdir(parents=True)
        environment = f"SetEnv HOME={folder}/home PATH={path}"
        started.append(Sshd(folder, environment, *options, **others).start())
        started[-1].admit(make_key(folder / "key"))
        return started[-1]

    yield start
    for sshd in started:
        sshd.stop()


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return Trust(tmp_path / "known_hosts")


@pytest.fixture
def reach(tmp_path: Path, trust: Trust) -> Callable[..., Road]:
    """Open the road to an sshd, with its key and the trusted fingerprint unless told otherwise."""

    def go(sshd: Sshd, *, known: bool = True, ask: object = None, **location: str) -> Road:
        if known:
            trust.accept(sshd.fingerprint)
        said = {
            "url": sshd.url,
            "identity": str(sshd.folder / "key"),
            "base": str(tmp_path / "base"),
        }
        return open_ssh(Location("srv", **{**said, **location}), trust=trust, ask=ask)

    return go


@pytest.fixture(params=["local", "ssh"])
def open_again(
    request: pytest.FixtureRequest, tmp_path: Path, reach: Callable[..., Road]
) -> Callable[[], Road]:
    """Opens one more road to the same base folder."""
    if request.param == "local":
        return lambda: open_local(tmp_path / "base")
    server = request.getfixturevalue("server")
    return lambda: reach(server)


@pytest.fixture
def road(open_again: Callable[[], Road]) -> Iterator[Road]:
    with open_again() as road:
        yield road
