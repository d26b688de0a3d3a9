"""Addresses, and what ~/.ssh/config makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.deployer.ssh_config import Url, parse_url, route
from app.errors import Problem


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("ssh://ana@server:2222", Url("server", "ana", 2222)),
        ("ssh://server", Url("server")),
        ("ana@10.0.0.7", Url("10.0.0.7", "ana")),
        ("server", Url("server")),
        ("ssh://ana@[fe80::1%25eth0]:22/", Url("fe80::1%25eth0", "ana", 22)),
        ("ssh://ana.b-c_d@server.example.com", Url("server.example.com", "ana.b-c_d")),
        ("ssh://dom%2Bana@server", Url("server", "dom+ana")),
    ],
)
def test_addresses_are_understood(text, url):
    assert parse_url(text) == url
    assert parse_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh://",
        "http://server",
        "ssh://-oProxyCommand=id@server",
        "ssh://ana@-oProxyCommand=id",
        "ssh://ana@host:port",
        "ssh://ana@host:99999",
        "ssh://ana@host/path",
        "ssh://ana@host?x",
        "ssh://ana:secret@host",
        "ssh://ana:secret@host:port",
        "ana:se:cret-secret@host",
        "ana@ho st",
        "ana@host\nProxyCommand id",
        "ana@host;id",
        "ana@$(id)",
        "ana@`id`",
        "`id`@host",
        "$(id)@host",
        "a'b@host",
        'a"b@host',
        "a\\b@host",
        "a%20b@host",
        "a%00b@host",
        "a%0Ab@host",
        "ana@host|id",
        "ana@host&",
        "ana@<host>",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(Problem, match="is not an address") as caught:
        parse_url(text)
    assert "secret" not in repr(caught.value.as_dict())


def places(config: str, url: str, folder: Path, identity: str = "") -> list[str]:
    path = folder / "config"
    path.write_text(config)
    return [target.place for target in route(parse_url(url), identity, path)]


def test_configuration_fills_in_what_was_not_said(tmp_path):
    config = "Host srv\n HostName 10.0.0.7\n User bea\n Port 2200\n"
    assert places(config, "srv", tmp_path) == ["bea@10.0.0.7:2200"]
    assert places(config, "ssh://ana@srv:22", tmp_path) == ["ana@10.0.0.7:22"]


def test_jumps_come_first_and_in_order(tmp_path):
    config = "Host *\n User u\nHost srv\n ProxyJump a,b@b:23\nHost a\n ProxyJump c\n"
    assert places(config, "srv", tmp_path) == ["u@c:22", "u@a:22", "b@b:23", "u@srv:22"]


def test_jumps_in_a_circle_are_a_problem(tmp_path):
    with pytest.raises(Problem, match="more than 8"):
        places("Host a\n ProxyJump b\nHost b\n ProxyJump a\n", "a", tmp_path)


def test_chosen_identity_is_for_the_last_server_only(tmp_path):
    path = tmp_path / "config"
    path.write_text("Host srv\n ProxyJump a\n IdentityFile x\nHost a\n IdentityFile y\n")
    targets = route(parse_url("srv"), "/chosen", path)
    assert [target.identities for target in targets] == [(Path("y"),), (Path("/chosen"),)]
    assert all(target.only_identities for target in targets)


@pytest.mark.parametrize(
    "config",
    [
        "Host srv\n HostName -oProxyCommand=id\n",
        "Host srv\n User $(id)\n",
        "Host srv\n Port twenty-two\n",
        "nonsense\n",
        "Host srv\n ProxyJump a b;c\n",
    ],
)
def test_configuration_that_leads_nowhere_is_a_problem(tmp_path, config):
    with pytest.raises(Problem):
        places(config, "ana@srv" if "User" not in config else "srv", tmp_path)


def test_host_key_alias_is_what_the_key_is_known_by(tmp_path):
    path = tmp_path / "config"
    path.write_text("Host srv\n HostKeyAlias Pet\n Port 2222\n")
    assert route(parse_url("srv"), "", path)[0].known_as == "pet"
    assert route(parse_url("Other:22"), "", path)[0].known_as == "other"
