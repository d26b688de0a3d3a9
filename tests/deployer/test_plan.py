"""Plans are pure: what is wanted and what was found go in, steps come out."""

import dataclasses
import random

import pytest

from app.deployer import units
from app.deployer.certificates import Pair
from app.deployer.plan import (
    SAMPLE_ALONE,
    Found,
    Running,
    Sent,
    Wanted,
    kept,
    parse_found,
    plan,
    recall,
    rollback_target,
    serve,
    shadow,
    tidy,
)
from app.errors import Problem
from app.words import size, told

RELEASE = "v2-bbbbbbbbbbbb"
BEFORE = "v1-aaaaaaaaaaaa"

MANIFEST = {
    "id": RELEASE,
    "model": "churn",
    "version": 2,
    "environment": "0123456789abcdef-cp311-x86_64",
    "runtime": "fedcba9876543210",
    "python": "3.11",
    "files": [["predict.py", "f1", 100, False, ""], ["model.bin", "f2", 5_000_000, False, ""]],
    "scoring": {"sample": "sample.json", "timeout": 30.0},
}

WANTED = Wanted(
    manifest=MANIFEST,
    blobs={"f1": 100, "f2": 5_000_000, "lock": 900, "rlock": 800, "front": 3000, "uv": 38_000_000},
    tool=("uv-1.0-x86_64", "uv"),
    lock="lock",
    runtime_lock="rlock",
    runtime_files={"scoring/front.py": "front"},
)

EMPTY = Found(
    mode="system",
    base="/var/lib/rhythmicml",
    missing=frozenset(WANTED.blobs),
    tool=False,
    runtime=False,
    environment=False,
    release=False,
    known=False,
    units={},
    listening=False,
    enabled=False,
    serving=(),
    current=None,
    history=(),
    releases=(),
    port=None,
    port_owners={},
    free_port=8101,
    disk_free=50_000_000_000,
    ready=False,
    pythons=({"version": "3.11.2", "path": "/usr/bin/python3.11"},),
    user="root",
    systemd=True,
    linger=True,
    user_manager=True,
)

AS_WANTED = dataclasses.replace(
    EMPTY,
    missing=frozenset(),
    tool=True,
    runtime=True,
    environment=True,
    release=True,
    known=True,
    units=units.render(units.Unit("churn", "/var/lib/rhythmicml", 8101, True)),
    listening=True,
    enabled=True,
    serving=(Running(RELEASE, RELEASE, True, True),),
    current=RELEASE,
    port=8101,
    ready=True,
)

WITH_THE_ONE_BEFORE = dataclasses.replace(
    AS_WANTED,
    missing=frozenset({"f2"}),
    release=False,
    serving=(Running(BEFORE, BEFORE, True, True),),
    current=BEFORE,
)


def found(of, **changes):
    return dataclasses.replace(of, **changes)


def ops(steps):
    return [step.do for step in steps]


def test_host_as_wanted_needs_nothing():
    assert plan(WANTED, AS_WANTED) == []


ASKED = {**SAMPLE_ALONE, "golden": [("samples/a.json", None)], "passes": 3, "watch": 2.0}


def test_new_release_answers_its_golden_inputs_and_is_watched_after_the_switch():
    steps = plan(found(WANTED, gate=ASKED), WITH_THE_ONE_BEFORE)
    assert ops(steps)[-3:] == ["gate", "switch", "watch"]
    gate, _, watch = steps[-3:]
    assert gate.words == "Check its answers to sample.json and 1 golden input"
    assert (gate.args["golden"], gate.args["passes"]) == (ASKED["golden"], 3)
    assert watch.args == {"name": "churn", "unit": RELEASE, "seconds": 2.0}


def test_nothing_is_watched_when_nothing_could_come_back():
    assert ops(plan(found(WANTED, gate=ASKED), EMPTY))[-1] == "switch"
    unwatched = {**ASKED, "watch": 0.0}
    assert ops(plan(found(WANTED, gate=unwatched), WITH_THE_ONE_BEFORE))[-1] == "switch"


