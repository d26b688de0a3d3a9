"""The repositories: each takes and gives values of app.models, and keeps its SQL to itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from app.errors import NotFound, Problem
from app.models import Configuration, Deployment, Event, Instance, Job, Location, Model, Version
from app.store.database import Database, Row


def now() -> str:
    """This moment in UTC, to the millisecond."""
    moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


class Models:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Model]:
        return [Model(**row) for row in self._database.query("SELECT * FROM models ORDER BY name")]

    def overview(self) -> list[Row]:
        """By name: each model with what its last version says of it, in one question.

        {"name", "folder", "created", "version", "committed", "message", "versions", "description",
        "tags"}; tags are the metadata's `tags`, if that is a list of texts.
        """
        rows = self._database.query(
            "SELECT name, folder, models.created, number AS version, versions.created AS committed,"
            " message, (SELECT count(*) FROM versions WHERE model_id = models.id) AS versions,"
            " coalesce(json_extract(configuration, '$.description'), '') AS description,"
            " coalesce(json_extract(configuration, '$.metadata.tags'), '[]') AS tags"
            " FROM models LEFT JOIN versions ON versions.model_id = models.id AND number ="
            " (SELECT max(number) FROM versions WHERE model_id = models.id) ORDER BY name"
        )
        return [
            {**row, "tags": _tags(row["tags"]), "description": _first_line(row["description"])}
            for row in rows
        ]

    def secrets(self) -> dict[str, list[str]]:
        """Model → the secrets that its last version names; without those that name none."""
        rows = self._database.tuples(
            "SELECT name, json_extract(configuration, '$.secrets')"
            " FROM models JOIN versions ON versions.model_id = models.id AND number ="
            " (SELECT max(number) FROM versions WHERE model_id = models.id)"
            " WHERE json_array_length(configuration, '$.secrets') > 0 ORDER BY name"
        )
        return {name: json.loads(named) for name, named in rows}

    def find(self, name: str) -> Model | None:
        row = self._database.one("SELECT * FROM models WHERE name = ?", [name])
        return Model(**row) if row else None

    def get(self, name: str) -> Model:
        if model := self.find(name):
            return model
        raise NotFound(f'No model "{name}" is known.', remedy="List them: rhythmicml list")

    def in_folder(self, folder: str) -> Model | None:
        row = self._database.one("SELECT * FROM models WHERE folder = ?", [folder])
        return Model(**row) if row else None

    def add(self, name: str, folder: str) -> Model:
        with self._database.write():
            self.must_be_free(name)
            row = {"name": name, "folder": folder, "created": now()}
            self._database.insert("models", row)
        return self.get(name)

    def rename(self, name: str, new: str) -> Model:
        """The model under its new name; its history and instances follow."""
        with self._database.write():
            model = self.get(name)
            if new != name:
                self.must_be_free(new)
            self._database.execute("UPDATE models SET name = ? WHERE id = ?", [new, model.id])
            self._database.execute("UPDATE deployments SET model = ? WHERE model = ?", [new, name])
            self._database.execute("UPDATE instances SET model = ? WHERE model = ?", [new, name])
            self._database.execute("UPDATE notes SET model = ? WHERE model = ?", [new, name])
        return self.get(new)

    def move(self, name: str, folder: str) -> Model:
        """The model with its folder at another place."""
        with self._database.write():
            model = self.get(name)
            self._database.execute("UPDATE models SET folder = ? WHERE id = ?", [folder, model.id])
        return self.get(name)

    def remove(self, name: str) -> None:
        """Forget the model and its versions. The history of its deployments stays."""
        with self._database.write():
            model = self.get(name)
            self._database.execute("DELETE FROM models WHERE id = ?", [model.id])

    def must_be_free(self, name: str) -> None:
        """Raise Problem when a model has the name."""
        if self.find(name):
            raise Problem(f'A model "{name}" is there already.', remedy="Choose another name.")


def _first_line(said: Any) -> str:
    """Of a text in Markdown, without the marks of a heading."""
    lines = str(said).strip().splitlines()
    return lines[0].lstrip("# ") if lines else ""


def _tags(said: Any) -> list[str]:
    try:
        tags = json.loads(said)
    except (TypeError, ValueError):
        return []
    return [each for each in tags if isinstance(each, str)] if isinstance(tags, list) else []


class Versions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, model: Model) -> list[Version]:
        """Newest first."""
        rows = self._database.query(
            "SELECT * FROM versions WHERE model_id = ? ORDER BY number DESC", [model.id]
        )
        return [_version(row) for row in rows]

    def latest(self, model: Model) -> Version | None:
        row = self._database.one(
            "SELECT * FROM versions WHERE model_id = ? ORDER BY number DESC LIMIT 1", [model.id]
        )
        return _version(row) if row else None

    def newest(self, names: Iterable[str]) -> dict[str, int]:
        """Of these models, each → the number of its newest version; those that have one."""
        rows = self._database.tuples(
            "SELECT name, (SELECT max(number) FROM versions WHERE model_id = models.id) AS newest"
            " FROM json_each(?) AS wanted JOIN models ON models.name = wanted.value"
            " WHERE newest IS NOT NULL",
            [json.dumps(sorted(set(names)))],
        )
        return dict(rows)

    def find(self, model: Model, number: int) -> Version | None:
        row = self._database.one(
            "SELECT * FROM versions WHERE model_id = ? AND number = ?", [model.id, number]
        )
        return _version(row) if row else None

    def some(self, wanted: Iterable[tuple[str, int | None]]) -> dict[tuple[str, int], Version]:
        """Many at once: those of them that there are, by their model's name and their number."""
        rows = self._database.query(
            "SELECT models.name AS model, versions.* FROM json_each(?) AS wanted"
            " JOIN models ON models.name = json_extract(wanted.value, '$[0]')"
            " JOIN versions ON model_id = models.id"
            " AND number = json_extract(wanted.value, '$[1]')",
            [json.dumps(sorted(set(wanted), key=repr))],
        )
        return {(row.pop("model"), row["number"]): _version(row) for row in rows}

    def adopted(self) -> list[tuple[str, Version]]:
        """Those that were taken over from a server, each with its model's name."""
        rows = self._database.query(
            "SELECT models.name AS model, versions.* FROM versions"
            " JOIN models ON models.id = model_id WHERE adopted"
        )
        return [(row.pop("model"), _version(row)) for row in rows]

    def get(self, model: Model, number: int) -> Version:
        found = self.find(model, number)
        if found is None:
            raise NotFound(
                f'The model "{model.name}" has no version {number}.',
                remedy=f"List them: rhythmicml versions {model.name}",
            )
        return found

    def add(
        self,
        model: Model,
        *,
        digest: str,
        manifest: str,
        lock: str,
        configuration: Configuration,
        size: int,
        files: int,
        message: str = "",
        author: str = "",
        schema: dict[str, Any] | None = None,
    ) -> Version:
        """The new version, with the number after the last one. Its blobs must be durable."""
        with self._database.write():
            latest = self.latest(model)
            number = latest.number + 1 if latest else 1
            row = {
                "model_id": model.id,
                "number": number,
                "digest": digest,
                "message": message,
                "author": author,
                "created": now(),
                "manifest": manifest,
                "lock": lock,
                "configuration": json.dumps(configuration.as_dict()),
                "size": size,
                "files": files,
                "schema": json.dumps(schema) if schema else None,
            }
            self._database.insert("versions", row)
        return self.get(model, number)

    def adopt(self, model: Model, version: Version) -> Version:
        """A version as it was made elsewhere, with its number and date. Its blobs must be durable,
        but for those of files that are not shipped."""
        row = asdict(version) | {
            "model_id": model.id,
            "configuration": json.dumps(version.configuration.as_dict()),
            "schema": json.dumps(version.schema) if version.schema else None,
            "adopted": 1,
        }
        del row["id"]
        self._database.insert("versions", row)
        return self.get(model, version.number)

    def remove(self, model: Model, number: int) -> None:
        self._database.execute(
            "DELETE FROM versions WHERE model_id = ? AND number = ?", [model.id, number]
        )

    def learn(self, model: Model, number: int, schema: dict[str, Any]) -> None:
        """Keep what a deployment showed of a version, when its outputs were not known before."""
        with self._database.write():
            known = next((each for each in self.all(model) if each.number == number), None)
            unknown = known and not (known.schema and known.schema["outputs"])
            if unknown and schema["outputs"]:
                self._database.execute(
                    "UPDATE versions SET schema = ? WHERE model_id = ? AND number = ?",
                    [json.dumps(schema), model.id, number],
                )

    def weighed(self, model: Model, number: int, memory: int) -> None:
        """Keep the most memory that a version was seen to take [bytes]."""
        with self._database.write():
            self._database.execute(
                "UPDATE versions SET memory = ? WHERE model_id = ? AND number = ?",
                [memory, model.id, number],
            )

    def blobs(self) -> list[tuple[str, str]]:
        """Manifest and lock of every version of every model."""
        return [
            (manifest, lock)
            for manifest, lock in self._database.tuples(
                "SELECT DISTINCT manifest, lock FROM versions"
            )
        ]


