"""Both implementations at once: the executable's slices, each compared with the reference's.

Owns the stretches into which a run is cut, and which of them are compared.  Guarantees that
a slice of a compared stretch is handed out only after the reference gave the same one, bit
by bit.  Slices before a difference still come.  Memory is that of one stretch.

A stretch begins after the last slice of the one before, and ends with its own last slice.
So stretches leave nothing out: a slice that only the reference has is found too.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from omega_slices._compare import Walk, first_difference
from omega_slices._model.paths import file_identity
from omega_slices._model.schema import TIMESTAMP_COLUMN, known_after_ns
from omega_slices._model.times import NS_MAX, NS_MIN
from omega_slices.errors import CorruptInputError, DivergenceError, OmegaSlicesError, SystemFailureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pyarrow as pa

    from omega_slices._backends.plain import ReferenceSource
    from omega_slices._backends.source import Source
    from omega_slices._compare import Difference
    from omega_slices._model.report import RunReport, RunWarning
    from omega_slices._model.request import Request


# Of all symbols and price types: the reference takes some 700 bytes for each candle.
_STRETCH_CANDLES_MAX: Final = 500_000
_NAMES: Final = ("rust", "python")


class ShadowSource:
    """The batches of another source, compared."""

    def __init__(
        self,
        source: Source,
        reference: Callable[[tuple[int, int]], ReferenceSource],
        request: Request,
        sample: float,
        compared: Callable[[int], None],
        inputs: Callable[[], Iterable[str]],
    ) -> None:
        """Compare what a source gives.

        Parameters
        ----------
        source : Source
            The executable's.
        reference : callable
            Opens the reference for the slices from one timestamp to another.
        request : Request
            What both answer.
        sample : float
            Which part of the stretches is compared, above 0 and up to 1; the first one
            always is.
        compared : callable
            Called with the number of slices that were found the same.
        inputs : callable
            Returns the paths of all input files, as they are now.
        """
        self._source = source
        self._reference = reference
        self._request = request
        self._sample = sample
        self._compared = compared
        self._inputs_now = inputs
        self.schema: pa.Schema = source.schema
        self.symbols = source.symbols
        series = len(self.symbols) * len(request.price_types)
        self._slices_max = max(1, _STRETCH_CANDLES_MAX // series)
        # Short at first, so that the first slice is there soon.
        self._slices_next = 1
        # A stretch that is compared takes one; each adds a part.
        self._credit = 1.0
        self._start_ns = NS_MIN
        self._closed = False
        self._passed = 0
        self._ready: deque[pa.RecordBatch] = deque()
        self._failure: OmegaSlicesError | None = None
        self._ended = False
        # The executable reads each file once, the reference again and again.  Where a file has
        # changed meanwhile, neither is wrong.
        self._inputs = self._see_inputs(())

    def read(self) -> pa.RecordBatch | None:
        """Return the next batch, or None at the end of both.

        Raises
        ------
        DivergenceError
            The next slice is not the same, or only one of the two has it.
        """
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            self._next_stretch()
        return self._ready.popleft()

    def take_warnings(self) -> Sequence[RunWarning]:
        """Return the executable's new warnings."""
        return self._source.take_warnings()

    def report(self) -> RunReport | None:
        """Return the executable's report."""
        return self._source.report()

    def close(self) -> None:
        """Close the executable's source."""
        self._closed = True
        self._ready.clear()
        self._source.close()

    def _next_stretch(self) -> None:
        """Take the next stretch of slices, and hand out those on which the reference agrees."""
        batches = self._take()
        slices = sum(batch.num_rows for batch in batches) // len(self.symbols)
        if self._credit >= 1.0 and (batches or self._ended):
            self._credit -= 1.0
            same = self._compare(batches, NS_MAX if self._ended else _last_ns(batches))
            self._compared(same)
            batches = _first(batches, same * len(self.symbols))
        self._ready.extend(batches)
        self._credit += self._sample
        self._passed += slices
        self._slices_next = min(2 * self._slices_next, self._slices_max)
        if batches:
            self._start_ns = _last_ns(batches) + 1

    def _take(self) -> list[pa.RecordBatch]:
        """Return the batches of the next stretch.

        Notes the end, or the error that comes after them.
        """
        batches: list[pa.RecordBatch] = []
        slices = 0
        while slices < self._slices_next:
            try:
                batch = self._source.read()
            except OmegaSlicesError as error:
                self._failure = error
                break
            if batch is None:
                self._ended = True
                break
            batches.append(batch)
            slices += batch.num_rows // len(self.symbols)
        return batches

    def _compare(self, batches: Sequence[pa.RecordBatch], end_ns: int) -> int:
        """Return how many slices are the same; notes the difference after them, if there is one."""
        if self._start_ns > end_ns:
            return 0  # there is no later moment
        mine = Walk(self.symbols, iter(batches))
        try:
            reference = self._reference((self._start_ns, end_ns))
            if reference.symbols != self.symbols:
                raise _other_symbols(self.symbols, reference.symbols)
            known = tuple(known_after_ns(schema) for schema in (self.schema, reference.schema))
            if known[0] != known[1]:
                raise _divergence(f"known_after_ns is {known[0]} in rust, {known[1]} in python", values=known)
            found = first_difference(mine, Walk(self.symbols, self._batches(reference)), None)
        except OmegaSlicesError as error:
            self._failure = self._changed_input() or _of_python(error)
            return 0
        if found is None:
            return mine.passed
        self._failure = self._changed_input() or _difference(found, self._passed)
        position = found.positions[0]
        return mine.passed if position is None else position

    def _batches(self, reference: ReferenceSource) -> Iterator[pa.RecordBatch]:
        while not self._closed and (batch := reference.read()) is not None:
            yield batch

    def _see_inputs(self, known: Iterable[str]) -> dict[str, tuple[int, ...] | None]:
        """Return all input files as they are now, those that are known by name among them."""
        paths = dict.fromkeys(known)
        with suppress(OmegaSlicesError):  # one that is gone is among the known
            paths |= dict.fromkeys(self._inputs_now())
        for path in (self._request.session_file, self._request.inputs):
            if path is not None:
                paths[path] = None
        return {path: file_identity(path) for path in paths}

    def _changed_input(self) -> CorruptInputError | None:
        """Return the error of an input that is no longer what it was at the start.

        None where there is none.
        """
        for path, identity in self._see_inputs(self._inputs).items():
            if self._inputs.get(path) != identity:
                return CorruptInputError(
                    f"the file changed while it was being read (file {path})",
                    hint="run again when nothing writes to the inputs",
                    file=path,
                )
        return None


