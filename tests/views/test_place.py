"""Where the window opens: as it was left, as long as that can be seen."""

import pytest

from app.desktop.place import SMALLEST, Place, keep, read

SCREEN = (0, 0, 1280, 800)


def test_kept_place_is_read_again(tmp_path):
    place = Place(40, 60, 1000, 700, maximized=True, zoom=1.21)
    keep(tmp_path / "window" / "place.json", place)
    assert read(tmp_path / "window" / "place.json") == place


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"x": "a"}', '{"width": 1e99}', '{"y": 1}x', '{"zoom": "big"}',
                '{"depth": 3}', '{"x": 999999999}', "\0"],
)  # fmt: skip
def test_nonsense_is_the_first_place_of_all(tmp_path, content):
    (tmp_path / "place.json").write_text(content)
    assert read(tmp_path / "place.json") == Place()


@pytest.mark.parametrize(
    ("x", "y", "seen"),
    [(0, 0, True), (1100, 600, True), (-800, 10, True), (1200, 10, False), (-950, 10, False),
     (10, -40, False), (10, 790, False), (3000, 100, False)],
)  # fmt: skip
def test_window_off_every_screen_is_placed_anew(x, y, seen):
    placed = Place(x, y, 1000, 700).on([SCREEN])
    assert (placed.x, placed.y) == ((x, y) if seen else (None, None))


def test_window_is_never_too_small_to_use():
    assert Place(0, 0, 10, 10).on([SCREEN]) == Place(0, 0, *SMALLEST)


def test_zoom_has_steps_bounds_and_a_way_back():
    place = Place().zoomed(1).zoomed(1)
    assert place.zoom == 1.21
    assert place.zoomed(0).zoom == 1.0
    assert place.zoomed(100).zoom == 3.0
    assert place.zoomed(-100).zoom == 0.5
