"""Adding, looking at and forgetting locations, against a real sshd."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "deployer"))
from sshd import SSHD, Sshd, make_key

from app.errors import NotFound, NotTrusted, Problem, Unreachable
from app.models import Instance, Location
from app.services import locations
from app.workspace import Workspace


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Workspace(tmp_path / "data")


@pytest.fixture
def server(tmp_path):
    if SSHD is None:
        pytest.skip("there is no sshd here")
    (tmp_path / "sshd/home").mkdir(parents=True)
    environment = f"SetEnv HOME={tmp_path}/sshd/home PATH=/usr/bin:/bin"
    with Sshd(tmp_path / "sshd", environment) as sshd:
        sshd.admit(make_key(tmp_path / "key"))
        yield sshd


def add(work, server, **options):
    known = {"identity": str(server.folder.parent / "key"), "base": str(server.folder / "base")}
    return locations.add(work, "srv", server.url, **{**known, **options})


def test_server_is_added_once_its_key_is_accepted(work, server):
    with pytest.raises(NotTrusted) as unknown:
        add(work, server)
    assert [place.name for place in locations.list_locations(work)] == ["local"]
    added = add(work, server, accept_key=unknown.value.fingerprint)
    assert (added.name, added.url) == ("srv", server.url)
    assert [place.name for place in locations.list_locations(work)] == ["local", "srv"]


def test_check_gives_facts_and_latency(work, server):
    add(work, server, accept_key=server.fingerprint)
    facts = locations.check(work, "srv")
    assert facts["mode"] in ("root", "user")
    assert 0 < facts["latency"] < 1
    assert facts["internet"] in (True, False)
    assert facts["pythons"]


def test_what_is_said_about_the_internet_is_kept_and_shown(work, server):
    add(work, server, accept_key=server.fingerprint, internet="never")
    assert [place.internet for place in locations.list_locations(work)] == ["auto", "never"]
    with work.open_store() as store:
        store.locations.update(dataclasses.replace(store.locations.get("srv"), internet="always"))
    assert locations.check(work, "srv")["internet_wanted"] == "always"


def test_check_of_this_machine_needs_no_server(work):
    assert locations.check(work, "local")["mode"] == "local"


def test_same_name_twice_is_a_problem_before_anything_is_done(work, server):
    add(work, server, accept_key=server.fingerprint)
    server.stop()
    with pytest.raises(Problem, match="is there already"):
        add(work, server)


def test_server_that_is_not_there_is_not_added(work, server):
    server.stop()
    with pytest.raises(Unreachable):
        add(work, server)
    assert len(locations.list_locations(work)) == 1


def test_forgotten_key_has_to_be_accepted_again(work, server):
    add(work, server, accept_key=server.fingerprint)
    assert locations.forget_key(work, "srv") == 1
    with pytest.raises(NotTrusted) as unknown:
        locations.check(work, "srv")
    assert "location set" in unknown.value.remedy
    with pytest.raises(NotTrusted):
        locations.change(work, "srv", accept_key=f"SHA256:{'A' * 43}")
    locations.change(work, "srv", accept_key=unknown.value.fingerprint)
    assert locations.check(work, "srv")["mode"]


def test_this_machine_has_no_key_to_forget(work):
    with pytest.raises(Problem, match="no host key"):
        locations.forget_key(work, "local")


def test_default_and_removal(work, server):
    add(work, server, accept_key=server.fingerprint)
    assert locations.set_default(work, "srv").default
    locations.remove(work, "srv")
    with pytest.raises(NotFound):
        locations.check(work, "srv")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("", {}),
        ("Srv", {}),
        ("-srv", {}),
        ("a" * 48, {}),
        ("a b", {}),
        ("../x", {}),
        ("srv\n", {}),
        ("srv", {"privilege": "super"}),
        ("srv", {"base": "relative"}),
        ("srv", {"identity": "/no/such/key"}),
        ("srv", {"identity": "k" * 4096}),
        ("srv", {"identity": "~nobody-at-all/key"}),
        ("srv", {"accept_key": "yes"}),
    ],
)
def test_odd_wishes_are_refused_before_anyone_is_asked(work, name, options):
    with pytest.raises(Problem) as caught:
        locations.add(work, name, "ssh://ana@127.0.0.1:1", **options)
    assert not isinstance(caught.value, Unreachable)


def test_index_is_the_one_in_use(monkeypatch):
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    host, port = locations.index_address()
    assert host
    assert port == 443
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://mirror.lan:3141/root/index")
    assert locations.index_address() == ("mirror.lan", 3141)


def test_location_with_instances_is_not_forgotten_by_accident(work):
    with work.open_store() as store:
        store.locations.add(Location("srv", url="ssh://ana@server"))
        store.instances.upsert(Instance("churn", "srv", 8101, "v1-x", 1, "serving"))
    with pytest.raises(Problem) as caught:
        locations.remove(work, "srv")
    assert "undeploy churn --on srv" in caught.value.remedy
    locations.remove(work, "srv", force=True)
    with work.open_store() as store:
        assert store.instances.all() == []


# Changed


def test_what_a_location_was_told_can_be_changed(work, server):
    add(work, server, accept_key=server.fingerprint)
    key = server.folder.parent / "key"
    assert locations.change(work, "srv", internet="never").internet == "never"
    base = str(server.folder / "elsewhere")
    made = locations.change(work, "srv", base=base, privilege="user")
    assert (made.base, made.privilege, made.internet) == (base, "user", "never")
    assert (made.identity, made.url) == (str(key), server.url)
    assert locations.check(work, "srv")["base"] == base
    with work.open_store() as store:
        assert store.locations.get("srv") == made


def test_nothing_is_changed_that_cannot_be_reached_or_would_be_lost(work, server, tmp_path):
    before = add(work, server, accept_key=server.fingerprint)
    other = tmp_path / "no-key"
    other.write_text("no key")
    with pytest.raises(Problem):
        locations.change(work, "srv", identity=str(other))
    with pytest.raises(Problem, match="is not absolute"):
        locations.change(work, "srv", base="relative")
    with pytest.raises(Problem, match="this machine"):
        locations.change(work, "local", privilege="user")
    with work.open_store() as store:
        store.instances.upsert(Instance("churn", "srv", 8101, "v1-a", 1, "serving"))
        assert store.locations.get("srv") == before
    with pytest.raises(Problem, match="churn is deployed on srv") as caught:
        locations.change(work, "srv", privilege="user")
    assert "undeploy churn" in caught.value.remedy
    assert locations.change(work, "srv", internet="always").internet == "always"
    same = locations.change(work, "srv", privilege=before.privilege, base=before.base)
    assert (same.base, same.internet) == (before.base, "always")
    with pytest.raises(Problem, match="nothing to say of the internet"):
        locations.change(work, "srv", internet="perhaps")
