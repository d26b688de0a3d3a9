"""CSV: a name is no formula, a number stays one."""

from app.spreadsheets import as_csv


def test_a_name_is_no_formula():
    assert as_csv(["time", "=1+1"], []).strip() == "time,'=1+1"
    assert as_csv(["a"], [["=cmd()"], ["-5"], [-5.0], ["-x"], [None], ["@a"]]).splitlines() == [
        *("a", "'=cmd()", "-5", "-5.0", "'-x", '""', "'@a"),
    ]
