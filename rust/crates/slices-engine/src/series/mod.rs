//! Turns rows into a series. Applies the window, session, flooring, order and duplicate rules, in
//! this order, over all files as if they were one.
//!
//! Two independent readers meet only in the gatherer. `timestamps` decides which rows are candles;
//! it reads values only for the one rule that needs them. `values` reads one value column forward
//! and applies no rules. The row number of a candle is the only link between the two.

mod candle_times;
mod duplicates;
mod observer;
mod open;
mod row_filter;
mod row_stream;
mod rows;
mod scan;
mod segmentation;
mod segments;
mod stats;
mod steps;
mod timestamps;
mod values;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::candle_times::CandleTimes;
pub use self::observer::{ObservedSeries, SeriesObserver};
pub use self::open::OpenedFiles;
pub use self::rows::Rows;
pub use self::timestamps::TimestampReader;
pub use self::values::ValueCursor;
use crate::input_list::InputFileDocument;
use crate::memory::{MemoryBudget, Reservation};
use crate::series_files::{Role, SeriesFiles};
use slices_core::candle::VALUES_PER_CANDLE;
use slices_core::error::{Error, Result};
use slices_core::report::SeriesName;
use slices_core::request::{
    ColumnChoice, ColumnNames, Days, DuplicatePolicy, EmptyRows, Fill, PriceType, Request, Scales,
    SymbolZones, Timeframe, TimestampUnit, UnsortedPolicy,
};
use slices_core::session::{Hours, SessionFilter};
use slices_core::units::NANOSECONDS_PER_DAY;
use slices_parquet::{
    CandlePlaces, EmptyFile, FileColumn, FileContents, FileRanges, ParquetFile, Part, RecentFiles,
    RowRange, SeriesFile, TimeRules, ValueColumn,
};
use slices_store::Storage;

/// The maximum time between the start of a date and the instant from which the age of its candle
/// counts.
const DATE_MARGIN_NS: i64 = 2 * NANOSECONDS_PER_DAY;

/// The rules that turn rows into a series; all series of one role share them.
#[derive(Debug)]
pub struct SeriesRules {
    /// The timestamp column and the value columns.
    timestamp: ColumnChoice,
    values: Vec<ValueColumn>,
    /// The names of the value columns in a list of inputs.
    fields: Vec<String>,
    /// Number of value columns that the slices show. The others are only read by rules.
    shown: usize,
    /// Whether the files hold no volume.
    has_no_volume: bool,
    /// Where the values of a candle are among the value columns, if a rule looks at them.
    candle_places: Option<CandlePlaces>,
    /// Whether rows without a price are no candles.
    drops_empty: bool,
    time: Arc<TimeRules>,
    unit: Option<TimestampUnit>,
    zones: SymbolZones,
    one_instrument: bool,
    /// The kind of contents of the files.
    contents: FileContents,
    /// Range of raw timestamps to read.
    start_ns: i64,
    end_ns: i64,
    /// The start of the window. Earlier rows are the lead-in: the window may show their candles.
    window_ns: i64,
    /// The earliest instant from which the age of a candle may count, if not from its timestamp.
    first_begin_ns: i64,
    /// The earliest timestamp of a candle in the window.
    first_ns: i64,
    session: SessionFilter,
    timeframe: Timeframe,
    normalize: bool,
    unsorted: UnsortedPolicy,
    duplicates: DuplicatePolicy,
    /// Whether differing duplicates give a warning: the request names no policy.
    warns_of_conflicts: bool,
    is_of_candles: bool,
    chunk_rows: usize,
    /// Maximum number of rows of a segment that is kept whole for its checks.
    segment_rows: usize,
    memory: Arc<MemoryBudget>,
    recent_files: Arc<RecentFiles>,
    storage: Storage,
}

