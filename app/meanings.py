"""What every key of `rhythmicml.toml` means: the help of the pages.

docs/configuration.md says the same, and a test compares the two.
"""

from __future__ import annotations

from typing import NamedTuple


class Meaning(NamedTuple):
    """kind: in words. default: as it would be written; empty: none. text: Markdown."""

    kind: str
    default: str
    text: str


MEANINGS: dict[str, dict[str, Meaning]] = {
    "model": {
        "name": Meaning(
            "text",
            '""',
            "What the model is called: a-z, 0-9 and -, at most 48. Left out: the folder's "
            "name. Read by `add`.",
        ),
        "description": Meaning(
            "text",
            '""',
            "What it is for, in Markdown; lists of models show its first line.",
        ),
        "metadata": Meaning(
            "table",
            "{}",
            "Any key and value worth keeping with a version, such as `{ dataset = "
            '"2026-10", auc = 0.91 }`.',
        ),
    },
    "predict": {
        "script": Meaning(
            "path",
            '"predict.py"',
            "The prediction script: `load(artifacts)` once, `predict(model, inputs)` per "
            "batch, or a class with these.",
        ),
        "artifacts": Meaning(
            "path",
            '"artifacts"',
            "What `load` is given.",
        ),
        "input": Meaning(
            "text",
            "",
            "What `predict` is given: `dataframe`, `ndarray`, `json` or `bytes`. Left out: "
            "its annotation says.",
        ),
        "batch": Meaning(
            "table or false",
            "{ max_rows = 256, wait = 0 }",
            "How requests are joined before `predict` sees them: up to how many rows, and "
            "how many seconds (at most 1) to wait for more; `false` for one at a time.",
        ),
        "sample": Meaning(
            "path",
            "",
            "The golden input: warms up, proves, and gates every switch. Left out: "
            "`sample.json`, if there is one.",
        ),
        "timeout": Meaning(
            "seconds",
            "30",
            "How long a request may take, from its arrival to its answer, and a worker for "
            "one prediction.",
        ),
        "job_timeout": Meaning(
            "seconds",
            "3600",
            "The same, for a request that is answered as a job (`Prefer: respond-async`): "
            "[serving/jobs.md](serving/jobs.md).",
        ),
    },
    "dependencies": {
        "requirements": Meaning(
            "path",
            '"requirements.txt"',
            "What the model needs, as pip writes it. May include other files of the folder "
            "with `-r` and `-c`.",
        ),
        "python": Meaning(
            "text",
            "",
            'Which Python runs it, such as `"3.11"`; 3.9 or later. Left out: the one '
            "RhythmicML runs on. A host that has none of that version gets one: uv fetches "
            "it there, else one is sent from here.",
        ),
        "allow_yanked": Meaning(
            "true or false",
            "false",
            "Whether a release that its author took back may be locked.",
        ),
    },
    "deploy": {
        "location": Meaning(
            "text or list",
            "",
            "Where `deploy` puts it: a location, a group, or a list of them such as "
            '`["ams", "ber"]`. Left out: where it is deployed already, else the default location.',
        ),
        "port": Meaning(
            "number",
            "",
            "The port it answers on, 1 to 65535. Left out: one that is free.",
        ),
        "workers": Meaning(
            "number",
            "1",
            "How many processes predict, 1 to 256.",
        ),
        "memory": Meaning(
            "size",
            "",
            'The most memory the instance may take, such as `"2G"`; held to by systemd, not '
            "on `local`. Left out: no limit.",
        ),
        "start_timeout": Meaning(
            "seconds",
            "300",
            "How long a release may take to load and to predict its sample.",
        ),
        "keep_warm": Meaning(
            "time",
            "",
            "For how long the release before stays up, idle, after a switch, such as "
            '`"10m"` or `"90s"`, at most `"1d"`: until then `rollback` is instant. Costs '
            "its memory, which the plan shows. Left out: it ends at once.",
        ),
        "preload": Meaning(
            "true or false",
            "false",
            "Whether the model is loaded once and the workers are forked from it, sharing "
            "its memory.",
        ),
        "recycle_requests": Meaning(
            "number",
            "",
            "After how many requests a worker is replaced. Left out: never.",
        ),
        "recycle_memory": Meaning(
            "size",
            "",
            'Above what resident memory a worker is replaced, such as `"2G"`. Left out: never.',
        ),
        "queue": Meaning(
            "number",
            "256",
            "How many requests may wait for a worker; more are refused with 503.",
        ),
        "max_body": Meaning(
            "size",
            '"100M"',
            "The largest request, as text or as a number of bytes.",
        ),
        "max_request_rows": Meaning(
            "number",
            "10000",
            "The most rows in one request.",
        ),
        "max_connections": Meaning(
            "number",
            "1000",
            "The most connections at once.",
        ),
        "expose": Meaning(
            "text",
            '"loopback"',
            'Who reaches the port: only the host itself, and tunnels to it; or `"public"`, '
            "everyone, which needs a token (`rhythmicml token add`) and is always TLS. It "
            "goes with the version, so a rollback closes the port again. Firewalls are not "
            "touched.",
        ),
        "certificate": Meaning(
            "path",
            "",
            "The TLS certificate (PEM, with its chain) for `public`: a file of this "
            "machine, read at each deploy. Left out: a self-signed one for the host's name "
            "and addresses, renewed by a deploy in its last 30 days; `status` shows its "
            "fingerprint.",
        ),
        "certificate_key": Meaning(
            "path",
            "",
            "Its private key, without a passphrase: a file of this machine, never "
            "versioned; kept on the host alone, for the service to read.",
        ),
        "cors": Meaning(
            "list",
            "[]",
            'Origins whose pages may call it from a browser, such as `["https://app.example"]`.',
        ),
        "access_log": Meaning(
            "text",
            '"errors"',
            "Which requests leave a line of JSON in the log: `all`, `errors` or `none`.",
        ),
        "env": Meaning(
            "table",
            "{}",
            "Environment variables of the instance, such as `{ TOKENIZERS_PARALLELISM = "
            '"false" }`.',
        ),
        "exclude": Meaning(
            "list",
            "[]",
            "Patterns, by the rules of .gitignore, of files that are versioned but not "
            'shipped, such as `["notebooks/"]`.',
        ),
        "keep": Meaning(
            "whole number",
            "",
            "How many releases that were production stay on the host, besides the current "
            "one, the one before it, those that run and those that are pinned. Older ones "
            "are removed before a deploy sends anything, and after it. Left out: the default, "
            "which `rhythmicml keep` and Settings change for all models at once; nothing goes "
            "before the next deploy or switch, whose plan says it.",
        ),
        "secrets": Meaning(
            "list",
            "[]",
            'Names of what the model is told in confidence, such as `["DB_PASSWORD"]`; it '
            "finds them in `os.environ`. The values: `rhythmicml secret set`, and "
            "docs/serving/secrets.md.",
        ),
    },
    "gate": {
        "tolerance": Meaning(
            "number or table",
            "{ relative = 1e-6, absolute = 1e-9 }",
            "How far two numbers may lie apart and still be the same; a number alone is the "
            "relative one.",
        ),
        "must_match": Meaning(
            "true or false",
            "true",
            "Whether answers that were recorded must still be given.",
        ),
        "max_changed": Meaning(
            "share",
            "",
            "The share of rows, from 0 to 1, that may differ from what production answers. "
            "Left out: any.",
        ),
        "max_latency": Meaning(
            "time",
            "",
            'The longest p99 of an answer, such as `"200ms"`.',
        ),
        "max_latency_ratio": Meaning(
            "number",
            "",
            "How many times the median of production an answer may take, such as `1.5`.",
        ),
        "max_memory_ratio": Meaning(
            "number",
            "",
            "How many times the peak memory of production it may take.",
        ),
        "time": Meaning(
            "time",
            '"60s"',
            "How long all golden inputs together may take.",
        ),
        "watch": Meaning(
            "time",
            '"1s"',
            "How long it is watched once it is production; if it fails in that time, the "
            "release before comes back. `0`: not at all.",
        ),
    },
    "monitor": {
        "size": Meaning(
            "size",
            '"64M"',
            "How large the file may become in which the instance records what it does; the "
            "oldest goes first. `0`: nothing is recorded.",
        ),
    },
    "log": {
        "sample": Meaning(
            "share",
            "0",
            "The share of requests, from 0 to 1, that are kept whole with their answers, at "
            "most 20 a second, so that they can be looked at and repeated.",
        ),
        "redact": Meaning(
            "list",
            "[]",
            'Columns of which no value is kept, in requests or in summaries, such as `["ssn"]`. '
            'A column without a name is known by its number, from `"0"`.',
        ),
        "keep": Meaning(
            "time",
            '"7d"',
            'How long such requests stay, at most `"366d"`.',
        ),
    },
    "schema": {
        "inputs": Meaning(
            "table",
            "{}",
            "Column → `type` (`bool`, `int8` … `uint64`, `float16` … `float64`, `string`, "
            "`category`, `datetime`, `bytes`, `json`), `shape`, `nullable`, `values`, "
            "`min`, `max`.",
        ),
        "outputs": Meaning(
            "table",
            "{}",
            "The same, of what `predict` returns.",
        ),
    },
    "pipeline": {
        "output": Meaning(
            "text",
            "",
            "The stage whose output is the answer. Left out: the last one.",
        ),
        "parallel": Meaning(
            "number",
            "3",
            "How many batches may be on their way through the stages at once, 1 to 64.",
        ),
        "max_hops": Meaning(
            "number",
            "4",
            "How deep pipelines of pipelines may go, 1 to 16; a request that is passed on more "
            "often is refused with 508.",
        ),
    },
    "stage": {
        "name": Meaning(
            "text",
            "",
            "What it is called in references and in answers: a-z, 0-9 and _, at most 32. "
            "`input` is the request.",
        ),
        "instance": Meaning(
            "text",
            "",
            "The model whose instance is asked; it may be a pipeline itself. Either this or "
            "`combine`.",
        ),
        "version": Meaning(
            "number",
            '"production"',
            "The version that has to answer, which pins it. Left out: whichever is production.",
        ),
        "location": Meaning(
            "text",
            "",
            "Where that instance is, if it is not where the pipeline is; it has to be public "
            "there, or `tunnel` true.",
        ),
        "tunnel": Meaning(
            "true or false",
            "false",
            "Whether the pipeline's host keeps an SSH tunnel to that location, through which the "
            "instance is asked; then it need not be public.",
        ),
        "combine": Meaning(
            "text",
            "",
            "How the outputs of `after` become one: `mean`, `weighted`, `vote`, `concat`, `first` "
            "or `script`, which is `predict` of this folder.",
        ),
        "weights": Meaning(
            "list",
            "",
            'For `combine = "weighted"`: a number for each of `after`, such as `[0.7, 0.3]`.',
        ),
        "after": Meaning(
            "list",
            "",
            'The stages whose output it is given, such as `["input", "features"]`. Left out: those '
            "that its `columns` and `when` speak of, else the stage before it; the first: "
            '`["input"]`.',
        ),
        "columns": Meaning(
            "list or table",
            "",
            'Which columns it is given: `["input.*", "features.total"]`, or with new names '
            '`{ total = "features.sum" }`. Left out: all that `after` gives.',
        ),
        "constants": Meaning(
            "table",
            "{}",
            'Columns that have one value, such as `{ currency = "EUR" }`.',
        ),
        "when": Meaning(
            "text",
            "",
            'Only the rows for which this is true go there, such as `"triage.score >= 0.5"`.',
        ),
        "timeout": Meaning(
            "seconds",
            "",
            "How long this stage alone may take. Left out: what is left of the pipeline's "
            "`timeout`.",
        ),
        "idempotent": Meaning(
            "true or false",
            "false",
            "Whether it is asked once more when the connection broke, or it answered 502, 503 or "
            "504.",
        ),
        "optional": Meaning(
            "true or false",
            "false",
            "Whether the rest goes on without it when it fails.",
        ),
    },
}