def _last_ns(batches: Sequence[pa.RecordBatch]) -> int:
    last_ns: int = batches[-1].column(TIMESTAMP_COLUMN)[-1].value
    return last_ns


def _first(batches: Sequence[pa.RecordBatch], rows: int) -> list[pa.RecordBatch]:
    """Return the first rows of batches."""
    taken = []
    for batch in batches:
        if rows > 0:
            taken.append(batch.slice(0, rows))
        rows -= batch.num_rows
    return taken


def _difference(found: Difference, passed: int) -> DivergenceError:
    """Make the error of a difference that was found after `passed` slices."""
    first, second = (None if position is None else position + passed for position in found.positions)
    text = found._replace(positions=(first, second)).text(_NAMES)
    return _divergence(
        text, timestamp_ns=found.timestamp_ns, symbol=found.symbol, column=found.column, values=found.values
    )


def _of_python(error: OmegaSlicesError) -> OmegaSlicesError:
    """Return what an error means that the executable did not have."""
    if isinstance(error, DivergenceError | SystemFailureError):
        return error
    return _divergence(f"only python fails, with {error.code.name}: {error.message}")


def _other_symbols(mine: tuple[str, ...], theirs: tuple[str, ...]) -> DivergenceError:
    rust, python = set(mine) - set(theirs), set(theirs) - set(mine)
    sides = [f"{', '.join(sorted(only))} (only {name})" for only, name in ((rust, "rust"), (python, "python")) if only]
    return _divergence(f"the symbols are not the same: {'; '.join(sides) or 'they come in another order'}")


def _divergence(message: str, **about: Any) -> DivergenceError:
    return DivergenceError(
        message,
        hint="go on with backend='python', which says what the contract says, and report this with the request "
        "and the input files",
        **about,
    )
