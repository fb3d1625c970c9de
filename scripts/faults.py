"""Adds up the faults that the tests brought about, and the streams that they opened.

See scripts/faults.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

# Every case in here brings about one fault, in one stream; elsewhere a case counts for itself.
_ONE_BY_ONE: Final = ("test_incomplete", "test_producer")


def main() -> int:
    rust_output, python_report = map(Path, sys.argv[1:])
    rust_faults = _of_rust(rust_output.read_text())
    suites = ET.parse(python_report).getroot()  # noqa: S314  # pytest has just written it
    broken = sum(len(list(suites.iter(kind))) for kind in ("failure", "error"))
    expected_failures = len(list(suites.iter("skipped")))
    if broken or not rust_faults:
        sys.exit(f"faults: {broken} tests of Python failed; {rust_faults} faults in Rust")
    cases = [_of_case(case) for case in suites.iter("testcase")]
    faults, streams = (sum(counts) for counts in zip(*cases, strict=True))
    print(f"  {rust_faults} faults in tests of Rust, {faults} in tests of Python")
    if expected_failures:
        print(f"  {expected_failures} tests show a defect that is known, and are expected to fail")
    print(f"faults: {rust_faults + faults} tried, {streams} streams opened, all raised or completed as they must")
    return 0


def _of_rust(output: str) -> int:
    """Return how many faults the tests of Rust tried: as many as a test prints, or one."""
    told = [int(count) for count in re.findall(r"\btried: (\d+)\b", output)]
    passed = sum(int(count) for count in re.findall(r"test result: ok\. (\d+) passed", output))
    return sum(told) + passed - len(told)


def _of_case(case: ET.Element) -> tuple[int, int]:
    """Return the faults and the streams of one case."""
    counts = {one.get("name", ""): int(one.get("value", "")) for one in case.iter("property")}
    default = int(case.get("classname", "").endswith(_ONE_BY_ONE))
    return counts.get("faults", default), counts.get("streams", default)


if __name__ == "__main__":
    sys.exit(main())
