"""The data sets of the benchmark: their folders, made where they are missing.

A folder that is there is whole: it gets its name when it is complete.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench_results import WRITER, BenchError, Case
from bench_writers import REWRITERS, rewrite

SCRIPTS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Roots:
    """The data sets below a folder.

    Attributes
    ----------
    folder : Path
        The folder that holds all of them.
    rewriter : Path
        The example that writes as arrow-rs and Spark do.
    """

    folder: Path
    rewriter: Path

    def of(self, case: Case) -> Path:
        """Return the folder of a data set."""
        return made(self.folder / case.folder, partial(self._make, case))

    def store_of(self, case: Case, command: list[str]) -> Path:
        """Return the folder with what a peer makes of a data set beforehand.

        The command is given the data set and the folder to make.
        """
        root = self.of(case)

        def make(target: Path) -> None:
            subprocess.run([*command, str(root), f"--store={target}", "--prepare"], check=True, stdout=sys.stderr)

        return made(root.with_name(f"{root.name}-store"), make)

    def _make(self, case: Case, target: Path) -> None:
        if case.writer in REWRITERS:
            rewrite(case.writer, self.rewriter, self.of(replace(case, writer=WRITER)), target)
            return
        shape = [f"--symbols={case.symbols}", f"--rows={case.rows}", f"--price-types={','.join(case.price_types)}"]
        shape += [f"--missing={':'.join(map(str, case.missing))}", f"--seed={case.seed}", f"--writer={case.writer}"]
        shape += [f"--indicators={case.indicators}", *(["--days"] if case.days else [])]
        if case.further:
            shape.append(f"--further={','.join(case.further)}")
        maker = [sys.executable, str(SCRIPTS / "bench_data.py"), str(target)]
        subprocess.run([*maker, *shape], check=True, stdout=sys.stderr)


def made(place: Path, make: Callable[[Path], None]) -> Path:
    """Return a folder, made where it is not there yet."""
    if not place.exists():
        unfinished = place.with_name(f"{place.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            make(unfinished)
        except subprocess.CalledProcessError as error:
            raise BenchError(f"cannot make the data {place.name}: {error}") from error
        unfinished.rename(place)
    return place