def test_empty_host_gets_everything_in_order():
    assert ops(plan(WANTED, EMPTY)) == [
        "prepare", "upload", "tool", "runtime", "environment", "place",
        "listen", "start", "gate", "switch",
    ]  # fmt: skip


def test_changed_file_sends_that_file_alone_and_lets_the_old_release_finish_last():
    steps = plan(WANTED, WITH_THE_ONE_BEFORE)
    assert ops(steps) == ["upload", "place", "start", "gate", "switch"]
    assert steps[0].uploads == ("f2",)
    assert steps[0].words == "Send 1 file, 5.0 MB of 43.0 MB"
    assert steps[2].words == "Start v2 beside v1 and wait until it is ready"
    assert steps[4].words == "Make v2 production, let v1 finish and stop"
    assert (steps[4].args["expected"], steps[4].args["unit"]) == (BEFORE, RELEASE)


def test_releases_of_one_version_are_told_apart_by_what_they_are_made_of():
    again = "v2-cccccccccccc"
    steps = plan(WANTED, found(WITH_THE_ONE_BEFORE, serving=(Running(again, again, True, True),),
                               current=again))  # fmt: skip
    said = [each.words for each in steps]
    assert f"Start {RELEASE} beside {again} and wait until it is ready" in said
    assert f"Make {RELEASE} production, let {again} finish and stop" in said


def test_what_is_made_here_needs_no_uv_there():
    blobs = {"tree-e": 700, "tree-r": 600, "numpy": 20_000_000}
    wanted = dataclasses.replace(WANTED, sent=Sent("tree-e", "tree-r", blobs=blobs))
    steps = plan(wanted, found(EMPTY, missing=EMPTY.missing | frozenset(blobs)))
    assert ops(steps)[:5] == ["prepare", "upload", "runtime", "environment", "place"]
    # The lock goes along: whoever adopts the release makes its version of it.
    assert steps[1].uploads == ("f1", "f2", "front", "lock", "numpy", "tree-e", "tree-r")
    assert [steps[2].args["tree"], steps[3].args["tree"]] == ["tree-r", "tree-e"]
    assert steps[3].words == "Put environment 01234567 together"
    assert steps[3].args["key"] == plan(WANTED, EMPTY)[4].args["key"]


def test_content_that_two_things_share_is_sent_while_one_lacks_it():
    """An empty lock, and an empty file of a package or of the model, are one blob."""
    sent = dataclasses.replace(WANTED, sent=Sent("tree-e", "tree-r", blobs={"lock": 900}))
    assert "lock" in plan(sent, EMPTY)[1].uploads
    files = [*MANIFEST["files"], ["empty", "lock", 900, False, ""]]
    shared = dataclasses.replace(WANTED, manifest={**MANIFEST, "files": files})
    assert "lock" in plan(shared, found(EMPTY, environment=True))[1].uploads


def test_host_of_another_architecture_is_served_without_uv():
    """Planned only: it has not run on such a host."""
    manifest = {**MANIFEST, "environment": "0123456789abcdef-cp311-aarch64"}
    sent = Sent("tree-e", "tree-r", blobs={"tree-e": 700, "tree-r": 600})
    blobs = {digest: size for digest, size in WANTED.blobs.items() if digest != "uv"}
    wanted = dataclasses.replace(WANTED, manifest=manifest, tool=("", ""), sent=sent, blobs=blobs)
    steps = plan(wanted, EMPTY)
    assert "tool" not in ops(steps)
    assert not any("uv" in step.uploads for step in steps)


