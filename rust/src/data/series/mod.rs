//! Owns the way from rows to a series: window, session, flooring, order, duplicates, in this order,
//! over all files of the series as if they were one.
//!
//! A series is read on two ways that meet again only in the gather. `timestamps` decides which rows
//! are candles and when: it looks at timestamps alone (and at values only for the one rule that
//! asks for them). `values` reads one value column forwards and knows no rule; a candle's row
//! number is all that connects the two.

mod candle_times;
mod clean;
mod row_stream;
mod rows;
mod scan;
mod segment_plan;
mod segments;
mod timestamps;
mod values;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub(crate) use self::candle_times::CandleTimes;
pub(crate) use self::rows::Rows;
pub(crate) use self::timestamps::TimestampReader;
pub(crate) use self::values::ValueCursor;
use crate::data::layout::SeriesFiles;
use crate::data::source::{SourceFile, Span};
use crate::error::{Error, Result};
use crate::request::{
    ColumnNames, DuplicatePolicy, PriceType, Request, Session, Timeframe, UnsortedPolicy,
};

/// The rules that turn rows into a series: the same for every series of a request.
#[derive(Debug)]
pub(crate) struct SeriesRules {
    columns: ColumnNames,
    start_ns: i64,
    end_ns: i64,
    session: Session,
    timeframe: Timeframe,
    normalize: bool,
    unsorted: UnsortedPolicy,
    duplicates: DuplicatePolicy,
    chunk_rows: usize,
    /// The longest segment that is held whole to be looked through.
    segment_rows: usize,
}

impl SeriesRules {
    pub fn new(request: &Request, chunk_rows: usize, segment_rows: usize) -> Self {
        Self {
            columns: request.columns().clone(),
            start_ns: request.start_ns().unwrap_or(i64::MIN),
            end_ns: request.end_ns().unwrap_or(i64::MAX),
            session: request.session(),
            timeframe: request.timeframe().clone(),
            normalize: request.normalize(),
            unsorted: request.unsorted(),
            duplicates: request.duplicates(),
            chunk_rows,
            segment_rows,
        }
    }

    /// How many rows are decoded at a time.
    pub fn chunk_rows(&self) -> usize {
        self.chunk_rows
    }

    fn has_window(&self) -> bool {
        (self.start_ns, self.end_ns) != (i64::MIN, i64::MAX)
    }

    fn in_window(&self, timestamp_ns: i64) -> bool {
        (self.start_ns..=self.end_ns).contains(&timestamp_ns)
    }
}

/// The rows of a series that are decoded, as they stand in its files.
pub(crate) struct SeriesSource {
    symbol: String,
    price_type: PriceType,
    files: Vec<PlannedFile>,
}

/// A file of the series and the rows of it that lie between the window's first and last row.
struct PlannedFile {
    file: SourceFile,
    spans: Vec<Span>,
    /// How many rows that is.
    rows: u64,
}

impl PlannedFile {
    fn new(file: SourceFile, spans: Vec<Span>) -> Self {
        Self {
            file,
            rows: spans.iter().map(|span| span.rows as u64).sum(),
            spans,
        }
    }

    /// The parts of the spans that hold some rows, counted over the spans.
    fn spans_between(&self, rows: Range<u64>) -> Vec<Span> {
        let mut before = 0;
        let cut = self.spans.iter().map(|span| {
            let all = before..before + span.rows as u64;
            before = all.end;
            let start = rows.start.clamp(all.start, all.end);
            let end = rows.end.clamp(start, all.end);
            Span {
                skip: span.skip + (start - all.start) as usize,
                rows: (end - start) as usize,
                ..*span
            }
        });
        cut.filter(|span| span.rows > 0).collect()
    }

    /// Whether some rows, counted over the spans, end within a span.
    fn cuts_last_span(&self, rows: &Range<u64>) -> bool {
        let ends = self.spans.iter().scan(0, |end, span| {
            *end += span.rows as u64;
            Some(*end)
        });
        rows.end < self.rows && !ends.into_iter().any(|end| end == rows.end)
    }

    /// The row in the file, of a row counted over the spans.
    fn row_in_file(&self, row: u64) -> u64 {
        let mut left = row;
        for span in &self.spans {
            if left < span.rows as u64 {
                let before: usize = self.file.row_group_rows().take(span.row_group).sum();
                return (before + span.skip) as u64 + left;
            }
            left -= span.rows as u64;
        }
        unreachable!("row {row} of {} rows", self.rows)
    }
}

impl SeriesSource {
    /// How many rows are decoded.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// The error, with file and row of a row of the series.
    fn at_row(&self, error: Error, row: u64) -> Error {
        let (file, row) = self.place(row);
        error.at_file(file).at_row(row)
    }

    fn place(&self, row: u64) -> (&Path, u64) {
        let mut left = row;
        for planned in &self.files {
            if left < planned.rows {
                return (planned.file.path(), planned.row_in_file(left));
            }
            left -= planned.rows;
        }
        unreachable!("row {row} of {} rows", self.rows())
    }

    fn named(&self, error: Error) -> Error {
        error.at_series(&self.symbol, self.price_type)
    }
}

/// Opens all files of a series and finds out in which segments it can be read.
///
/// # Errors
///
/// Whatever is wrong with the files ([`SourceFile::open`]), and where the rules make it one,
/// [`crate::Code::UnsortedInput`].
pub(crate) fn open(
    series: &SeriesFiles,
    rules: Arc<SeriesRules>,
) -> Result<(Arc<SeriesSource>, TimestampReader)> {
    TimestampReader::open(series, rules)
        .map_err(|error| error.at_series(&series.symbol, series.price_type))
}
