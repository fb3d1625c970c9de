//! Walk through the synchronised candles of many symbols.
//!
//! The crate reads bid, ask and trade candles of each symbol from Parquet files and aligns their
//! timestamps. It yields slices: for one timestamp, the candles of every symbol. It reads forward
//! only. The number of series bounds its memory, not the number of rows.
//!
//! ```text
//! Request ──▶ one ordered series per symbol and price type ──▶ timeline ──▶ slices ──▶ Arrow IPC
//! ```
//!
//! Start with [`Request::builder`], then open [`SliceBatches`] (Arrow batches of whole slices) or
//! [`MultiSymbolDataIterator`] (one slice per step). [`ipc::write`] writes batches as the stream
//! that the command line produces. [`Coverage::measure`] shows which series cost slices. All
//! timestamps are nanoseconds since 1970-01-01T00:00Z.
//!
//! The crate supports Unix only. It never prints, exits or installs hooks.

#[doc(hidden)]
pub mod bench_support;
pub mod cache;
mod coverage;
pub mod diff;
mod inspect;
mod layout;
mod precompute;

pub use coverage::{
    Coverage, Gap, Gaps, HeatMap, HeatMapCell, Inconsistent, SeriesCoverage, SymbolCoverage,
};
pub use diff::{Diff, Tolerance, diff};
pub use inspect::{ColumnType, Inspection, inspect};
pub use layout::{Layout, LayoutOptions};
pub use precompute::{PartMade, PrecomputeOptions, make_part, precompute};
pub use slices_core::candle::CandleData;
pub use slices_core::hint::{Hint, HintPart, Setting};
pub use slices_core::report::{FileUnit, Report, SeriesReport, Warning};
pub use slices_core::request::{
    Ambiguous, ColumnChoice, ColumnNames, Days, DecisionTime, DuplicatePolicy, EmptyRows, Fields,
    Fill, HigherTimeframe, MAX_SYMBOLS, MaxAge, Naming, PathTemplate, PriceType, Request,
    RequestBuilder, Scale, Scales, Session, SplitBy, Stamped, StampedSides, SymbolPattern,
    SymbolZones, Symbols, SymbolsOut, Timeframe, Timeline, TimestampOut, TimestampUnit,
    UnsortedPolicy, Zone, check_local_path, check_readable, check_writable, format_timestamp,
    parse_timestamp, remote_scheme, without_file_scheme, zone_rules_release,
};
pub use slices_core::text::short_timestamp;
pub use slices_core::{Code, Error, ErrorKind, Location, Result};
pub use slices_engine::input_list::InputFileDocument;
pub use slices_engine::inputs::{InputList, InputSeries, inputs, split};
pub use slices_engine::multi_symbol::{
    HigherTimeframeCandles, MultiSymbolDataIterator, MultiSymbolSlice, MultiSymbolSliceRef,
    Progress, ReadOptions, SliceBatch, SliceBatches, SymbolSnapshot, input_files,
};
pub use slices_ipc as ipc;
pub use slices_store::{Storage, StorageOptions, Traffic, Upload, abort_uploads};

/// Whether this thread is inside a decoder of Parquet or Arrow. A panic there is caught and becomes
/// an error of the input, so a panic hook can stay silent.
#[must_use]
pub fn panic_will_be_reported() -> bool {
    slices_core::panic_guard::panic_will_be_reported()
}