def test_python_that_is_lacking_comes_before_its_environment():
    none = found(EMPTY, pythons=())
    sent = dataclasses.replace(WANTED, sent=Sent("tree-e", "tree-r", "tree-p"))
    steps = plan(sent, none)
    assert ops(steps)[2:5] == ["runtime", "python", "environment"]
    assert steps[3].args == {"version": "3.11", "tree": "tree-p"}
    assert (steps[4].args["python"], steps[4].args["version"]) == ("", "3.11")
    fetched = plan(WANTED, dataclasses.replace(none, fetches_pythons=True))
    assert ops(fetched)[2:6] == ["tool", "runtime", "python", "environment"]
    assert fetched[4].args == {"version": "3.11", "tool": "uv-1.0-x86_64", "tree": ""}
    assert fetched[4].words == "Have uv fetch Python 3.11 there"


def test_what_the_host_built_already_is_not_sent_again():
    steps = plan(WANTED, found(EMPTY, tool=True, runtime=True, environment=True))
    assert [s.uploads for s in steps if s.do == "upload"] == [("f1", "f2", "lock")]
    assert "environment" not in ops(steps)


def test_stopped_instance_is_opened_started_and_let_in():
    steps = plan(WANTED, found(AS_WANTED, listening=False, serving=()))
    assert ops(steps) == ["listen", "start", "switch"]


def test_candidate_left_by_an_interrupted_deployment_is_not_started_twice():
    both = (Running(BEFORE, BEFORE, True, True), Running(RELEASE, RELEASE, True, False))
    steps = plan(
        WANTED, found(WITH_THE_ONE_BEFORE, release=True, missing=frozenset(), serving=both)
    )
    assert ops(steps) == ["gate", "switch"]


def test_interruption_after_the_switch_leaves_only_the_old_one_to_stop():
    both = (Running("current", RELEASE, True, True), Running(BEFORE, BEFORE, True, True))
    steps = plan(WANTED, found(AS_WANTED, serving=both))
    assert ops(steps) == ["switch"]
    assert steps[0].args["unit"] == "current"


def test_release_kept_warm_is_left_alone_and_needs_no_start():
    both = (Running(RELEASE, RELEASE, True, True), Running(BEFORE, BEFORE, True, False, 48_100_000))
    warm = {"release": BEFORE, "unit": BEFORE, "until": "2026-11-24T02:00:00+00:00"}
    assert plan(WANTED, found(AS_WANTED, serving=both, warm=warm)) == []
    assert ops(plan(WANTED, found(AS_WANTED, serving=both))) == ["switch"]
    turned = (
        Running(BEFORE, BEFORE, True, True, 48_100_000),
        Running(RELEASE, RELEASE, True, False),
    )
    warm = {**warm, "release": RELEASE, "unit": RELEASE}
    wanted = dataclasses.replace(WANTED, manifest={**WANTED.manifest, "keep_warm": 600.0})
    steps = plan(wanted, found(AS_WANTED, current=BEFORE, serving=turned, warm=warm))
    assert ops(steps) == ["gate", "switch"]
    assert steps[1].words.endswith(", keep v1 warm for 10 min (48.1 MB of memory)")
    assert steps[1].args["keep_warm"] == 600.0


def test_production_that_does_not_accept_is_told_to():
    closed = (Running(RELEASE, RELEASE, True, False),)
    assert ops(plan(WANTED, found(AS_WANTED, serving=closed))) == ["switch"]


def test_crashing_current_unit_is_stopped_once_the_new_release_serves():
    failing = (Running("current", None, False, False),)
    steps = plan(WANTED, found(WITH_THE_ONE_BEFORE, serving=failing))
    assert ops(steps) == ["upload", "place", "start", "gate", "switch"]
    assert steps[-1].words.endswith("let current finish and stop")


def test_hand_edited_unit_is_written_again():
    name = "rhythmicml-churn@.service"
    edited = {**AS_WANTED.units, name: "[Service]\n"}
    [step] = plan(WANTED, found(AS_WANTED, units=edited))
    assert step.do == "listen"
    assert list(step.args["units"]) == [name]


def test_lost_facts_of_an_instance_are_written_again():
    assert ops(plan(WANTED, found(AS_WANTED, known=False))) == ["listen"]


