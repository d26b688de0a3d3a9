"""Rendered units: what they say, and that systemd itself finds nothing wrong with them."""

import dataclasses
import shutil
import subprocess
from dataclasses import replace

import pytest

from app.deployer import units

SYSTEM = units.Unit("churn", "/var/lib/rhythmicml", 8101, True, "2G", 120.0)
USER = units.Unit("churn", "/home/ds/.local/share/rhythmicml", 8101, False)
PUBLIC = dataclasses.replace(SYSTEM, address=units.address(ipv6=True), tls=True)
OLD_PUBLIC = dataclasses.replace(SYSTEM, address=units.address(ipv6=False), tls=True)
PIPELINE = dataclasses.replace(SYSTEM, pipeline=True)
LONG = dataclasses.replace(USER, base="/home/ds/" + "long/" * 20 + "base")


def lines(unit, ending):
    name = next(each for each in units.names(unit.name) if each.endswith(ending))
    return units.render(unit)[name].splitlines()


def test_socket_wakes_the_current_release_and_never_goes_down_with_a_failing_one():
    text = lines(SYSTEM, ".socket")
    assert "ListenStream=127.0.0.1:8101" in text
    assert "Service=rhythmicml-churn@current.service" in text
    assert "StartLimitIntervalSec=0" in text


def test_service_shares_the_socket_without_making_it_blocking():
    text = lines(SYSTEM, ".service")
    assert "Sockets=rhythmicml-churn.socket rhythmicml-churn.ask.socket" in text
    assert "NonBlocking=yes" in text
    assert "StartLimitIntervalSec=0" in text


def test_configuration_reaches_the_unit():
    text = lines(SYSTEM, ".service")
    assert "MemoryMax=2G" in text
    assert "TimeoutStartSec=120" in text
    assert not [line for line in lines(USER, ".service") if line.startswith("MemoryMax")]


def test_user_unit_logs_to_a_file_and_claims_no_user():
    text = lines(USER, ".service")
    assert (
        "StandardError=append:/home/ds/.local/share/rhythmicml/instances/churn/log/%i.log" in text
    )
    assert "DynamicUser=yes" not in text
    assert "PrivateUsers=yes" in text
    assert "WantedBy=default.target" in text


def test_libraries_find_a_place_for_what_they_compile():
    """A user made by systemd has no home, and that of a user is read-only: numba asks for one."""
    cache = "%C/rhythmicml-churn"
    for unit in (SYSTEM, USER):
        assert "CacheDirectory=rhythmicml-churn" in lines(unit, ".service")
        assert f"Environment=XDG_CACHE_HOME={cache}" in lines(unit, ".service")
    assert f"Environment=HOME={cache}" in lines(SYSTEM, ".service")
    assert not [line for line in lines(USER, ".service") if "=HOME=" in line]


def test_most_workers_on_a_large_host_have_tasks_enough():
    [most] = [line for line in lines(SYSTEM, ".service") if line.startswith("TasksMax=")]
    workers, threads, processors = 8, 2, 64
    assert int(most.partition("=")[2]) > workers * threads * processors
    assert int(most.partition("=")[2]) > 256 * 3  # as many workers as a configuration may name


def test_answers_to_jobs_can_be_kept():
    assert "StateDirectory=rhythmicml-churn" in lines(SYSTEM, ".service")
    run = "/home/ds/.local/share/rhythmicml/instances/churn/run"
    assert f'ReadWritePaths=-"{run}"' in lines(USER, ".service")


def test_public_socket_listens_on_every_address():
    assert "ListenStream=[::]:8101" in lines(PUBLIC, ".socket")
    assert "BindIPv6Only=both" in lines(PUBLIC, ".socket")
    assert "ListenStream=0.0.0.0:8101" in lines(OLD_PUBLIC, ".socket")


