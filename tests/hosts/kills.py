"""The points at which a deployment can be killed, from the code, and the killing itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

from client import ROOT, Client
from guests import Guest

AGENT = ROOT / "app" / "deployer" / "agent"
OTHERS = {"stop", "restart", "undeploy", "certificate", "units-gone"}
"""Not of a deployment; `certificate` puts one file, as `listen` puts units."""


def calls(path: Path, name: str, argument: int) -> Iterator[str]:
    """The literal texts that are given to calls of `name` in a module, as that argument."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name:
            given = node.args[argument] if len(node.args) > argument else None
            if isinstance(given, ast.Constant):
                yield given.value


def points() -> list[str]:
    """Every point at which a deployment can be killed, from the code."""
    steps = sorted({*calls(ROOT / "app/deployer/plan.py", "Step", 1)} - OTHERS)
    around = [f"{step}:{when}" for step in steps for when in ("before", "after")]
    own = [
        name
        for module in ("services/attempts.py", "deployer/apply.py")
        for name in calls(ROOT / "app" / module, "crash_point", 0)
    ]
    in_agent = {name for path in AGENT.glob("*.py") for name in calls(path, "crash_point", 0)}
    ops = [each for each in around if not each.startswith("upload")]
    ops += [
        "put:before",
        "put:after",
        "confirm:before",
        "confirm:after",
        "lock:after",
        "look:after",
    ]
    return [*around, *own, *(f"agent:{name}" for name in (*ops, *sorted(in_agent - OTHERS)))]


POINTS = points()


def step_of(point: str) -> str:
    """The step that it is before or after; of another point of the agent its name."""
    return point.removeprefix("agent:").split(":")[0]


def points_of(step: str) -> list[str]:
    return [each for each in POINTS if step_of(each) == step]


def killed(client: Client, point: str, *words: str) -> None:
    """Run a command that is killed there; a fault that misses is no test."""
    code, said = _ended(client, point, words)
    assert code == (1 if point.startswith("agent:") else -9), f"{point} was not hit: {said}"


def outlived(client: Client, guest: Guest, point: str, *words: str) -> None:
    """Run a command whose agent is killed there, and which goes on with another one."""
    before = _logins(guest)
    code, said = _ended(client, point, words)
    assert code == 0, said
    assert _logins(guest) == before + 2, f"{point} was not hit"


def _ended(client: Client, point: str, words: tuple[str, ...]) -> tuple[int, str]:
    client.environ["RHYTHMICML_CRASH_AT"] = point
    try:
        process = client.start(*words)
        _, said = process.communicate(timeout=120)
    finally:
        del client.environ["RHYTHMICML_CRASH_AT"]
    return process.returncode, said


def _logins(guest: Guest) -> int:
    return guest.run(["journalctl", "-t", "sshd", "--no-pager"]).stdout.count("Accepted")
