//! Walk through the synchronised candles of many symbols.
//!
//! The crate reads per-symbol bid, ask and trade candles from Parquet files, brings their
//! timestamps together and hands out slices: for one timestamp, the candles of every symbol. It
//! works in one direction and in memory that is bounded by the number of series, not by rows.
//!
//! ```text
//! Request ──▶ one ordered series per symbol and price type ──▶ timeline ──▶ slices ──▶ Arrow IPC
//! ```
//!
//! Begin with [`Request::builder`], then take [`SliceBatches`] (Arrow batches of whole slices) or
//! [`MultiSymbolDataIterator`] (one slice per step). [`ipc::write`] turns batches into the stream
//! that the command line writes. [`Coverage::measure`] says why
//! there are so few slices. Timestamps are nanoseconds since 1970-01-01T00:00Z throughout.
//!
//! Paths, files and their errors are those of Unix; nothing here prints, exits or installs hooks.

#[doc(hidden)]
pub mod bench_support;
pub mod cache;
mod coverage;
pub mod data;
pub mod diff;
mod error;
mod hint;
mod inputs;
mod inspect;
pub mod ipc;
mod panic_guard;
mod report;
mod request;

pub use coverage::{
    Coverage, Gap, Gaps, HeatMap, HeatMapCell, Inconsistent, SeriesCoverage, SymbolCoverage,
};
pub use data::candle::CandleData;
pub use data::input_list::InputFileDocument;
pub use data::multi_symbol::{
    HigherTimeframeCandles, MultiSymbolDataIterator, MultiSymbolSlice, MultiSymbolSliceRef,
    Progress, ReadOptions, SliceBatch, SliceBatches, SymbolSnapshot, input_files,
};
pub use diff::{Diff, Tolerance, diff};
pub use error::{Code, Error, ErrorKind, Location, Result};
pub use hint::{Hint, HintPart, Setting};
pub use inputs::{InputList, InputSeries, inputs};
pub use inspect::{ColumnType, Inspection, inspect};
pub use report::{FileUnit, Report, SeriesReport, Warning};
pub use request::{
    Ambiguous, ColumnNames, Days, DecisionTime, DuplicatePolicy, Fill, HigherTimeframe,
    MAX_SYMBOLS, MaxAge, PathTemplate, PriceType, Request, RequestBuilder, Session, Stamped,
    SymbolPattern, Symbols, Timeframe, Timeline, TimestampUnit, UnsortedPolicy, Zone,
    check_local_path, format_timestamp, parse_timestamp, zone_rules_release,
};

/// Whether this thread is inside a decoder of Parquet or Arrow, where a panic is caught and turned into an
/// error of the input. A program's panic hook can stay silent then.
#[must_use]
pub fn panic_will_be_reported() -> bool {
    panic_guard::panic_will_be_reported()
}