def test_service_is_given_what_root_keeps_and_a_key_only_when_it_is_public():
    def given(unit):
        text = lines(unit, ".service")
        return [line for line in text if line.startswith("LoadCredential=")]

    folder = "/var/lib/rhythmicml/instances/churn"
    tokens = f"LoadCredential=tokens.json:{folder}/tokens.json"
    assert given(SYSTEM) == [tokens]
    assert given(PUBLIC) == [
        tokens,
        f"LoadCredential=certificate.pem:{folder}/tls/certificate.pem",
        f"LoadCredential=certificate_key.pem:{folder}/tls/certificate_key.pem",
    ]
    assert given(USER) == given(dataclasses.replace(USER, tls=True)) == []


def test_public_service_may_still_not_call_out():
    """Sockets that systemd hands over are not under the service's own address filter."""
    assert "IPAddressDeny=any" in lines(PUBLIC, ".service")


def test_pipelines_ask_on_a_socket_of_its_own():
    name = units.names("churn")[2]
    text = units.render(SYSTEM)[name].splitlines()
    assert name not in units.names("churn-ask")
    assert "ListenStream=/var/lib/rhythmicml/ask/churn.sock" in text
    assert {"FileDescriptorName=ask", "SocketMode=0660", "SocketGroup=rhythmicml"} < set(text)
    assert "SocketMode=0600" in units.render(USER)[name].splitlines()


def test_port_and_its_unit_know_nothing_of_pipelines():
    assert "ask" not in units.render(SYSTEM)["rhythmicml-churn.socket"].replace("is asked", "")


def test_socket_whose_path_is_too_long_is_reached_through_a_short_link():
    long = dataclasses.replace(USER, name="c" * 63, base="/home/d s/50%/$x/" + "long/" * 12)
    text = units.render(long)[units.names(long.name)[2]]
    [link] = [line for line in text.splitlines() if line.startswith("ExecStartPre=")]
    [path] = [line for line in text.splitlines() if line.startswith("ListenStream=")]
    assert f'ln -sfn "/home/d s/50%%/$$x/{"long/" * 12}/ask" %t/rml-' in link
    assert len(path.partition("=")[2].replace("%t", "/run/user/4294967295")) <= 107


def test_only_a_pipeline_has_the_sockets_of_others_in_its_sight():
    system, user = dataclasses.replace(SYSTEM, pipeline=True), dataclasses.replace(USER, name="x")
    ask = 'BindReadOnlyPaths="/var/lib/rhythmicml/ask"'
    assert ask in lines(system, ".service")
    assert ask not in lines(SYSTEM, ".service")
    hidden = 'InaccessiblePaths=-"/home/ds/.local/share/rhythmicml/ask"'
    assert hidden in lines(user, ".service")
    assert hidden not in lines(dataclasses.replace(user, pipeline=True), ".service")


def test_odd_characters_in_the_base_folder_are_quoted():
    odd = units.Unit("churn", '/home/a b/50%/"x"', 8101, False)
    command = next(line for line in lines(odd, ".service") if line.startswith("ExecStart="))
    assert command.startswith('ExecStart="/home/a b/50%%/\\"x\\"/instances/churn/releases/%i/')
    assert 'ReadWritePaths=-"/home/a b/50%%/\\"x\\"/instances/churn/run"' in lines(odd, ".service")


needs_analyze = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not on this machine"
)


@needs_analyze
@pytest.mark.parametrize(
    "unit",
    [SYSTEM, USER, PUBLIC, OLD_PUBLIC, PIPELINE, LONG],
    ids=["system", "user", "public", "no IPv6", "pipeline", "long path"],
)
def test_systemd_finds_nothing_wrong(unit, tmp_path):
    runnable = {
        name: text.replace(
            f"{unit.base}/instances/churn/releases/%i/runtime/env/bin/python", "/bin/true"
        )
        for name, text in units.render(unit).items()
    }
    for name, text in runnable.items():
        (tmp_path / name.replace("@", "@current")).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_analyze
@pytest.mark.parametrize("calls_out", [False, True])
def test_sandbox_scores_well(tmp_path, calls_out):
    unit = replace(SYSTEM, pipeline=calls_out, calls_out=calls_out)
    path = tmp_path / "rhythmicml-churn@current.service"
    path.write_text(units.render(unit)["rhythmicml-churn@.service"])
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=15", "--no-pager", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:]
