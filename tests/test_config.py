import re
import sys
from pathlib import Path

import pytest

from app import config
from app.config import KEYS, home, read_configuration
from app.configuration.stages import STAGE_KEYS
from app.configuration.starter import starter
from app.errors import Problem
from app.meanings import MEANINGS
from app.models import Batch, Configuration
from app.services.releases import scoring

EVERY = {**KEYS, "stage": STAGE_KEYS}
DOCS = Path(__file__).parent.parent / "docs" / "configuration.md"


def read(folder: Path, text: str) -> Configuration:
    (folder / config.FILE).write_text(text)
    return read_configuration(folder)


def problem(folder: Path, text: str) -> Problem:
    with pytest.raises(Problem) as raised:
        read(folder, text)
    return raised.value


def test_a_folder_without_the_file_has_the_defaults(tmp_path):
    assert read_configuration(tmp_path) == Configuration()


def test_every_key_is_read(tmp_path):
    text = """
        [model]
        name = "churn"
        description = "Who leaves next month"
        metadata = { dataset = "2026-10", auc = 0.91, day = 2026-10-01, deep = { a = [1, true] } }
        [predict]
        script = "src/predict.py"
        artifacts = "./model"
        input = "dataframe"
        batch = { max_rows = 32 }
        sample = "golden.json"
        timeout = 5
        [dependencies]
        requirements = "req/prod.txt"
        python = "3.12"
        allow_yanked = true
        [deploy]
        location = "prod"
        port = 8101
        workers = 2
        memory = "2g"
        start_timeout = 60
        keep_warm = "10m"
        max_body = "10M"
        expose = "loopback"
        env = { TOKENIZERS_PARALLELISM = "false" }
        exclude = ["notebooks/", "*.ipynb"]
    """
    assert read(tmp_path, text) == Configuration(
        name="churn",
        description="Who leaves next month",
        metadata={
            "dataset": "2026-10",
            "auc": 0.91,
            "day": "2026-10-01",
            "deep": {"a": [1, True]},
        },
        script="src/predict.py",
        artifacts="model",
        input="dataframe",
        batch=Batch(32),
        sample="golden.json",
        timeout=5.0,
        requirements="req/prod.txt",
        python="3.12",
        allow_yanked=True,
        location="prod",
        port=8101,
        workers=2,
        memory="2G",
        start_timeout=60.0,
        keep_warm=600.0,
        max_body=10 * 1024 * 1024,
        env={"TOKENIZERS_PARALLELISM": "false"},
        exclude=("notebooks/", "*.ipynb"),
    )


