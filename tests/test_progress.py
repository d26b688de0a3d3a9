"""What the terminal says of an upload while it goes on, and when it is done."""

from app.cli.output import done_words, table
from app.models import Event
from app.progress import Pace, Teller, progress_words

MB = 1_000_000


def at(done: int) -> Event:
    return Event("progress", done=done * MB, total=512 * MB, unit="B")


def test_rate_and_time_left_follow_the_last_seconds():
    pace = Pace()
    said = [
        progress_words(at(n), t, pace.of(at(n), t)) for t, n in ((0, 400), (0.1, 401), (1, 410))
    ]
    assert said == [
        "400 MB of 512 MB",
        "401 MB of 512 MB",
        "410 MB of 512 MB, 10.0 MB/s, 10 s left",
    ]
    for second in range(2, 12):
        rate = pace.of(at(410 + second), second)
    assert progress_words(at(421), 11, rate) == "421 MB of 512 MB, 1.0 MB/s, 1 min 31 s left"


def test_upload_that_begins_again_has_no_rate_at_first():
    pace = Pace()
    for second in range(5):
        pace.of(at(100 + second), second)
    assert pace.of(at(90), 6) == 0.0


def test_seconds_are_told_where_there_are_no_bytes():
    assert progress_words(Event("progress", unit="s"), 3.2, 0.0) == "3 s"


def test_done_says_what_was_spared_and_what_was_found():
    def words(**answer):
        data = {"seconds": 1.0, "answer": {"bytes": 100 * MB, "sent": 100 * MB, "damaged": []}}
        data["answer"] |= answer
        return done_words(Event("done", "Send 1 file", data=data))

    assert words() == "✓ Send 1 file (1.0 s)"
    assert words(sent=2 * MB) == "✓ Send 1 file; 2.0 MB had to be sent (1.0 s)"
    assert words(damaged=["ab"]).endswith("; 1 file there found damaged and put out of use (1.0 s)")


def test_what_is_kept_of_progress_is_in_words_and_not_every_chunk():
    teller = Teller()
    heard = [Event("step", "Send"), *(at(10 * n) for n in range(11)), Event("done", "Send")]
    kept = [teller.of(event, n / 8) for n, event in enumerate(heard)]
    assert [each.text for each in kept if each] == [
        "Send",
        "0 B of 512 MB",
        "20.0 MB of 512 MB",
        "40.0 MB of 512 MB, 80.0 MB/s, 6 s left",
        "60.0 MB of 512 MB, 80.0 MB/s, 6 s left",
        "80.0 MB of 512 MB, 80.0 MB/s, 5 s left",
        "100 MB of 512 MB, 80.0 MB/s, 5 s left",
        "Send",
    ]


def test_a_table_has_a_line_for_each_row_whatever_is_in_it(capsys):
    table([{"v": "v2", "m": "two\nlines\x1b[31m"}, {"v": "v1", "m": None}], {"v": "V", "m": "M"})
    assert capsys.readouterr().out == "V   M\nv2  two lines\\x1b[31m\nv1\n"