def test_keeper_hosts_have_no_units():
    steps = plan(WANTED, found(AS_WANTED, mode="process", units={}))
    assert steps == []


OPEN = dataclasses.replace(
    WANTED, manifest={**MANIFEST, "scoring": {**MANIFEST["scoring"], "expose": "public"}}
)
OPEN_UNITS = units.render(
    units.Unit("churn", "/var/lib/rhythmicml", 8101, True, address="[::]", tls=True)
)
OPEN_AS_WANTED = dataclasses.replace(
    AS_WANTED,
    units=OPEN_UNITS,
    exposure="public",
    tokens=1,
    certificate="PEM",
    releases=({"id": RELEASE, "expose": "public"}, {"id": BEFORE, "expose": "loopback"}),
)
OPENED = "Open port 8101 to everyone (TLS; firewalls are not touched)"


def loopback_before(**changes):
    """A loopback release serves, and the public one is there, not started."""
    before = (Running(BEFORE, BEFORE, True, True),)
    state = {"current": BEFORE, "serving": before, "exposure": "loopback"}
    return found(OPEN_AS_WANTED, **{**state, "units": AS_WANTED.units, **changes})


def test_public_host_as_wanted_needs_nothing():
    assert plan(OPEN, OPEN_AS_WANTED) == []


@pytest.mark.parametrize("state", [EMPTY, loopback_before(tokens=0)])
def test_public_without_a_token_is_refused_with_the_command_that_helps(state):
    wanted = dataclasses.replace(OPEN, location="srv")
    with pytest.raises(Problem) as refused:
        plan(wanted, state)
    assert "rhythmicml token add churn NAME --to srv" in refused.value.remedy


def test_public_without_a_certificate_is_refused():
    with pytest.raises(Problem, match="no certificate"):
        plan(OPEN, found(OPEN_AS_WANTED, certificate=None))


def test_certificate_goes_before_the_start_and_is_in_no_words_or_arguments():
    wanted = dataclasses.replace(OPEN, certificate=Pair("PEM", "KEY", "a certificate"))
    steps = plan(wanted, found(EMPTY, tokens=1))
    assert ops(steps)[-5:] == ["certificate", "listen", "start", "gate", "switch"]
    assert b"KEY" in steps[-5].payload
    assert "KEY" not in repr(steps)


def test_first_public_release_listens_to_everyone_at_once():
    steps = plan(OPEN, found(EMPTY, tokens=1, certificate="PEM"))
    listen = next(step for step in steps if step.do == "listen")
    assert (listen.words, listen.args["exposure"]) == (OPENED, "public")
    assert "ListenStream=[::]:8101" in listen.args["units"]["rhythmicml-churn.socket"]
    assert steps[-1].args["opening"] is None


def test_host_without_ipv6_listens_on_every_address_of_ipv4():
    steps = plan(OPEN, found(EMPTY, tokens=1, certificate="PEM", ipv6=False))
    listen = next(step for step in steps if step.do == "listen")
    assert "ListenStream=0.0.0.0:8101" in listen.args["units"]["rhythmicml-churn.socket"]


def test_port_is_opened_by_the_switch_once_the_release_has_proved_itself():
    steps = plan(OPEN, loopback_before())
    assert ops(steps) == ["listen", "start", "gate", "switch"]
    assert list(steps[0].args["units"]) == ["rhythmicml-churn@.service"]
    assert steps[0].args["exposure"] == "loopback"
    assert steps[-1].words == f"{OPENED}: let v1 finish, then start v2 there"
    opening = steps[-1].args["opening"]
    assert (opening["exposure"], opening["port"]) == ("public", 8101)
    assert opening["units"] == {"rhythmicml-churn.socket": OPEN_UNITS["rhythmicml-churn.socket"]}