impl SeriesRules {
    /// The rules for series of a role and price type; `hours` come from the session file, if there
    /// is one.
    pub fn new(
        request: &Request,
        (role, price_type): (Role, Option<PriceType>),
        hours: Option<&Arc<Hours>>,
        (chunk_rows, segment_rows): (usize, usize),
        (memory, recent_files, storage): (Arc<MemoryBudget>, Arc<RecentFiles>, Storage),
    ) -> Self {
        let first_slice_ns = request.first_slice_ns();
        let no_earlier_than =
            |age_ns: i64| first_slice_ns.map(|first| first.saturating_sub(age_ns));
        let window_ns = request.start_ns().unwrap_or(i64::MIN);
        let mut first_begin_ns = i64::MIN;
        let (timeframe, start_ns, window_ns, first_ns) = match role {
            Role::Primary => {
                let lead_in = (request.fill() == Fill::Forward)
                    .then(|| no_earlier_than(request.max_age_ns()))
                    .flatten();
                (
                    request.timeframe(),
                    lead_in.unwrap_or(window_ns),
                    window_ns,
                    first_slice_ns.unwrap_or(i64::MIN),
                )
            }
            Role::Higher(number) => {
                let higher = &request.higher_timeframes()[number];
                let (_, max_age_ns) = request.higher_timeframe_delays_ns(higher, None);
                // A date may start this much before the instant from which the age of its candle
                // counts.
                let margin_ns = if is_dated_higher(request, role) {
                    DATE_MARGIN_NS
                } else {
                    0
                };
                let reach_ns = max_age_ns.map(|age_ns| age_ns.saturating_add(margin_ns));
                let start_ns = reach_ns.and_then(no_earlier_than).unwrap_or(i64::MIN);
                first_begin_ns = max_age_ns.and_then(no_earlier_than).unwrap_or(i64::MIN);
                (higher.timeframe(), start_ns, start_ns, i64::MIN)
            }
            Role::Indicators => (request.timeframe(), window_ns, window_ns, i64::MIN),
        };
        let mut end_ns = request.end_ns().unwrap_or(i64::MAX);
        if is_dated_higher(request, role) {
            // A date may end before an instant that comes before its stamp.
            end_ns = end_ns.saturating_add(DATE_MARGIN_NS);
        }
        let session = hours.map_or_else(
            || SessionFilter::new(request.session(), timeframe, price_type.is_some()),
            |hours| SessionFilter::of_hours(hours.clone()),
        );
        let drops_empty = price_type.is_some() && request.empty_rows() == EmptyRows::Drop;
        let columns = match price_type {
            Some(price_type) => {
                let needs = [session.needs_values(), drops_empty];
                ReadColumns::of_candles(request, price_type, needs)
            }
            None => ReadColumns::of_indicators(request.indicators()),
        };
        Self {
            timestamp: request.columns().timestamp().clone(),
            values: columns.values,
            fields: columns.fields,
            shown: columns.shown,
            has_no_volume: columns.has_no_volume,
            candle_places: columns.candle_places,
            drops_empty,
            time: Arc::new(TimeRules {
                unit: request.timestamp_unit(),
                zone: request.zone().cloned(),
                ambiguous: request.ambiguous(),
                stamped: request.stamped().of(timeframe),
                days: request.days(),
                timeframe: Some(timeframe.clone()),
                normalize: request.normalize(),
                part: match role {
                    Role::Primary => Part::Primary,
                    Role::Higher(_) => Part::Higher,
                    Role::Indicators => Part::Other,
                },
                reach_ns: start_ns..=end_ns,
            }),
            unit: request.timestamp_unit(),
            zones: request.zones().clone(),
            one_instrument: request.one_instrument(),
            contents: match price_type {
                Some(_) => FileContents::Candles,
                None => FileContents::Indicators,
            },
            start_ns,
            end_ns,
            window_ns,
            first_begin_ns,
            first_ns,
            session,
            timeframe: timeframe.clone(),
            normalize: request.normalize(),
            unsorted: request.unsorted(),
            duplicates: request.duplicates().unwrap_or_default(),
            warns_of_conflicts: request.duplicates().is_none(),
            is_of_candles: price_type.is_some(),
            chunk_rows,
            segment_rows,
            memory,
            recent_files,
            storage,
        }
    }

    /// What an observer may know of the series.
    pub fn observed(&self) -> ObservedSeries<'_> {
        ObservedSeries {
            timeframe: &self.timeframe,
            session: &self.session,
        }
    }

    /// Whether duplicates may be an error.
    fn fails_on_duplicates(&self) -> bool {
        matches!(
            self.duplicates,
            DuplicatePolicy::Error | DuplicatePolicy::Identical
        )
    }

    /// Number of rows to decode at a time.
    pub fn chunk_rows(&self) -> usize {
        self.chunk_rows
    }

    fn has_lead_in(&self) -> bool {
        self.start_ns < self.window_ns
    }

    fn has_window(&self) -> bool {
        (self.start_ns, self.end_ns) != (i64::MIN, i64::MAX)
    }

    /// Number of value columns that the slices show.
    pub fn fields(&self) -> usize {
        self.shown
    }

    /// Whether a raw timestamp lies in the window or its lead-in.
    fn in_reach(&self, timestamp_ns: i64) -> bool {
        (self.start_ns..=self.end_ns).contains(&timestamp_ns)
    }

    fn in_window(&self, timestamp_ns: i64) -> bool {
        (self.window_ns..=self.end_ns).contains(&timestamp_ns)
    }

    /// Whether window and lead-in keep a row. The candle at the start of the window consists only
    /// of rows inside it.
    fn keeps(&self, timestamp_ns: i64) -> bool {
        let leads_in = |at: i64| {
            let stamped = if self.normalize {
                self.timeframe.floor(at)
            } else {
                Some(at)
            };
            stamped.is_none_or(|stamped| stamped < self.first_ns)
        };
        self.in_window(timestamp_ns) || self.in_reach(timestamp_ns) && leads_in(timestamp_ns)
    }
}