def test_batch_may_be_switched_off_and_on(tmp_path):
    assert read(tmp_path, "[predict]\nbatch = false").batch is None
    assert read(tmp_path, "[predict]\nbatch = true").batch == Batch()
    assert read(tmp_path, "[predict]\nbatch = {}").batch == Batch()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[predict]\nscrpt = 'x.py'", "scrpt in [predict] is not a key. Meant: script?"),
        ("[predict]\nport = 80", "port in [predict] is not a key. It belongs into [deploy]."),
        ("[deploy]\nxyzzy = 1", "xyzzy in [deploy] is not a key. Known there: location, port"),
        ("[deplyo]\nport = 80", "[deplyo] is not a section. Meant: [deploy]?"),
        ("port = 80", "port belongs into [deploy]."),
        ("model = 'churn'", 'model must be a section, [model], not "churn".'),
        ("[deploy]\nport = 0", "port in [deploy] must be a whole number from 1 to 65535, not 0."),
        ("[deploy]\nport = 65536", "from 1 to 65535, not 65536."),
        ("[deploy]\nport = '80'", 'from 1 to 65535, not "80".'),
        ("[deploy]\nport = true", "from 1 to 65535, not true."),
        ("[deploy]\nworkers = 0", "from 1 to 256, not 0."),
        ("[deploy]\nmemory = '2 GB'", 'must be a size such as "512M" or "2G", not "2 GB".'),
        ("[deploy]\nmemory = 2", 'must be a size such as "512M" or "2G", not 2.'),
        ("[deploy]\nmax_body = 0", "max_body in [deploy] must be a size"),
        ("[deploy]\nexpose = 'world'", "one of loopback, public"),
        ("[deploy]\ncertificate = 'me.pem'", "a whole path"),
        ("[deploy]\ncors = ['app.example']", "must list origins"),
        ("[predict]\nbatch = { wait = 2 }", "a wait of 0 to 1 seconds"),
        ("[schema]\ninputs = { age = 'int64' }", 'must describe "age"'),
        ("[schema.inputs.age]\nmin = 1", "type is missing"),
        ("[schema.inputs.age]\ntype = 'int'", "type must be one of"),
        ("[schema.inputs.age]\ntype = 'int64'\nrange = 1", "not by"),
        ("[schema.inputs.age]\ntype = 'int64'\nmin = 3\nmax = 1", "min is above max"),
        ("[schema.inputs.who]\ntype = 'string'\nmin = 3", "for numbers only"),
        ("[schema.inputs.who]\ntype = 'string'\nvalues = []", "values must be a list"),
        ("[schema.inputs.x]\ntype = 'float32'\nshape = [0]", "shape must be a list"),
        ("[schema.inputs.x]\ntype = 'float32'\nnullable = 1", "nullable must be true or false"),
        ("[deploy]\nsecrets = ['a key']", 'must list names such as "DB_PASSWORD", not "a key".'),
        ("[deploy]\nenv = { A = 1 }", "must give A one line of text in quotes, not 1."),
        ("[deploy]\nenv = { 'A-B' = 'x' }", 'holds "A-B", which is no name'),
        ("[deploy]\nenv = 'A=1'", "must be a table"),
        ("[deploy]\nexclude = 'x'", "must be a list of texts"),
        ("[dependencies]\npython = '3.8'", 'must be a Python such as "3.11"'),
        ("[dependencies]\npython = 3.11", 'must be a Python such as "3.11"'),
        ("[dependencies]\nallow_yanked = 1", "must be true or false, not 1."),
        ("[predict]\nscript = '../x.py'", "must be a path inside the model's folder"),
        ("[predict]\nscript = '/x.py'", "must be a path inside the model's folder"),
        ("[predict]\nscript = ''", "must be a path inside the model's folder"),
        ("[predict]\nscript = 3", "must be text in quotes, not 3."),
        ("[predict]\ninput = 'pandas'", 'one of dataframe, ndarray, json, bytes, not "pandas"'),
        ("[predict]\ninput = ['json']", "one of dataframe, ndarray, json, bytes"),
        ("[predict]\nbatch = 256", "must be { max_rows = 256, wait = 0.0 } or false, not 256."),
        ("[predict]\nbatch = { rows = 2 }", "must be { max_rows = 256, wait = 0.0 } or false"),
        ("[predict]\nbatch = { max_rows = 0 }", "from 1 to 1000000, not 0."),
        ("[predict]\ntimeout = 0", "must be seconds, above 0"),
        ('[deploy]\nkeep_warm = "soon"', 'must be a time such as "200ms", "10s" or "2m"'),
        ('[deploy]\nkeep_warm = "2d"', 'at most "1d", not "2d"'),
        ('[monitor]\nsize = "10K"', 'must be 0, or a size of "1M" or more, not "10K"'),
        ("[monitor]\nsize = false", 'must be a size such as "100M"'),
        ('[log]\nsample = "1%"', 'must be a share, from 0 to 1, not "1%"'),
        ("[log]\nkeep = 7", 'must be a time such as "12h" or "7d", at most "366d", not 7'),
        ('[log]\nredact = "ssn"', "must be a list of texts"),
        ("[predict]\ntimeout = nan", "must be seconds, above 0"),
        ("[model]\nmetadata = { a = inf }", "must hold finite numbers, not inf."),
        ("[model]\nmetadata = 3", "must be a table"),
        ("[model]\nname = \"a\\u0000b\"", "must not hold a NUL"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_file_and_key(tmp_path, line, said):
    found = problem(tmp_path, line)
    assert said in found.what
    assert str(tmp_path / config.FILE) in found.what
    assert found.remedy


def test_all_that_is_wrong_makes_one_problem(tmp_path):
    found = problem(tmp_path, "[predict]\nscrpt = 'x'\n[deploy]\nport = 0\nworkers = 0")
    assert "scrpt" in found.what
    assert "port" in found.detail
    assert "workers" in found.detail


def test_invalid_toml_names_line_and_column(tmp_path):
    found = problem(tmp_path, "[model]\nname = churn\n")
    assert "is not valid TOML" in found.what
    assert re.search(r"line 2, column 8", found.cause)


def test_a_file_that_is_not_text_is_a_problem(tmp_path):
    (tmp_path / config.FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(Problem, match="not UTF-8"):
        read_configuration(tmp_path)


def test_a_folder_in_its_place_is_a_problem(tmp_path):
    (tmp_path / config.FILE).mkdir()
    with pytest.raises(Problem, match="cannot be read"):
        read_configuration(tmp_path)


def test_the_starter_is_valid_and_names_the_model(tmp_path):
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = read(tmp_path, starter("churn"))
    assert (found.name, found.python, found.sample) == ("churn", here, "sample.json")


def test_the_starter_is_valid_with_every_comment_taken_away(tmp_path):
    lines = starter("churn", python="3.12").splitlines()[1:]
    found = read(tmp_path, "\n".join(line.removeprefix("# ") for line in lines))
    assert (found.python, found.memory, found.port) == ("3.12", "2G", 8101)


def test_a_configuration_survives_json():
    import json

    found = Configuration(name="a", batch=None, exclude=("x",), env={"A": "b"}, metadata={"n": 1})
    assert Configuration.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    assert Configuration.from_dict(Configuration().as_dict()) == Configuration()


def test_home_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("RHYTHMICML_HOME", str(tmp_path / "here"))
    assert home() == tmp_path / "here"
    monkeypatch.delenv("RHYTHMICML_HOME")
    assert home().name == "rhythmicml"


def documented() -> dict[str, dict[str, str]]:
    """What the page says: section → key → default."""
    found: dict[str, dict[str, str]] = {}
    section = ""
    for line in DOCS.read_text().splitlines():
        if heading := re.fullmatch(r"## \[{1,2}(\w+)\]{1,2}", line):
            section = heading[1]
        elif row := re.match(r"\| `(\w+)` \| [^|]+ \|([^|]*)\| [^|]+ \|", line):
            found.setdefault(section, {})[row[1]] = row[2].strip("` ")
    return found


def test_the_page_has_every_key_in_its_section():
    assert {name: list(keys) for name, keys in documented().items()} == {
        name: list(keys) for name, keys in EVERY.items()
    }


def test_the_page_gives_the_true_defaults(tmp_path):
    for section, keys in documented().items():
        for name, default in keys.items():
            if default and name in Configuration.__dataclass_fields__:
                found = read(tmp_path, f"[{section}]\n{name} = {default}")
                assert getattr(found, name) == getattr(Configuration(), name), name


def test_the_help_of_the_pages_says_what_the_page_says():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|([^|]*)\| ([^|]+) \|$", DOCS.read_text(), re.M)
    said = [(name, kind, default.strip().strip("`"), text) for name, kind, default, text in rows]
    assert said == [(name, *one) for keys in MEANINGS.values() for name, one in keys.items()]
    assert [(s, list(keys)) for s, keys in MEANINGS.items()] == [
        (s, list(keys)) for s, keys in EVERY.items()
    ]


def test_what_is_recorded_reaches_the_release(tmp_path):
    text = '[monitor]\nsize = "8M"\n[log]\nsample = 0.01\nredact = ["ssn"]\nkeep = "12h"\n'
    found = scoring(read(tmp_path, text))
    assert found["monitor"] == {"size": 8 << 20}
    assert found["log"] == {"sample": 0.01, "redact": ("ssn",), "keep": 43_200.0}
    assert scoring(read(tmp_path, "[monitor]\nsize = 0\n"))["monitor"] == {"size": 0}
