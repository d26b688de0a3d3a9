"""A first `rhythmicml.toml`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from app import frozen


class Stage(Protocol):
    """What is written of a stage: it asks an instance, or combines those after which it comes."""

    @property
    def name(self) -> str: ...
    @property
    def instance(self) -> str: ...
    @property
    def after(self) -> tuple[str, ...]: ...
    @property
    def combine(self) -> str: ...


def starter(name: str, *, python: str = "", artifacts: str = "", input: str = "json") -> str:
    """A first `rhythmicml.toml`: what one usually sets, and the rest as comments."""
    python = python or frozen.python_version()
    place = f"artifacts = {json.dumps(artifacts, ensure_ascii=False)}"
    place = place if artifacts else '# artifacts = "artifacts"'
    kind = f'input = "{input}"'
    return f'''\
# What RhythmicML should know about this model. Every key: docs/configuration.md

[model]
name = "{name}"
description = ""
# metadata = {{ dataset = "2026-10", auc = 0.91 }}   # any key and value

[predict]
script = "predict.py"                 # load(artifacts) once, predict(model, inputs) per batch
{place:<36}  # what load is given
{kind:<36}  # dataframe, ndarray, json or bytes
# batch = {{ max_rows = 256 }}          # or false
sample = "sample.json"                # golden input: warms up, proves, and gates every switch
# timeout = 30                        # seconds for one prediction

[dependencies]
requirements = "requirements.txt"
python = "{python}"

[deploy]
# location = "prod"                   # else where it is already, or the default location
# port = 8101
# workers = 1
# memory = "2G"
# env = {{ TOKENIZERS_PARALLELISM = "false" }}
exclude = ["notebooks/", "*.ipynb"]   # versioned, not shipped

# [gate]                              # what a release must show before it takes traffic
# max_changed = 0.05                  # share of rows of samples/ that may differ from production's
# max_latency_ratio = 1.5             # and how much slower than production it may be

# [log]                               # requests to keep whole, beside what is always recorded
# sample = 0.01                       # one in a hundred
# redact = ["ssn"]                    # columns of which no value is kept

# [schema.inputs]                     # what a request must look like, beyond what the sample says
# age = {{ type = "int64", min = 0, max = 120 }}
'''


def pipeline_starter(name: str, stages: Sequence[Stage]) -> str:
    """A first `rhythmicml.toml` of a pipeline."""
    head = f'''\
# What RhythmicML should know about this pipeline. Every key: docs/configuration.md

[model]
name = "{name}"
description = ""

[predict]
sample = "sample.json"                # a request: warms up, proves, and gates every switch
# timeout = 30                        # seconds that all stages share

# [pipeline]
# output = "{stages[-1].name}"  # whose output is the answer; else the last one's

# One for each stage: docs/pipelines.md. Try them all here: rhythmicml pipeline test FOLDER
'''
    return head + "".join(map(_stage, stages))


def _stage(stage: Stage) -> str:
    after = ", ".join(f'"{each}"' for each in stage.after)
    lines = ["", "[[stage]]", f'name = "{stage.name}"']
    if stage.combine:
        return "\n".join([*lines, f'combine = "{stage.combine}"', f"after = [{after}]", ""])
    lines += [f'instance = "{stage.instance}"', f"after = [{after}]"]
    more = {
        "version = 3": "pinned; else it follows production",
        f'columns = ["{stage.after[0]}.*"]': "which columns it is given; else all",
        "timeout = 2.0": "seconds, of this stage alone",
    }
    lines += [f"# {key:<34}  # {words}" for key, words in more.items()]
    return "\n".join([*lines, ""])
