"""The same graph by others, each at the best settings that were found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.scoring import ground, servers
from bench.scoring.peers import APPS, QUIET, UVICORN, by_python

FASTAPI = ("fastapi==0.165.0", "aiohttp==3.14.5", *UVICORN)
BENTOML = ("bentoml==1.4.39",)
RAY = ("ray[serve]==2.60.0",)


class Peer(NamedTuple):
    """serving(models) has it up for as long as it is open, and gives its port."""

    name: str
    version: str
    serving: Any
    tuned: str


def environment(name: str, packages: tuple[str, ...]) -> Path:
    return ground.environment(name, (*ground.MODEL, *packages))


@contextmanager
def fastapi(models: Path) -> Iterator[int]:
    """A process a stage; the client asks the featurizer, which asks the two models."""
    python = environment("chain-fastapi", FASTAPI) / "bin" / "python"
    ports = {name: servers.free_port() for name in ("logistic", "forest", "features")}
    following = f"{ports['logistic']},{ports['forest']}"
    with ExitStack() as stack:
        for name, port in ports.items():
            app = ["-m", "uvicorn", "chain_fastapi:app", "--app-dir", APPS, "--port", port]
            said = {"BENCH_STAGE": name, "BENCH_MODELS": str(models), "BENCH_NEXT": following}
            stack.enter_context(servers.running([python, *app, *QUIET], port, said))
        yield ports["features"]


@contextmanager
def bentoml(models: Path) -> Iterator[int]:
    env, port = environment("chain-bentoml", BENTOML), servers.free_port()
    words = ["serve", "chain_bentoml:Scoring", "--working-dir", APPS, "--host", "127.0.0.1"]
    said = {"BENCH_MODELS": str(models), "BENTOML_DO_NOT_TRACK": "true"}
    with servers.running([env / "bin" / "bentoml", *words, "--port", port], port, said):
        yield port


@contextmanager
def ray(models: Path) -> Iterator[int]:
    env, port = environment("chain-ray", RAY), servers.free_port()
    said = {"BENCH_MODELS": str(models), "RAY_USAGE_STATS_ENABLED": "0"}
    with servers.running(by_python("chain_ray.py")(env, models, port), port, said):
        yield port


PEERS: tuple[Peer, ...] = (
    Peer("FastAPI × 3", "0.165.0", fastapi, "aiohttp, uvloop, httptools; a process a stage"),
    Peer("BentoML depends", "1.4.39", bentoml, "adaptive batching in each service"),
    Peer("Ray Serve handles", "2.60.0", ray, "@serve.batch of up to 32 in each deployment"),
)

Serving = AbstractContextManager[int]
