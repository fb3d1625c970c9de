"""Write, or check, the expected answers of the golden cases.

Every `tests/golden/*/expected.txt` is what the plain Python reference answers, never what the executable answers:
the executable is held against these files. A change here needs a reason in the commit that brings it.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("py/src", "py/tests", "tests/golden")]

from golden_case import load_cases, reference_text  # noqa: E402 - found only on the path set above


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file would change")
    parser.add_argument("case", nargs="*", help="names of cases; all where none is given")
    options = parser.parse_args(argv)
    cases = [case for case in load_cases() if not options.case or case.name in options.case]
    if unknown := set(options.case) - {case.name for case in cases}:
        print(f"no such case: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    changed = 0
    for case in cases:
        target = case.folder / "expected.txt"
        before = target.read_text(encoding="utf-8") if target.exists() else ""
        with tempfile.TemporaryDirectory() as folder:
            after = reference_text(case, Path(folder) / "data")
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