def _version(row: Row) -> Version:
    configuration = Configuration.from_dict(json.loads(row["configuration"]))
    schema = json.loads(row["schema"]) if row["schema"] else None
    read = {"configuration": configuration, "schema": schema, "adopted": bool(row["adopted"])}
    return Version(**row | read)


class Locations:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Location]:
        rows = self._database.query("SELECT * FROM locations ORDER BY name != 'local', name")
        return [_location(row) for row in rows]

    def get(self, name: str) -> Location:
        row = self._database.one("SELECT * FROM locations WHERE name = ?", [name])
        if row is None:
            raise NotFound(
                f'No location "{name}" is known.', remedy="List them: rhythmicml location list"
            )
        return _location(row)

    def default(self) -> Location:
        return _location(self._database.query('SELECT * FROM locations WHERE "default"')[0])

    def add(self, location: Location) -> Location:
        """The new location; when it says it is the default, the old default no longer is."""
        with self._database.write():
            if self._database.one("SELECT 1 FROM locations WHERE name = ?", [location.name]):
                raise Problem(
                    f'A location "{location.name}" is there already.',
                    remedy="Choose another name, or remove that one: rhythmicml location remove",
                )
            row = asdict(location) | {"default": 0, "created": location.created or now()}
            self._database.insert("locations", row)
            if location.default:
                self.set_default(location.name)
        return self.get(location.name)

    def update(self, location: Location) -> Location:
        """The location as changed; which one is the default is for `set_default` alone."""
        with self._database.write():
            self._database.execute(
                "UPDATE locations SET kind = ?, url = ?, identity = ?, privilege = ?, base = ?,"
                " internet = ? WHERE name = ?",
                [
                    location.kind,
                    location.url,
                    location.identity,
                    location.privilege,
                    location.base,
                    location.internet,
                    self.get(location.name).name,
                ],
            )
        return self.get(location.name)

    def set_default(self, name: str) -> Location:
        with self._database.write():
            self.get(name)
            self._database.execute('UPDATE locations SET "default" = 0 WHERE "default"')
            self._database.execute('UPDATE locations SET "default" = 1 WHERE name = ?', [name])
        return self.get(name)

    def remove(self, name: str) -> None:
        """Forget a location and the instances there. `local` becomes the default if it was that."""
        if name == "local":
            raise Problem('The location "local" is this machine and always there.')
        with self._database.write():
            if self.get(name).default:
                self.set_default("local")
            self._database.execute("DELETE FROM instances WHERE location = ?", [name])
            self._database.execute("DELETE FROM locations WHERE name = ?", [name])