/// The value columns to read.
struct ReadColumns {
    values: Vec<ValueColumn>,
    fields: Vec<String>,
    shown: usize,
    has_no_volume: bool,
    candle_places: Option<CandlePlaces>,
}

impl ReadColumns {
    /// The columns of the fields of a request, then those that rules need: all of a candle, or its
    /// prices.
    fn of_candles(
        request: &Request,
        price_type: PriceType,
        [needs_all, needs_prices]: [bool; 2],
    ) -> Self {
        const VOLUME: usize = VALUES_PER_CANDLE - 1;
        let (chosen, names) = (request.fields(), request.columns());
        let is_there = |field: &usize| *names.value(price_type, *field) != ColumnChoice::Absent;
        let is_needed = |field: &usize| needs_all || needs_prices && *field != VOLUME;
        let is_other = |field: &usize| is_needed(field) && chosen.place(*field).is_none();
        let shown: Vec<_> = chosen.indices().filter(is_there).collect();
        let others = (0..VALUES_PER_CANDLE).filter(is_other).filter(is_there);
        let read: Vec<_> = shown.iter().copied().chain(others).collect();
        let place = |field: usize| read.iter().position(|one| *one == field);
        let column = |field: usize| ValueColumn {
            choice: names.value(price_type, field).clone(),
            scales: if field == VOLUME {
                request.volume_scales()
            } else {
                request.price_scales()
            },
        };
        let names = read.iter().map(|&field| ColumnNames::VALUE_FIELDS[field]);
        Self {
            values: read.iter().map(|&field| column(field)).collect(),
            fields: names.map(str::to_owned).collect(),
            shown: shown.len(),
            has_no_volume: !is_there(&VOLUME),
            candle_places: (needs_all || needs_prices).then(|| std::array::from_fn(place)),
        }
    }

    fn of_indicators(names: &[String]) -> Self {
        let column = |name: &String| ValueColumn {
            choice: ColumnChoice::of(name),
            scales: Scales::default(),
        };
        Self {
            values: names.iter().map(column).collect(),
            fields: names.to_vec(),
            shown: names.len(),
            has_no_volume: false,
            candle_places: None,
        }
    }
}

/// Whether the candles of a higher timeframe are stamped with dates.
fn is_dated_higher(request: &Request, role: Role) -> bool {
    let Role::Higher(number) = role else {
        return false;
    };
    let timeframe = request.higher_timeframes()[number].timeframe();
    request.days() == Some(Days::Local) && timeframe.whole_days().is_some()
}

/// The rows of a series to decode, in the order of its files.
pub struct OpenSeries {
    name: SeriesName,
    /// The files, in reading order.
    files: Vec<SelectedFile>,
    /// The rows of all of them.
    ranges: FileRanges,
    /// Files without rows.
    empty: Vec<EmptyFile>,
    /// The first file by name.
    first_path: PathBuf,
    /// Whether the timestamps are too irregular to be kept, and are decoded twice.
    decodes_twice: bool,
    /// The memory of the footers.
    _footers: Reservation,
}

/// A file of the series, and its rows from the first to the last one in the window.
struct SelectedFile {
    file: SeriesFile,
    ranges: Vec<RowRange>,
    /// Number of these rows.
    rows: u64,
    /// Its index among all files by name, which decides which duplicate comes last.
    place: usize,
}

impl SelectedFile {
    fn new((place, file): (usize, SeriesFile), ranges: Vec<RowRange>) -> Self {
        Self {
            file,
            place,
            rows: ranges.iter().map(|range| range.rows as u64).sum(),
            ranges,
        }
    }

    /// The ranges, each with its file.
    fn file_ranges(&self) -> impl Iterator<Item = (Arc<ParquetFile>, RowRange)> {
        let file = self.file.file();
        self.ranges.iter().map(|range| (file.clone(), *range))
    }

    /// The parts of the ranges with some rows, counted over the ranges.
    fn ranges_between(&self, rows: Range<u64>) -> Vec<RowRange> {
        let mut before = 0;
        let cut = self.ranges.iter().map(|range| {
            let all = before..before + range.rows as u64;
            before = all.end;
            let start = rows.start.clamp(all.start, all.end);
            let end = rows.end.clamp(start, all.end);
            RowRange {
                skip: range.skip + (start - all.start) as usize,
                rows: (end - start) as usize,
                ..*range
            }
        });
        cut.filter(|range| range.rows > 0).collect()
    }

    /// Whether some rows, counted over the ranges, end inside a range.
    fn cuts_last_range(&self, rows: &Range<u64>) -> bool {
        let ends = self.ranges.iter().scan(0, |end, range| {
            *end += range.rows as u64;
            Some(*end)
        });
        rows.end < self.rows && !ends.into_iter().any(|end| end == rows.end)
    }