def test_port_is_closed_by_a_rollback_to_a_loopback_release():
    back = dataclasses.replace(WANTED, manifest={**MANIFEST, "id": BEFORE})
    steps = serve(back, OPEN_AS_WANTED)
    assert ops(steps) == ["start", "gate", "switch"]
    words = "Close port 8101 to all but the host itself: let "
    assert steps[-1].words == f"{words}v2 finish, then start v1 there"
    ask = "rhythmicml-churn.ask.socket"  # the same whoever reaches the port
    files = {name: text for name, text in AS_WANTED.units.items() if name != ask}
    assert steps[-1].args["opening"]["units"] == files


def test_loopback_release_that_stopped_is_never_woken_by_a_public_port():
    steps = plan(OPEN, loopback_before(listening=False, serving=()))
    assert ops(steps) == ["listen", "start", "gate", "switch"]
    assert steps[0].args["exposure"] == "loopback"
    assert steps[-1].args["opening"]["exposure"] == "public"


def test_public_release_that_stopped_is_opened_again_as_it_was():
    steps = serve(OPEN, found(OPEN_AS_WANTED, listening=False, serving=()))
    assert ops(steps) == ["listen", "start", "switch"]
    assert steps[0].args["exposure"] == "public"
    assert steps[-1].args["opening"] is None


def test_port_that_is_not_as_the_release_wants_it_is_mended():
    steps = plan(OPEN, found(OPEN_AS_WANTED, exposure="loopback", units=AS_WANTED.units))
    assert ops(steps) == ["listen", "switch"]
    assert steps[-1].args["opening"]["exposure"] == "public"


def test_taken_port_names_its_owner():
    asked = dataclasses.replace(WANTED, port=80)
    with pytest.raises(Problem) as caught:
        plan(asked, found(EMPTY, port_owners={"80": "nginx (pid 12)"}))
    assert caught.value.what == "Port 80 is taken on that host."
    assert "nginx (pid 12)" in caught.value.cause


def test_own_port_that_somebody_took_meanwhile_is_named_too():
    stopped = found(AS_WANTED, listening=False, serving=(), port_owners={"8101": "nc (pid 9)"})
    with pytest.raises(Problem) as caught:
        plan(WANTED, stopped)
    assert caught.value.remedy.endswith("rhythmicml deploy churn --port N")


def test_instance_that_would_not_come_back_after_a_boot_is_settled_again():
    assert ops(plan(WANTED, found(AS_WANTED, enabled=False))) == ["switch"]


def test_port_stays_while_it_serves():
    moved = dataclasses.replace(WANTED, port=9000)
    with pytest.raises(Problem, match="cannot move to 9000"):
        plan(moved, AS_WANTED)
    stopped = found(AS_WANTED, listening=False, serving=())
    assert plan(moved, stopped)[0].args["port"] == 9000


def test_free_port_is_taken_when_none_is_asked_for():
    steps = plan(WANTED, found(EMPTY, free_port=8107))
    assert next(s for s in steps if s.do == "listen").args["port"] == 8107


def test_missing_python_names_what_is_there():
    with pytest.raises(Problem) as caught:
        plan(WANTED, found(EMPTY, pythons=({"version": "3.13.1", "path": "/usr/bin/python3"},)))
    assert caught.value.what == "Python 3.11 is not on that host."
    assert "3.13.1" in caught.value.cause


def test_python_3_1_is_not_python_3_11():
    wanted = dataclasses.replace(WANTED, manifest={**MANIFEST, "python": "3.1"})
    with pytest.raises(Problem, match=r"Python 3\.1 is"):
        plan(wanted, EMPTY)


