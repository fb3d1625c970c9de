"""List the licences of the crates in the executable, in docs/reference/licences.md.

Owns the page. The crates come from `cargo tree` with the lock file, for the supported platform.
Crates that only run while the project is built or tested are left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
PAGE: Final = REPOSITORY / "docs" / "reference" / "licences.md"
PLATFORM: Final = "x86_64-unknown-linux-gnu"

HEAD: Final = """# Licences

omega-slices is under `MIT OR Apache-2.0`. The executable holds the crates below, {crates} of them, and with `plotly`
the JavaScript library plotly.js (MIT), which is copied into the pages of `coverage`. To distribute the executable is
to distribute them too, so their licence texts have to be included; those lie in the crates' sources. `rust/deny.toml`
says which licences may be among them.

Written by `scripts/licences.py`, checked by `scripts/audit`.

| licence | crates |
|---|---|
"""


def shipped() -> dict[str, str]:
    """Return the licence of each crate that is linked into the executable, by name and version."""
    command = ["cargo", "tree", "--locked", "--package", "omega-slices", "--target", PLATFORM]
    command += ["--edges", "normal,no-proc-macro"]
    command += ["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"]
    answer = subprocess.run(command, cwd=REPOSITORY / "rust", check=True, stdout=subprocess.PIPE, text=True)
    # The project's own crates come with the folder that they lie in.
    lines = (line.split("|") for line in answer.stdout.splitlines())
    return {crate.replace(" v", " ", 1): in_spdx(text) for crate, text in lines if "(/" not in crate}


def in_spdx(text: str) -> str:
    """Return a licence as SPDX writes it; old crates have a slash for OR, in any order."""
    text = text.replace(" / ", " OR ").replace("/", " OR ")
    return text if " AND " in text else " OR ".join(sorted(text.split(" OR ")))


def page(licences: dict[str, str]) -> str:
    """Return the page."""
    crates: dict[str, list[str]] = {}
    for crate, text in sorted(licences.items()):
        crates.setdefault(text, []).append(crate)
    rows = sorted(crates.items(), key=lambda row: (-len(row[1]), row[0]))
    table = "".join(f"| {text} | {', '.join(of_it)} |\n" for text, of_it in rows)
    return HEAD.format(crates=len(licences)) + table


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the page is out of date")
    options = parser.parse_args(argv)
    text = page(shipped())
    if not options.check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        print(f"{PAGE.relative_to(REPOSITORY)} is out of date: run scripts/licences.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
