"""Against the real uv, with a package index of our own on the loopback address."""

import base64
import hashlib
import http.server
import threading
import zipfile
from functools import partial
from pathlib import Path

import pytest

from app import dependencies
from app.dependencies import find_uv, lock, packages
from app.errors import Problem
from app.models import Configuration

LINUX = Configuration(python="3.11")


def wheel(folder: Path, name: str, version: str, tag: str = "py3-none-any") -> Path:
    """The smallest wheel there is."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content)
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Index(http.server.SimpleHTTPRequestHandler):
    """The files of a folder, for those who know the password when there is one."""

    password = ""

    def do_GET(self):
        expected = "Basic " + base64.b64encode(f"ana:{self.password}".encode()).decode()
        if self.password and self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
        else:
            super().do_GET()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def index(tmp_path):
    """A package index: publish(name, version, yanked=…), and `url`."""

    class Published:
        root = tmp_path / "index"
        url = ""
        handler = type("Handler", (Index,), {})

        def publish(self, name, version, yanked=None, tag="py3-none-any"):
            made = wheel(self.root / name, name, version, tag)
            mark = "" if yanked is None else f' data-yanked="{yanked}"'
            link = f'<a href="{made.name}#sha256={sha256(made)}"{mark}>{made.name}</a>\n'
            with (self.root / name / "index.html").open("a") as page:
                page.write(link)
            return made

    published = Published()
    published.root.mkdir()
    handler = partial(published.handler, directory=str(published.root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        published.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield published
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No settings and no cache of this machine's own uv."""
    for name in ("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    return made


def require(folder: Path, text: str, name: str = "requirements.txt") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def problem(folder: Path, configuration: Configuration = LINUX) -> Problem:
    with pytest.raises(Problem) as raised:
        lock(folder, configuration)
    assert raised.value.remedy
    return raised.value


def test_uv_is_found():
    assert find_uv().is_file()


def test_a_lock_has_exact_versions_and_hashes_and_nothing_of_this_machine(folder, index):
    index.publish("alpha", "1.0")
    made = index.publish("alpha", "1.1")
    require(folder, f"--index-url {index.url}\nalpha>=1  # the first\n")
    expected = f"--index-url {index.url}\nalpha==1.1 \\\n    --hash=sha256:{sha256(made)}\n"
    assert lock(folder, LINUX).decode() == expected
    assert lock(folder, LINUX).decode() == expected


def test_no_requirements_make_an_empty_lock(folder):
    require(folder, "# nothing\n\n")
    assert lock(folder, LINUX) == b""


def test_missing_requirements_are_a_problem(folder):
    found = problem(folder)
    assert '"requirements.txt" is not in' in found.what


def test_what_cannot_be_resolved_fails_with_the_resolvers_own_words(folder, index):
    index.publish("alpha", "1.0")
    require(folder, f"--index-url {index.url}\nalpha==99\n")
    found = problem(folder)
    assert found.what == '"requirements.txt" cannot be resolved for Python 3.11 on Linux.'
    assert "there is no version of alpha==99" in found.detail


def test_what_cannot_be_read_fails_with_the_parsers_own_words(folder):
    require(folder, "alpha >== 1\n")
    found = problem(folder)
    assert "cannot be understood" in found.what
    assert ">==" in found.detail


def test_a_package_that_is_not_made_for_linux_is_a_problem(folder, index):
    index.publish("alpha", "1.0", tag="cp311-cp311-win_amd64")
    require(folder, f"--index-url {index.url}\nalpha==1.0\n")
    found = problem(folder)
    assert "not made for Linux" in found.what
    assert "alpha==1.0" in found.detail


def test_a_yanked_version_is_refused_unless_allowed(folder, index):
    index.publish("alpha", "1.0", yanked="does not import")
    require(folder, f"--index-url {index.url}\nalpha==1.0\n")
    found = problem(folder)
    assert "asks for alpha==1.0, which its author took back" in found.what
    assert "does not import" in found.detail
    allowed = Configuration(python="3.11", allow_yanked=True)
    assert packages(lock(folder, allowed)) == {"alpha": "1.0"}


def test_an_index_out_of_reach_is_said_so(folder):
    require(folder, "--index-url http://127.0.0.1:9/simple\nalpha\n")
    found = problem(folder)
    assert "index could not be asked" in found.what
    assert "127.0.0.1:9" in found.detail


def test_a_private_index_is_used_kept_and_its_password_not_told(
    folder, index, monkeypatch, tmp_path
):
    index.handler.password = "s3cret"
    index.publish("alpha", "1.0")
    private = index.url.replace("//", "//ana:s3cret@")
    require(folder, f"--index-url {private}\nalpha\n")
    assert lock(folder, LINUX).decode().startswith(f"--index-url {private}\n")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty-cache"))
    wrong = private.replace("s3cret", "wr0ng")
    require(folder, f"--index-url {wrong}\nalpha\n")
    found = problem(folder)
    assert "wr0ng" not in str(found.as_dict())


def test_a_secret_from_the_environment_stays_a_reference(folder, index, monkeypatch):
    index.handler.password = "s3cret"
    index.publish("alpha", "1.0")
    monkeypatch.setenv("TOKEN", "s3cret")
    line = "--extra-index-url " + index.url.replace("//", "//ana:${TOKEN}@")
    require(folder, f"{line}\nalpha\n")
    made = lock(folder, LINUX).decode()
    assert made.startswith(line + "\n")
    assert "s3cret" not in made


def test_packages_of_the_folder_are_found_from_wherever_they_are_named(folder):
    wheel(folder / "req" / "wheels", "alpha", "1.0")
    require(folder, "--no-index\n-f wheels\nalpha\n", "req/prod.txt")
    require(folder, "-r req/prod.txt\n")
    made = lock(folder, LINUX).decode()
    assert made.startswith("--no-index\n--find-links ./req/wheels\nalpha==1.0")


def test_a_constraint_decides_the_version(folder):
    for version in ("1.0", "2.0"):
        wheel(folder / "wheels", "alpha", version)
    require(folder, "--no-index\n--find-links=./wheels\n-c limits.txt\nalpha\n")
    require(folder, "alpha<2\n", "limits.txt")
    assert packages(lock(folder, LINUX)) == {"alpha": "1.0"}


def test_a_lock_that_was_made_can_be_installed_from(folder, tmp_path):
    import subprocess

    wheel(folder / "wheels", "alpha", "1.0")
    require(folder, "--no-index\n--find-links ./wheels\nalpha\n")
    (folder / "lock.txt").write_bytes(lock(folder, LINUX))
    arguments = ["pip", "install", "--target", str(tmp_path / "env"), "--require-hashes"]
    subprocess.run(
        [find_uv(), *arguments, "-r", "lock.txt"], cwd=folder, check=True, capture_output=True
    )
    assert (tmp_path / "env" / "alpha.py").exists()


def test_a_folder_has_no_hash_and_is_refused(folder):
    require(folder, '[project]\nname = "beta"\nversion = "1"\n', "beta/pyproject.toml")
    require(folder, "./beta\n")
    found = problem(folder)
    assert "which has no hash" in found.what


def test_an_include_from_outside_the_folder_is_refused(folder):
    require(folder.parent, "alpha\n", "shared.txt")
    require(folder, "-r ../shared.txt\n")
    assert "outside the model's folder" in problem(folder).what


def test_a_missing_include_names_who_asked_for_it(folder):
    require(folder, "-r more.txt\n")
    assert '"more.txt", which "requirements.txt" includes, is not in' in problem(folder).what


def test_files_that_include_each_other_end(folder):
    require(folder, "-r more.txt\n")
    require(folder, "-r requirements.txt\n", "more.txt")
    assert set(dependencies.read(folder, "requirements.txt").files) == {
        "requirements.txt",
        "more.txt",
    }


def test_requirements_that_are_not_text_are_a_problem(folder):
    (folder / "requirements.txt").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as text" in problem_of_reading(folder).what


def problem_of_reading(folder: Path) -> Problem:
    with pytest.raises(Problem) as raised:
        dependencies.read(folder, "requirements.txt")
    return raised.value


def test_the_key_changes_with_all_that_decides_a_lock(folder):
    wheel(folder / "wheels", "alpha", "1.0")
    require(folder, "-r more.txt\n-f ./wheels\n")
    require(folder, "alpha\n", "more.txt")
    keys = [dependencies.key(folder, LINUX), dependencies.key(folder, Configuration(python="3.12"))]
    require(folder, "alpha<2\n", "more.txt")
    keys.append(dependencies.key(folder, LINUX))
    wheel(folder / "wheels", "alpha", "1.1")
    keys.append(dependencies.key(folder, LINUX))
    assert len(set(keys)) == 4
    assert keys[-1] == dependencies.key(folder, LINUX)


def test_the_packages_of_a_lock_are_read():
    text = "--index-url x\na-b==1.0 \\\n    --hash=sha256:1\nc[x]==2 ; os\nd @ file:///x.whl \\\n"
    assert packages(text.encode()) == {"a-b": "1.0", "c": "2", "d": "file:///x.whl"}