@pytest.mark.parametrize(
    ("lacking", "remedy"),
    [
        ({"linger": False}, "loginctl enable-linger root"),
        ({"systemd": False}, "systemd"),
        ({"user_manager": False}, "systemctl start user@"),
        ({"unwritable": ("/tmp",)}, "chmod 1777 /tmp"),
    ],
)
def test_what_we_cannot_mend_is_said_before_the_first_change(lacking, remedy):
    with pytest.raises(Problem) as caught:
        plan(WANTED, found(EMPTY, **lacking))
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("lacking", [{"linger": False}, {"unwritable": ("/tmp",)}])
def test_a_release_is_not_started_again_where_no_service_can_start(lacking):
    down = found(AS_WANTED, serving=(), **lacking)
    closing = found(OPEN_AS_WANTED, current=BEFORE, exposure="loopback", **lacking)
    for wanted, there in ((WANTED, down), (OPEN, closing)):
        with pytest.raises(Problem):
            recall(wanted, there)


def test_what_runs_can_become_production_where_no_service_could_start():
    warm = found(AS_WANTED, current=BEFORE, unwritable=("/tmp",))
    assert ops(recall(WANTED, warm))[-1] == "switch"


def test_full_disk_is_refused_with_numbers():
    with pytest.raises(Problem) as caught:
        plan(WANTED, found(EMPTY, disk_free=100_000_000))
    assert "1.1 GB needed (43.0 MB to send" in caught.value.cause
    assert "100 MB free" in caught.value.cause


def test_release_without_sample_is_asked_whether_it_is_ready():
    manifest = {**MANIFEST, "scoring": {"sample": None, "timeout": 30.0}}
    steps = plan(dataclasses.replace(WANTED, manifest=manifest), EMPTY)
    gate = next(step for step in steps if step.do == "gate")
    assert gate.words == "Check that it answers"
    assert gate.args["sample"] is None


def history(*lines):
    return [{"action": action, "release": release} for action, release in lines]


def here(*names):
    return [{"id": name} for name in names]


def test_rollback_goes_to_the_production_before():
    past = history(("deploy", "v1"), ("deploy", "v2"))
    assert rollback_target(past, here("v1", "v2"), "v2") == "v1"


def test_rolling_back_twice_goes_back_two():
    past = history(("deploy", "v1"), ("deploy", "v2"), ("deploy", "v3"), ("rollback", "v2"))
    assert rollback_target(past, here("v1", "v2", "v3"), "v2") == "v1"


def test_release_pruned_meanwhile_is_no_target():
    past = history(("deploy", "v1"), ("deploy", "v2"), ("deploy", "v3"))
    assert rollback_target(past, here("v1", "v3"), "v3") == "v1"


def test_first_release_has_nothing_to_go_back_to():
    assert rollback_target(history(("deploy", "v1")), here("v1"), "v1") is None


def test_stops_and_starts_are_no_productions():
    past = history(("deploy", "v1"), ("deploy", "v2"), ("stop", None), ("start", "v2"))
    assert rollback_target(past, here("v1", "v2"), "v2") == "v1"


def test_five_good_releases_and_the_current_one_are_kept():
    names = [f"v{n}" for n in range(1, 10)]
    past = tuple(history(*[("deploy", name) for name in names if name != "v3"]))
    state = found(AS_WANTED, history=past, releases=tuple(here(*names)), current="v1", serving=())
    assert kept(state, "v10") == {"v10", "v1", "v9", "v8", "v7", "v6", "v5"}
    [step] = tidy(WANTED, state)
    assert step.words == "Remove 3 old releases"


def test_nothing_old_needs_no_tidying():
    assert tidy(WANTED, found(AS_WANTED, releases=tuple(here(RELEASE)))) == []


def test_answer_of_the_agent_becomes_a_value():
    answer = dataclasses.asdict(AS_WANTED)
    answer["missing"] = []
    answer["serving"] = [{"unit": "current", "release": RELEASE, "ready": True, "accepting": True}]
    parsed = parse_found(answer)
    assert parsed.serving == (Running("current", RELEASE, True, True),)
    assert serve(WANTED, parsed) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 B"), (812, "812 B"), (5_100_000, "5.1 MB"), (212e6, "212 MB"), (2e15, "2000.0 TB")],
)
def test_sizes_as_people_read_them(number, words):
    assert size(number) == words


