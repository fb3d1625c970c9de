"""Write, or check, the expected answers of the golden cases, and the books of the backtest.

Every `tests/golden/*/expected.txt`, and every `tests/golden/pairs/*.txt`, is what the plain Python
reference comes to, never what the executable does: the executable is compared with these files. A
change here needs a reason in the commit that brings it.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import golden_case
import pairs_case

REPOSITORY = Path(__file__).resolve().parent.parent


class Golden(NamedTuple):
    """A golden file, and what makes its text in a folder for the input."""

    name: str
    path: Path
    text: Callable[[Path], str]


def goldens() -> list[Golden]:
    cases = [
        Golden(case.name, case.folder / "expected.txt", partial(golden_case.reference_text, case))
        for case in golden_case.load_cases()
    ]
    backtests = [
        Golden(f"pairs/{scenario.name}", scenario.golden, partial(pairs_case.golden_text, scenario))
        for scenario in pairs_case.SCENARIOS
    ]
    return cases + backtests


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file would change")
    parser.add_argument("case", nargs="*", help="names of cases, pairs/NAME of a backtest; all where none is given")
    options = parser.parse_args(argv)
    known = goldens()
    cases = [case for case in known if not options.case or case.name in options.case]
    if unknown := set(options.case) - {case.name for case in known}:
        print(f"no such case: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    changed = 0
    for case in cases:
        target = case.path
        before = target.read_text(encoding="utf-8") if target.exists() else ""
        with tempfile.TemporaryDirectory() as folder:
            after = case.text(Path(folder) / "data")
        if before == after:
            continue
        changed += 1
        name = str(target.relative_to(REPOSITORY))
        lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), name, f"{name} (reference)")
        sys.stdout.writelines(lines)
        if not options.check:
            target.write_text(after, encoding="utf-8")
    print(f"{len(cases)} cases, {changed} {'differ' if options.check else 'written'}")
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
