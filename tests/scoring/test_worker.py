"""The shim: styles of prediction scripts, kinds of input, old Pythons."""

import ast
import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from app.scoring import worker

from .conftest import SCORING, pythons, wait_for

FUNCTIONS = """
from pathlib import Path

def load(artifacts: Path):
    return float((artifacts / "factor.txt").read_text())

def predict(model, inputs):
    return [value * model for value in inputs]
"""
CLASS = """
class Model:
    def load(self, artifacts):
        self.factor = float((artifacts / "factor.txt").read_text())

    def preprocess(self, inputs: list):
        return [value + 1 for value in inputs]

    def predict(self, inputs):
        return [value * self.factor for value in inputs]

    def postprocess(self, outputs):
        return {"values": outputs}
"""
WRAPPER = """
import json

class ModelWrapper:
    def __init__(self, path_to_artifacts):
        with open(path_to_artifacts + "/factor.txt") as file:
            self.factor = float(file.read())

    def METHOD(self, text):
        return json.dumps([value * self.factor for value in json.loads(text)["values"]])
"""
STEPS = (
    FUNCTIONS
    + """
def preprocess(inputs):
    return [value + 1 for value in inputs]

def postprocess(outputs):
    return [-value for value in outputs]
"""
)
FACTOR = {"artifacts/factor.txt": b"2.5"}


@pytest.mark.parametrize(
    ("script", "body", "wanted"),
    [
        (FUNCTIONS, [1, 2], [2.5, 5.0]),
        (STEPS, [1, 2], [-5.0, -7.5]),
        (CLASS, [1, 2], {"values": [5.0, 7.5]}),
        ("def predict(model, inputs):\n    return [model, inputs]\n", 1, [None, 1]),
        ("def predict(inputs):\n    return inputs\n", 1, 1),
        *(
            (WRAPPER.replace("METHOD", method), {"values": [1, 2]}, [2.5, 5.0])
            for method in ("predict", "score", "__call__")
        ),
    ],
)
def test_styles_of_scripts(shared, script, body, wanted):
    assert shared(script, files=FACTOR).score(json.dumps(body)) == wanted


def test_a_wrapper_gets_the_body_as_it_was_sent(shared):
    script = """
class ModelWrapper:
    def __init__(self, path): pass
    def predict(self, text): return {"got": text}
"""
    assert shared(script).score('{"inputs":  [1.0]}') == {"got": '{"inputs":  [1.0]}'}
    answer = shared(script).post("/invocations", '{"inputs":  [1.0]}')
    assert answer.json["predictions"] == {"got": "[1.0]"}


def test_modules_beside_the_script_are_found(shared):
    files = {"helper.py": b"VALUE = 7\n"}
    assert (
        shared("import helper\ndef predict(m, i):\n    return helper.VALUE\n", files=files).score(
            "1"
        )
        == 7
    )


def test_our_modules_are_not_in_the_models_way(shared):
    script = (
        "import http.client, sys\ndef predict(m, i):\n    return [http.__file__, sys.path[0]]\n"
    )
    module, folder = shared(script).score("1")
    assert "scoring" not in module
    assert folder.endswith("/files")


def test_what_the_model_prints_goes_to_the_log(serve):
    front = serve("def predict(m, i):\n    print('hello from the model')\n    return i\n")
    assert front.score("1") == 1
    assert "hello from the model" in front.log


def test_variables_of_the_release_are_set_and_ours_are_not(serve):
    script = "import os\ndef predict(m, i):\n    return [os.environ.get(n) for n in i]\n"
    front = serve(
        script, env={"COLOUR": "blue"}, environment={"NOTIFY_SOCKET": "", "PYTHONPATH": "/x"}
    )
    assert front.score(["COLOUR", "LISTEN_FDS", "NOTIFY_SOCKET", "PYTHONPATH"]) == [
        "blue", None, None, None
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        ("pd.DataFrame", "dataframe"),
        ('"pandas.DataFrame"', "dataframe"),
        ("np.ndarray", "ndarray"),
        ('"np.ndarray"', "ndarray"),
        ("bytes", "bytes"),
        ("dict", "json"),
        ("list", "json"),
        ("object", "json"),
    ],
)
def test_the_annotation_says_the_kind(annotation, kind):
    class Names:
        ndarray = type("ndarray", (), {})
        DataFrame = type("DataFrame", (), {})

    scope = {"np": Names, "pd": Names}
    exec(f"def predict(model, inputs: {annotation}, threshold: float = 0.5): ...", scope)  # noqa: S102
    assert worker._annotated_kind(scope["predict"]) == kind


@pytest.mark.parametrize(
    ("script", "settings", "says"),
    [
        ("def predict(:\n", {}, "SyntaxError"),
        ("import nothing_like_this\n", {}, "nothing_like_this"),
        ("def other(): pass\n", {}, "no function predict"),
        ("class Model: pass\n", {}, "no method predict"),
        (
            "def load(a):\n    raise OSError('no weights')\ndef predict(m, i): ...\n",
            {},
            "no weights",
        ),
        ("def load(a):\n    import os; os._exit(3)\ndef predict(m, i): ...\n", {}, "worker ended"),
        ("def load(a):\n    raise SystemExit\ndef predict(m, i): ...\n", {}, "SystemExit"),
        ("def predict(m, i): ...\n", {"input": "ndarray"}, "needs numpy in requirements.txt"),
        ("def predict(m, i): ...\n", {"input": "dataframe"}, "needs numpy in requirements.txt"),
        ("def predict(m, i): ...\n", {"script": "src/none.py"}, "does not exist"),
    ],
)
def test_a_first_load_that_fails_ends_the_front(serve, script, settings, says):
    front = serve(script, ready=False, **settings)
    assert front.process.wait(20) == 1
    assert says in front.log
    assert "cannot be served" in front.log


def test_the_worker_ends_with_its_front(serve):
    front = serve("import os\ndef predict(m, i):\n    return os.getpid()\n")
    pid = front.score("1")
    front.process.kill()
    front.process.wait()
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_the_shim_is_python_3_8():
    ast.parse((SCORING / "worker.py").read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("python", pythons((3, 8)), ids=lambda path: path.parts[-3])
def test_the_shim_runs_on_each_python_here(python, tmp_path):
    (tmp_path / "predict.py").write_text("def predict(model, inputs):\n    return inputs[::-1]\n")
    shutil.copy(SCORING / "worker.py", tmp_path / "shim.py")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [python, tmp_path / "shim.py", str(theirs.fileno())],
            cwd=tmp_path,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        ours.settimeout(20)
        worker.send(ours, {"script": "predict.py", "artifacts": "artifacts", "input": None})
        assert worker.receive(ours)[0]["ready"] == "json"
        worker.send(ours, {"id": 1, "kind": "rows", "rows": 2}, b"1,2")
        assert worker.receive(ours) == ({"kind": "json", "id": 1}, bytearray(b"[2, 1]"))
    assert process.wait(10) == 0


def test_a_script_in_a_folder(shared):
    files = {
        "src/code.py": b"import more\ndef predict(m, i):\n    return more.X\n",
        "src/more.py": b"X = 3\n",
    }
    assert shared("", files=files, script="src/code.py").score("1") == 3