    /// The row number in the file, of a row counted over the ranges.
    fn row_in_file(&self, row: u64) -> u64 {
        let mut left = row;
        for range in &self.ranges {
            if left < range.rows as u64 {
                let before: usize = self
                    .file
                    .file()
                    .row_group_rows()
                    .take(range.row_group)
                    .sum();
                return (before + range.skip) as u64 + left;
            }
            left -= range.rows as u64;
        }
        unreachable!("row {row} of {} rows", self.rows)
    }
}

impl OpenSeries {
    /// Number of rows to decode.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// Number of bytes of pages that a cursor over a value column holds at most, as the footers
    /// say.
    pub fn column_bytes_by_footer(&self, field: usize) -> u64 {
        self.ranges.bytes_by_footer(FileColumn::Value(field))
    }

    /// The same as the headers of the pages say, which is less if a chunk has several pages.
    ///
    /// # Errors
    ///
    /// A file cannot be opened, or changed.
    pub fn column_bytes_by_headers(&self, field: usize) -> Result<u64> {
        let bytes = self.ranges.bytes_by_headers(FileColumn::Value(field));
        bytes.map_err(|error| self.named(error))
    }

    /// Number of bytes of pages that the reader of the timestamps holds at most.
    ///
    /// # Errors
    ///
    /// A file cannot be opened, or changed.
    pub fn timestamp_bytes(&self) -> Result<u64> {
        if !self.decodes_twice {
            return Ok(0);
        }
        let bytes = self.ranges.bytes_by_headers(FileColumn::Timestamp);
        bytes.map_err(|error| self.named(error))
    }

    /// Checks that all files still exist, unchanged since they were opened.
    ///
    /// # Errors
    ///
    /// Names the first file that changed.
    pub fn check_named(&self) -> Result<()> {
        let files = self
            .files
            .iter()
            .map(|selected| selected.file.file().check_named());
        let empty = self.empty.iter().map(EmptyFile::check_named);
        let mut checks = files.chain(empty);
        checks.try_for_each(|check| check.map_err(|error| self.named(error)))
    }

    /// The smallest offset from UTC since 1970 in the zones of its days, in seconds. `None` if no
    /// file has a timestamp column.
    pub fn smallest_offset_s(&self) -> Option<i64> {
        let files = self
            .files
            .iter()
            .map(|selected| selected.file.smallest_offset_s());
        let empty = self.empty.iter().filter_map(EmptyFile::smallest_offset_s);
        files.chain(empty).min()
    }

    /// The precedence of duplicate rows: the index of their file by name, then the row in it.
    fn rank(&self, row: u64) -> (usize, u64) {
        let mut left = row;
        for selected in &self.files {
            if left < selected.rows {
                return (selected.place, left);
            }
            left -= selected.rows;
        }
        unreachable!("row {row} of {} rows", self.rows())
    }

    /// Adds the file and row of a row of the series to an error.
    fn at_row(&self, error: Error, row: u64) -> Error {
        let (file, row) = self.place(row);
        error.at_file(file).at_row(row)
    }

    fn place(&self, row: u64) -> (&Path, u64) {
        let mut left = row;
        for selected in &self.files {
            if left < selected.rows {
                return (selected.file.file().path(), selected.row_in_file(left));
            }
            left -= selected.rows;
        }
        unreachable!("row {row} of {} rows", self.rows())
    }

    fn named(&self, error: Error) -> Error {
        self.name.on(error)
    }
}

/// Describes the files of a series and how they are read, in name order.
///
/// # Errors
///
/// Fails if a file is invalid as a whole.
pub fn inputs(series: &SeriesFiles, rules: &Arc<SeriesRules>) -> Result<Vec<InputFileDocument>> {
    OpenedFiles::inputs(series, rules).map_err(|error| series.name.on(error))
}

/// Opens all files of a series. Those of a bucket begin to arrive.
///
/// # Errors
///
/// Any error of the files ([`SeriesFile::open`]).
pub fn open_files(series: &SeriesFiles, rules: &SeriesRules) -> Result<OpenedFiles> {
    OpenedFiles::open(series, rules).map_err(|error| series.name.on(error))
}

/// Finds the segments in which to read a series.
///
/// # Errors
///
/// Any error of the files, and [`slices_core::Code::UnsortedInput`] if the rules require time
/// order.
pub fn open(
    series: &SeriesFiles,
    opened: OpenedFiles,
    rules: Arc<SeriesRules>,
    observer: Box<dyn SeriesObserver>,
) -> Result<(Arc<OpenSeries>, TimestampReader)> {
    TimestampReader::open(series, opened, rules, observer).map_err(|error| series.name.on(error))
}
