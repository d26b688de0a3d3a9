"""How long a commit takes: of 1 GiB, beside `dvc add` and MLflow's `log_artifacts`; of no change.

Whole processes are timed, from start to end. Peers are installed by uv into environments
of their own under ~/.cache/rhythmicml-bench. Prints a table; --json prints figures instead.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from app.dependencies import find_uv  # noqa: E402

CACHE = Path.home() / ".cache" / "rhythmicml-bench"
PEERS = {"dvc": "dvc==3.67.1", "mlflow": "mlflow==3.17.2"}
RUNS = 3
BIG, BIG_SIZE, SMALL, SMALL_SIZE = 4, 255 << 20, 200, 20 << 10
MANY = 10_000

COMMIT = """
import sys
from pathlib import Path
from app.services import versions
from app.workspace import Workspace
versions.commit(Workspace(Path(sys.argv[1])), "model")
"""
ADD = COMMIT.replace("versions.commit(", "models.add(").replace("import versions", "import models")
ADD = ADD.replace('"model")', 'Path(sys.argv[2]), "model")')
LOG = """
import mlflow
with mlflow.start_run():
    mlflow.log_artifacts("model")
"""
START = "import mlflow\nwith mlflow.start_run(): pass"
QUIET = {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "1", "GIT_PYTHON_REFRESH": "quiet"}


def run(*arguments: str | Path, cwd: Path) -> float:
    """Run one process to its end. Returns the seconds it took."""
    before = time.perf_counter()
    done = subprocess.run(
        arguments, cwd=cwd, env=os.environ | QUIET, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - before
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stderr}")
    return took


def peer(name: str) -> Path:
    """The folder of a peer's programs, installed if need be."""
    environment = CACHE / PEERS[name]
    if not (environment / ".complete").exists():
        run(find_uv(), "venv", "--clear", "--python", "3.11", environment, cwd=Path.home())
        python = environment / "bin" / "python"
        run(find_uv(), "pip", "install", "--python", python, PEERS[name], cwd=Path.home())
        (environment / ".complete").touch()
    return environment / "bin"


def model(folder: Path) -> Path:
    """A folder that can be committed."""
    folder.mkdir(parents=True)
    (folder / "predict.py").write_text("def predict(model, inputs):\n    return inputs\n")
    (folder / "requirements.txt").write_text("")
    return folder


def gibibyte(folder: Path) -> Path:
    """Four big files of random bytes and 200 small ones: 1 GiB."""
    artifacts = model(folder) / "artifacts"
    artifacts.mkdir()
    for number in range(BIG):
        with (artifacts / f"big-{number}").open("wb") as file:
            for _ in range(BIG_SIZE >> 20):
                file.write(os.urandom(1 << 20))
    for number in range(SMALL):
        (artifacts / f"small-{number}").write_bytes(os.urandom(SMALL_SIZE))
    return folder


def many(folder: Path) -> Path:
    """Ten thousand small files in a hundred folders."""
    model(folder)
    for number in range(MANY):
        place = folder / "data" / f"{number % 100:02}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.txt").write_text(f"row {number}\n")
    return folder


def ours(source: Path, place: Path) -> float:
    """A first commit. The store and the lock of the (empty) requirements are there already."""
    small = model(place / "small")
    home = place / "home"
    for folder in (small, source):
        run(sys.executable, "-c", ADD.replace('"model"', "None"), home, folder, cwd=PROJECT)
    run(sys.executable, "-c", COMMIT.replace('"model"', '"small"'), home, cwd=PROJECT)
    settle()
    return run(sys.executable, "-c", COMMIT, home, cwd=PROJECT)


def dvc(source: Path, place: Path) -> float:
    """`dvc add` of the folder. It has to be in the repository, so it is renamed there and back."""
    program = peer("dvc") / "dvc"
    run("git", "init", "-q", ".", cwd=place)
    run(program, "init", "-q", cwd=place)
    source.rename(place / "model")
    settle()
    try:
        return run(program, "add", "-q", "model", cwd=place)
    finally:
        (place / "model").rename(source)


def mlflow(source: Path, place: Path) -> float:
    """`log_artifacts` of the folder. The tracking database has been made by a run before."""
    python = peer("mlflow") / "python"
    run(python, "-c", START, cwd=place)
    (place / "model").symlink_to(source)
    settle()
    return run(python, "-c", LOG, cwd=place)


def settle() -> None:
    """Let what was written before not burden what is timed."""
    os.sync()


def alternated(kinds: dict[str, Callable[[Path, Path], float]], source: Path, place: Path) -> dict:
    """Seconds of each kind, taking turns, each time in a fresh place."""
    took: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(RUNS):
        for name, measure in kinds.items():
            fresh = Path(tempfile.mkdtemp(dir=place))
            took[name].append(measure(source, fresh))
            shutil.rmtree(fresh)
    return took


def unchanged(place: Path) -> dict[str, list[float]]:
    """A commit of 10,000 files of which none changed, and what starting Python takes of that."""
    home, folder = place / "home-many", many(place / "model")
    run(sys.executable, "-c", ADD, home, folder, cwd=PROJECT)
    time.sleep(0.2)
    first = run(sys.executable, "-c", COMMIT, home, cwd=PROJECT)
    start = [run(sys.executable, "-c", "pass", cwd=PROJECT) for _ in range(RUNS)]
    again = [run(sys.executable, "-c", COMMIT, home, cwd=PROJECT) for _ in range(RUNS)]
    return {"first": [first], "start": start, "again": again}


def measured() -> dict[str, dict[str, list[float]]]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        place = Path(name)
        source = gibibyte(place / "source" / "model")
        kinds = {"ours": ours, "dvc": dvc, "mlflow": mlflow}
        return {"gibibyte": alternated(kinds, source, place), "many": unchanged(place / "many")}


def rows(figures: dict[str, dict[str, list[float]]]) -> list[str]:
    """The table, in markdown."""
    middle = {name: statistics.median(took) for name, took in figures["gibibyte"].items()}
    found = [
        f"| commit of 1 GiB | {PEERS[name]} | {middle['ours']:.2f} s | {middle[name]:.2f} s"
        f" | {middle[name] / middle['ours']:.1f}× | ≥ 3× |"
        for name in PEERS
    ]
    work = {name: statistics.median(took) for name, took in figures["many"].items()}
    beyond = work["again"] - work["start"]
    found.append(
        f"| commit, nothing changed, 10,000 files | beyond the start of Python | {beyond:.2f} s"
        " | | | ≤ 0.3 s |"
    )
    head = ["| what | beside | ours | theirs | ratio | goal |", "|---|---|---|---|---|---|"]
    return [*head, *found]


def main() -> None:
    figures = measured()
    if "--json" in sys.argv:
        print(json.dumps(figures))
        return
    print("\n".join(rows(figures)))
    print(f"\nMedians of {RUNS}, taking turns, whole processes, fresh stores, page cache warm.")


if __name__ == "__main__":
    main()