def _location(row: Row) -> Location:
    return Location(**row | {"default": bool(row["default"])})


class Deployments:
    """The history. Names, not references: it outlives what it tells of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(
        self,
        model: str,
        location: str,
        action: str,
        *,
        version: int | None = None,
        release: str = "",
        previous: str = "",
        who: str = "",
        attempt: str = "",
        steps: Sequence[tuple[str, str]] = (),
    ) -> int:
        """The number to `finish` it by. steps: (op, words) of what is going to be done."""
        journal = [{"do": do, "words": words, "began": "", "ended": ""} for do, words in steps]
        row = {
            "model": model,
            "location": location,
            "action": action,
            "version": version,
            "release": release,
            "previous": previous,
            "who": who,
            "started": now(),
            "ended": "",
            "result": "",
            "detail": "",
            "attempt": attempt,
            "steps": json.dumps(journal),
        }
        return self._database.insert("deployments", row)

    def note(self, number: int, step: int, what: str) -> None:
        """Write into the journal that step `step` "began" or "ended" now."""
        self._database.execute(
            "UPDATE deployments SET steps = json_set(steps, ?, ?) WHERE id = ?",
            [f"$[{step:d}].{what}", now(), number],
        )

    def adopt(self, deployment: Deployment) -> None:
        """A line as a host's own history tells it."""
        row = asdict(deployment)
        del row["id"]
        self._database.insert("deployments", row)

    def finish(self, number: int, result: str, detail: str = "") -> Deployment:
        with self._database.write():
            self._database.execute(
                "UPDATE deployments SET ended = ?, result = ?, detail = ? WHERE id = ?",
                [now(), result, detail, number],
            )
        return self.get(number)

    def get(self, number: int) -> Deployment:
        return _deployment(
            self._database.query("SELECT * FROM deployments WHERE id = ?", [number])[0]
        )

    def open(self, model: str | None = None, location: str | None = None) -> list[Deployment]:
        """Those of which nobody here knows how they ended, oldest first."""
        rows = self._database.query(
            "SELECT * FROM deployments WHERE result IN ('', 'unknown')"
            " AND model = coalesce(?, model) AND location = coalesce(?, location) ORDER BY id",
            [model, location],
        )
        return [_deployment(row) for row in rows]

    def for_model(
        self, model: str | None, location: str | None = None, limit: int = 50
    ) -> list[Deployment]:
        """Newest first; of all models where none is named."""
        rows = self._database.query(
            "SELECT * FROM deployments WHERE model = coalesce(?, model)"
            " AND location = coalesce(?, location) ORDER BY id DESC LIMIT ?",
            [model, location, limit],
        )
        return [_deployment(row) for row in rows]

    def lasts(
        self, actions: Sequence[str], model: str | None = None, location: str | None = None
    ) -> list[Deployment]:
        """The last one of these actions, of each model on each location."""
        rows = self._database.query(
            "SELECT * FROM deployments WHERE id IN (SELECT max(id) FROM deployments"
            " WHERE action IN (SELECT value FROM json_each(?)) GROUP BY model, location)"
            " AND model = coalesce(?, model) AND location = coalesce(?, location) ORDER BY id",
            [json.dumps(actions), model, location],
        )
        return [_deployment(row) for row in rows]

    def last(self, model: str, location: str | None = None) -> Deployment | None:
        return next(iter(self.for_model(model, location, limit=1)), None)