def test_failed_releases_push_out_no_good_one():
    names = [f"v{n}" for n in range(1, 10)]
    past = history(*[("deploy", f"v{n}") for n in range(1, 5)])
    releases = tuple(here(*names))
    state = found(AS_WANTED, history=past, releases=releases, current="v4", serving=())
    assert kept(state, "v10") == {"v10", "v1", "v2", "v3", "v4"}


def test_releases_that_are_gone_take_no_place():
    past = history(*[("deploy", f"v{n}") for n in range(1, 10)])
    releases = tuple(here("v1", "v2", "v9"))
    state = found(AS_WANTED, history=past, releases=releases, current="v9", serving=())
    assert kept(state, "v9", 2) == {"v9", "v2"}


@pytest.mark.parametrize("seed", range(200))
def test_whatever_happened_what_is_needed_stays(seed):
    """F31: current, previous, running, pinned and `keep` good ones are never spare."""
    chance = random.Random(seed)
    names = [f"v{n}" for n in range(1, chance.randint(2, 40))]
    lines = [
        (chance.choice(["deploy", "switch", "rollback", "start"]), chance.choice(names))
        for _ in range(chance.randint(0, 60))
    ]
    current = chance.choice([*names, None])
    runs, pins = chance.choice(names), chance.sample(names, chance.randint(0, min(3, len(names))))
    count, past, there = chance.randint(1, 8), history(*lines), tuple(here(*names))
    state = found(
        AS_WANTED,
        history=past,
        releases=there,
        current=current,
        pinned=tuple(pins),
        serving=(Running("current", runs, True, True),),
    )
    stay = kept(state, "new", count)
    productions = list(dict.fromkeys(name for _, name in reversed(lines)))
    previous = rollback_target(past, there, current)
    needed = {"new", current, previous, runs, *pins, *productions[:count]} - {None}
    assert stay == needed
    wanted = dataclasses.replace(WANTED, keep=count)
    for step in tidy(wanted, state):
        assert set(step.args["keep"]) >= needed - {"new"}


SHADOWED = found(
    WITH_THE_ONE_BEFORE,
    serving=(Running(BEFORE, BEFORE, True, True), Running(RELEASE, RELEASE, True, False)),
    shadow={"release": RELEASE, "version": 2, "percent": 10.0},
)


def test_shadow_is_shipped_and_started_beside_production():
    steps = shadow(WANTED, WITH_THE_ONE_BEFORE, 5.0, (1e-6, 1e-9))
    assert ops(steps)[-2:] == ["place", "shadow"]
    assert steps[-1].words == "Start v2 beside v1, send it 5 % in copies"
    assert steps[-1].args["percent"] == 5.0


def test_switch_to_a_shadow_ends_it_and_starts_it_anew():
    steps = plan(WANTED, found(SHADOWED, release=True))
    assert ops(steps) == ["unshadow", "start", "gate", "switch"]


def test_start_of_production_leaves_its_shadow_alone():
    other = found(WANTED, manifest={**MANIFEST, "id": BEFORE})
    assert plan(other, found(SHADOWED, release=True)) == []
    gone = found(SHADOWED, release=True, serving=SHADOWED.serving[1:])
    assert ops(plan(other, gone)) == ["start", "switch"]


def test_release_that_gets_copies_stays():
    there = tuple({"id": each} for each in (BEFORE, RELEASE, "v3-cccccccccccc"))
    down = found(SHADOWED, releases=there, serving=SHADOWED.serving[:1])
    assert RELEASE in kept(down, "v3-cccccccccccc")


def test_release_is_told_by_its_version_where_one_knows_it_by_that():
    assert told("v3-1f0c9a77be21", "v2-aaaaaaaaaaaa", "v30-bbbbbbbbbbbb") == "v3"
    assert told("v3-1f0c9a77be21", "v3-1f0c9a77be21") == "v3"
    assert told("v3-1f0c9a77be21", "v3-cccccccccccc") == "v3-1f0c9a77be21"
    assert told("") == ""
