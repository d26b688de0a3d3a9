"""Fails when a test that CI must run was skipped, or was not there at all.

unskipped.py REPORT NAMES: a JUnit report, and a file with one name a line: a test module (all of
its tests) or module::test.
"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main(report: str, names: str) -> int:
    ran, skipped = outcomes(Path(report))
    wanted = [line.strip() for line in Path(names).read_text().splitlines()]
    wanted = [line for line in wanted if line and not line.startswith("#")]
    trouble = [f"was skipped: {test}" for test in sorted(skipped) if any_names(wanted, test)]
    there = {name for name in wanted if any(any_names([name], test) for test in ran)}
    trouble += [f"did not run: {name}" for name in wanted if name not in there]
    print("\n".join(trouble) or f"None of the {len(wanted)} named tests was skipped.")
    return 1 if trouble else 0


def any_names(names: list[str], test: str) -> bool:
    """Whether one of the names is this test, its module, or it without its parameters."""
    return bool({test, test.split("::")[0], test.split("[")[0]} & set(names))


def outcomes(report: Path) -> tuple[set[str], set[str]]:
    """Names of the tests that ran, and of those that were skipped."""
    ran, skipped = set(), set()
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        (skipped if case.find("skipped") is not None else ran).add(name)
    return ran, skipped


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
