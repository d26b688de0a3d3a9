"""Templates that were compiled once are not again; nothing that is wrong with them is seen."""

import stat

import pytest
from jinja2 import DictLoader, Environment

from app.views import compiled
from app.views.compiled import Compiled


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Renders a text, as a program does that was just started; and the texts it compiled."""
    texts = []
    whole = Environment._generate
    monkeypatch.setattr(
        Environment, "_generate", lambda *args, **more: texts.append(1) or whole(*args, **more)
    )

    def render(text):
        environment = Environment(
            loader=DictLoader({"page.html": text}), bytecode_cache=Compiled(tmp_path)
        )
        return environment.get_template("page.html").render(name="churn")

    return render, texts


def files(home):
    return sorted((home / compiled.FOLDER).iterdir())


def test_second_start_compiles_nothing(made, tmp_path):
    render, texts = made
    assert [render("It is {{ name }}.") for _ in range(3)] == ["It is churn."] * 3
    assert len(texts) == 1
    (kept,) = files(tmp_path)
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700


def test_changed_text_is_compiled_anew_and_takes_the_place_of_the_old(made, tmp_path):
    render, texts = made
    render("It is {{ name }}.")
    assert render("It was {{ name }}.") == "It was churn."
    assert (len(texts), len(files(tmp_path))) == (2, 1)


def test_damage_is_compiled_over(made, tmp_path):
    render, _ = made
    render("It is {{ name }}.")
    (kept,) = files(tmp_path)
    whole = kept.read_bytes()
    torn = [whole[:at] for at in range(0, len(whole), 61)]
    flipped = [
        whole[:at] + bytes([whole[at] ^ 8]) + whole[at + 1 :] for at in range(0, len(whole), 29)
    ]
    for harmed in (b"rubbish", *torn, *flipped):
        kept.write_bytes(harmed)
        assert render("It is {{ name }}.") == "It is churn."
        assert kept.read_bytes() == whole


def test_another_version_compiles_for_itself(made, monkeypatch):
    render, texts = made
    render("It is {{ name }}.")
    monkeypatch.setattr(compiled, "VERSION", "9.9")
    render("It is {{ name }}.")
    assert len(texts) == 2


def test_where_nothing_can_be_kept_pages_come_all_the_same(made, tmp_path):
    render, texts = made
    (tmp_path / compiled.FOLDER).write_text("in the way")
    assert [render("It is {{ name }}.") for _ in range(2)] == ["It is churn."] * 2
    assert len(texts) == 2


def test_pages_use_it(server, work):
    assert server.application.test_client().get("/settings").status_code == 200
    kept = [each.name for each in files(work.home)]
    assert len(kept) > 5
    assert not [name for name in kept if name.startswith(".")]
