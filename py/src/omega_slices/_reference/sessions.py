"""Sessions in the reference: the session file, and which rows lie in a session.

Owns reading the file and the FX week.
"""

from __future__ import annotations

import csv
import io
import os
import stat
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from omega_slices._model.request import Request
from omega_slices._model.times import parse_time_ns, timeframe_ns
from omega_slices._reference.options import DAY_NS, NS_MAX, NS_MIN, SeriesName, wrong
from omega_slices._reference.parquet import check_column, is_instant, read_table, timestamps_ns
from omega_slices._reference.time import zone_of
from omega_slices.errors import CorruptInputError, RequestError, SchemaMismatchError

_MONDAY, _SATURDAY, _SUNDAY = 0, 5, 6
_SESSION_HINT: Final = "write the columns open and close, with times such as 2024-01-02T14:30:00Z"


def read_sessions(path: str) -> list[tuple[int, int]]:
    """Return the sessions, in the order of time."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise wrong(
                    CorruptInputError,
                    "cannot read the session file: it is not a regular file",
                    "give one that is",
                    None,
                    path,
                )
            content = file.read()
    except OSError as error:
        raise wrong(
            CorruptInputError,
            f"cannot read the session file: {error}",
            "check that it exists and is readable",
            None,
            path,
        ) from error
    read = _sessions_of_parquet(path) if content.startswith(b"PAR1") else _sessions_of_csv(path, content)
    for row, (open_ns, close_ns) in enumerate(read):
        if close_ns <= open_ns:
            message, hint = "invalid session: it closes at or before its open", "correct the row"
            raise wrong(CorruptInputError, message, hint, None, path, row, "close")
    in_order = sorted(range(len(read)), key=lambda row: read[row][0])
    for before, row in pairwise(in_order):
        if read[row][0] < read[before][1]:
            message, hint = (
                f"invalid session: it opens before that of row {before} has closed",
                "correct one of the rows",
            )
            raise wrong(CorruptInputError, message, hint, None, path, row, "open")
    return sorted(read)


def _sessions_of_parquet(path: str) -> list[tuple[int, int]]:
    names = ["open", "close"]
    table, coarse = read_table(path, lambda _: (names, []), None)
    edges = []
    for name in names:
        check_column(table, name, is_instant, "timestamps", _SESSION_HINT, None, path)
        timestamps = timestamps_ns(table.column(name), coarse.column(name))
        edges.append(_checked_times(timestamps, path, name))
    return list(zip(*edges, strict=True))


def _sessions_of_csv(path: str, content: bytes) -> list[tuple[int, int]]:
    try:
        text = content.decode("utf-8-sig")
        # An empty line is not a row.
        header, *rows = [line for line in csv.reader(io.StringIO(text, newline="")) if line] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise wrong(
            CorruptInputError, f"cannot read the session file as CSV: {error}", _SESSION_HINT, None, path
        ) from error
    header = [name.strip() for name in header]
    for name in ("open", "close"):
        if header.count(name) != 1:
            message = (
                f"ambiguous column {name!r}: the file has several of this name"
                if name in header
                else f"the column {name!r} is missing"
            )
            raise wrong(SchemaMismatchError, message, _SESSION_HINT, None, path, column=name)
    sessions = []
    for row, cells in enumerate(rows):
        if len(cells) != len(header):
            message = f"the row has {len(cells)} cells, the header {len(header)}"
            raise wrong(CorruptInputError, message, "correct the row", None, path, row)
        texts = dict(zip(header, cells, strict=True))
        sessions.append((_csv_time(texts["open"], path, row, "open"), _csv_time(texts["close"], path, row, "close")))
    return sessions


def _csv_time(text: str, path: str, row: int, column: str) -> int:
    try:
        return parse_time_ns(text, column)
    except RequestError as error:
        message = f"invalid time {text!r}: expected a point in time that 64-bit nanoseconds hold"
        raise wrong(CorruptInputError, message, _SESSION_HINT, None, path, row, column) from error


def _checked_times(timestamps: list[int | None], path: str, column: str) -> list[int]:
    """Return timestamps that are all there and fit 64-bit nanoseconds."""
    checked = []
    for row, timestamp_ns in enumerate(timestamps):
        if timestamp_ns is None or not NS_MIN <= timestamp_ns <= NS_MAX:
            message = "there is no timestamp"
            if timestamp_ns is not None:
                message = "the timestamp does not fit 64-bit nanoseconds"
            raise wrong(CorruptInputError, message, "repair or remove the row", None, path, row, column)
        checked.append(timestamp_ns)
    return checked


def in_session(
    request: Request,
    name: SeriesName,
    sessions: Sequence[tuple[int, int]] | None,
    stamp_ns: int,
    values: tuple[float, ...],
) -> bool:
    """Return whether a row counts as trading time."""
    if sessions is not None:
        # Sessions are in order and apart: only the last that has opened can be open.
        number = bisect_right(sessions, stamp_ns, key=lambda session: session[0])
        return number > 0 and stamp_ns < sessions[number - 1][1]
    if request.session == "none":
        return True
    # Every edge is a whole second, so the fraction of the second does not matter.
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=stamp_ns // 10**9)
    if timeframe_ns(name.timeframe) >= DAY_NS:
        return moment.weekday() not in (_SATURDAY, _SUNDAY) and not _is_placeholder(name, values)
    sydney = moment.astimezone(zone_of("Australia/Sydney"))
    if sydney.weekday() == _MONDAY:
        return sydney.hour >= 7
    if sydney.weekday() == _SATURDAY:
        return sydney.hour < 7
    return sydney.weekday() != _SUNDAY


def _is_placeholder(name: SeriesName, values: tuple[float, ...]) -> bool:
    if name.side is None:
        return False
    open_, high, low, close, volume = values
    return volume == 0 and open_ == high == low == close