def _deployment(row: Row) -> Deployment:
    return Deployment(**row | {"steps": tuple(json.loads(row["steps"]))})


class Instances:
    """What was last known of them, one per model and location."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, model: str | None = None, location: str | None = None) -> list[Instance]:
        rows = self._database.query(
            "SELECT * FROM instances WHERE model = coalesce(?, model)"
            " AND location = coalesce(?, location) ORDER BY model, location",
            [model, location],
        )
        return [Instance(**row) for row in rows]

    def get(self, model: str, location: str) -> Instance | None:
        return next(iter(self.all(model, location)), None)

    def upsert(self, instance: Instance) -> Instance:
        row = asdict(instance) | {"seen": instance.seen or now()}
        self._database.upsert("instances", row, ("model", "location"))
        return Instance(**row)

    def remove(self, model: str, location: str) -> None:
        with self._database.write():
            self._database.execute(
                "DELETE FROM instances WHERE model = ? AND location = ?", [model, location]
            )


class Jobs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, kind: str, subject: str = "", request: dict[str, Any] | None = None) -> Job:
        """A job that this process runs from now on."""
        row = {
            "kind": kind,
            "subject": subject,
            "state": "running",
            "started": now(),
            "ended": "",
            "cancelling": 0,
            "outcome": "{}",
            "request": json.dumps(request or {}),
            "pid": os.getpid(),
            "pid_since": _born(os.getpid()),
        }
        return self.get(self._database.insert("jobs", row))

    def get(self, number: int) -> Job:
        row = self._database.one("SELECT * FROM jobs WHERE id = ?", [number])
        if row is None:
            raise NotFound(f"No job {number} is known.")
        return _job(row)

    def all(self, limit: int = 50) -> list[Job]:
        """Newest first."""
        rows = self._database.query("SELECT * FROM jobs ORDER BY id DESC LIMIT ?", [limit])
        return [_job(row) for row in rows]

    def unfinished(self) -> list[Job]:
        rows = self._database.query("SELECT * FROM jobs WHERE state = 'running' ORDER BY id")
        return [_job(row) for row in rows]

    def heard(self, number: int, event: Event) -> int:
        """Keep an event of a job. Returns its number within the job, from 1."""
        with self._database.write():
            n = self._last_event(number) + 1
            self._database.execute(
                "INSERT INTO events VALUES (?, ?, ?)", [number, n, json.dumps(asdict(event))]
            )
        return n

    def events(self, number: int, after: int = 0) -> list[tuple[int, Event]]:
        """What happened after event number `after`, each with its own number."""
        rows = self._database.tuples(
            "SELECT n, event FROM events WHERE job_id = ? AND n > ? ORDER BY n", [number, after]
        )
        return [(n, Event(**json.loads(event))) for n, event in rows]

    def cancel(self, number: int) -> None:
        """Ask the job to stop at the next event."""
        with self._database.write():
            self._database.execute("UPDATE jobs SET cancelling = 1 WHERE id = ?", [number])

    def finish(self, number: int, state: str, outcome: dict[str, Any] | None = None) -> Job:
        with self._database.write():
            self._database.execute(
                "UPDATE jobs SET state = ?, ended = ?, outcome = ? WHERE id = ?",
                [state, now(), json.dumps(outcome or {}), number],
            )
        return self.get(number)

    def mark_interrupted(self) -> list[Job]:
        """Tell the truth about jobs that still say running though their process is gone."""
        with self._database.write():
            rows = self._database.tuples(
                "SELECT id, pid, pid_since FROM jobs WHERE state = 'running'"
            )
            gone = [number for number, pid, since in rows if _born(pid) != since]
            return [self.finish(number, "interrupted") for number in gone]

    def _last_event(self, number: int) -> int:
        rows = self._database.tuples("SELECT max(n) FROM events WHERE job_id = ?", [number])
        return rows[0][0] or 0


def _job(row: Row) -> Job:
    known = {name: row[name] for name in Job.__dataclass_fields__}
    read = {name: json.loads(row[name]) for name in ("outcome", "request")}
    return Job(**known | read | {"cancelling": bool(row["cancelling"])})


def _born(pid: int) -> float:
    """When the process with this number began; 0 when there is none."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


class Settings:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str, default: Any = None) -> Any:
        row = self._database.one("SELECT value FROM settings WHERE name = ?", [name])
        return json.loads(row["value"]) if row else default

    def set(self, name: str, value: Any) -> None:
        row = {"name": name, "value": json.dumps(value)}
        self._database.upsert("settings", row, "name")

    def all(self) -> dict[str, Any]:
        rows = self._database.tuples("SELECT name, value FROM settings ORDER BY name")
        return {name: json.loads(value) for name, value in rows}
