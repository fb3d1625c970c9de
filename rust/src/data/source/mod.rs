//! Owns one Parquet file: its footer, its columns and their types, decoding them into nanoseconds
//! and float64, and the promise that it stays the same file while it is read.
//!
//! Decoder errors and panics become [`Code::CorruptInput`] with the file's name; nothing here
//! knows windows, sessions or order.

mod arrays;
mod buffered_chunk_reader;
mod clock;
mod columns;
mod file;
mod fixed_width;
mod formats;
mod instruments;
mod limits;
mod page_index;
mod pages;
mod ranges;
mod rle_bit_packed;
mod row_ranges;
mod rows;
mod sessions;
mod snappy;
mod text_time;
mod thrift;
mod values;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMillisecondType};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type as PhysicalType;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;

use self::arrays::ArrayBatches;
use self::clock::{FileClock, Stored, StoredTime};
pub(crate) use self::clock::{Part, TimeRules};
pub(crate) use self::columns::FileContents;
use self::columns::{
    Column, find_column, is_number, is_time, is_timestamp, nanoseconds_per_unit, own_zone,
    with_column_type, with_seconds,
};
pub(crate) use self::file::check_within;
use self::file::{InputFile, PositionedFile, open_file};
use self::formats::{ENCRYPTED, TELLING_BYTES, format_of};
pub(crate) use self::instruments::Instruments;
use self::limits::{ROWS_PER_BYTE_MAX, check_footer};
pub(crate) use self::ranges::DoubledRow;
pub(crate) use self::rows::{Projection, RawRows, SourceReader};
pub(crate) use self::sessions::read_sessions;
pub(crate) use self::values::ValueReader;
use crate::error::{Code, Error, Result};
use crate::hint::{Setting, hint};
use crate::panic_guard::catch_panic;
use crate::request::{TimestampUnit, Zone, format_timestamp};

/// Which file is read, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileOptions<'a> {
    pub path: &'a Path,
    /// The folder that it must not lead out of.
    pub within: Option<&'a Arc<Path>>,
    pub contents: FileContents,
    /// The name of the column of timestamps.
    pub timestamp: &'a str,
    /// The names of the columns of numbers.
    pub values: &'a [String],
    pub time: &'a Arc<TimeRules>,
    /// The unit of integers in this file, and the zone of its wall clocks and days.
    pub unit: Option<TimestampUnit>,
    pub zone: Option<&'a Zone>,
    /// Whether somebody wants to know the zone of the column, whatever it is good for.
    pub asks_zone: bool,
    /// Whether it stays open; otherwise it is open while somebody reads from it.
    pub held: bool,
}

/// A file of a series.
pub(crate) enum Opened {
    File(Box<SourceFile>),
    /// One without rows, of whatever columns.
    Empty(EmptyFile),
}

/// A Parquet file without rows.
#[derive(Debug)]
pub(crate) struct EmptyFile {
    input: Arc<InputFile>,
    /// As of [`SourceFile::smallest_offset_s`]; `None` where it has no column of timestamps.
    smallest_offset_s: Option<i64>,
}

impl EmptyFile {
    /// Whether the file is still under its name, and what it was when it was opened.
    pub fn check_named(&self) -> Result<()> {
        self.input.check_named()
    }

    /// How many bytes the file has, and when it was changed last, in nanoseconds since 1970.
    pub fn size_and_modified_ns(&self) -> (u64, i64) {
        (self.input.bytes(), self.input.modified_ns())
    }

    /// The smallest distance from UTC that the zone of its days ever had since 1970, in seconds: so that
    /// it does not depend on the rows that a file happens to have.
    pub fn smallest_offset_s(&self) -> Option<i64> {
        self.smallest_offset_s
    }
}

/// One Parquet file whose footer has been read and whose columns have been checked.
#[derive(Debug)]
pub(crate) struct SourceFile {
    input: Arc<InputFile>,
    /// The open file, while anybody reads from it: all readers of a file share one descriptor.
    shared: Mutex<Weak<File>>,
    /// The same, where it stays open for as long as this lives.
    _held: Option<PositionedFile>,
    metadata: ArrowReaderMetadata,
    timestamp: Column,
    clock: FileClock,
    /// Whether timestamps are integers without a sign.
    unsigned: bool,
    /// The unit of timestamps that are integers.
    unit: Option<TimestampUnit>,
    /// The zone that is read: of the column itself, or the one that is given.
    zone: Option<Zone>,
    own_zone: Option<Zone>,
    /// Rows of old-style timestamps that 64-bit nanoseconds do not hold, and which end of these they are
    /// beyond. Ascending.
    far_rows: Vec<(std::ops::Range<u64>, StoredTime)>,
    /// Columns of numbers: the five values of a candle, or indicators.
    values: Vec<Column>,
}

/// Consecutive rows of one row group: `skip` rows after its first one, `rows` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowRange {
    pub row_group: usize,
    pub skip: usize,
    pub rows: usize,
}

/// So many consecutive rows, none of them null and all within these timestamps, ends included, if
/// the file says the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageBounds {
    pub rows: usize,
    pub min_ns: i64,
    pub max_ns: i64,
}

impl SourceFile {
    /// Opens a file, reads its footer and checks its column of timestamps and those of numbers.
    ///
    /// # Errors
    ///
    /// [`Code::SymbolNotFound`] where it leads out of its folder, [`Code::UnsupportedInput`] where it is of
    /// another format, [`Code::CorruptInput`] where it is no readable Parquet file,
    /// [`Code::SchemaMismatch`] where a column is missing or of a wrong type, [`Code::AmbiguousInput`]
    /// where nothing says which days its days are, a system failure where no descriptor is left.
    pub fn open(options: FileOptions<'_>) -> Result<Opened> {
        let path = options.path;
        let file = open_file(path, options.within.cloned())?;
        let timestamp = options.timestamp;
        let metadata = file.guarded(|| {
            // The embedded Arrow schema adds nothing but one unit, and a zone: without it every timestamp
            // keeps the unit it is stored in, and dictionaries come as plain values.
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            if check_footer(&file)? {
                return Ok(None);
            }
            let metadata = ArrowReaderMetadata::load(&file, options)?;
            with_seconds(metadata, timestamp).map(Some)
        });
        let metadata = metadata.map_err(|error| other_format(&file).unwrap_or(error))?;
        let Some(metadata) = metadata else {
            return Err(unsupported(&file, ENCRYPTED));
        };
        if metadata.metadata().num_row_groups() == 0
            || metadata
                .metadata()
                .row_groups()
                .iter()
                .all(|group| group.num_rows() == 0)
        {
            if metadata.metadata().file_metadata().num_rows() != 0 {
                return Err(Error::input(
                    Code::CorruptInput,
                    "the footer says that there are rows, its row groups that there are none",
                )
                .at_file(path));
            }
            return Ok(Opened::Empty(EmptyFile {
                input: file.input().clone(),
                smallest_offset_s: smallest_offset_without_rows(&metadata, &options),
            }));
        }
        let of_candles = options.time.timeframe.is_some();
        let timestamp_column = find_column(
            path,
            &metadata,
            timestamp,
            if of_candles { is_time } else { is_timestamp },
            if of_candles {
                "a timestamp, date, text or integer"
            } else {
                "a timestamp or date32"
            },
            options.contents.other_timestamp(),
        )?;
        let number = "an integer, float or decimal";
        let values = options
            .values
            .iter()
            .map(|name| {
                let other = options.contents.other_value();
                find_column(path, &metadata, name, is_number, number, other)
            })
            .collect::<Result<_>>()?;
        let data_type = metadata
            .schema()
            .field_with_name(timestamp)
            .expect("the column was just found")
            .data_type()
            .clone();
        let raw = FileClock::new(
            Arc::new(TimeRules::of_instants()),
            Stored::Instants(1),
            None,
            None,
        );
        let mut source = Self {
            input: file.input().clone(),
            shared: Mutex::new(file.downgrade()),
            _held: options.held.then_some(file),
            metadata,
            timestamp: timestamp_column,
            clock: raw,
            unsigned: data_type.is_unsigned_integer(),
            unit: None,
            zone: None,
            own_zone: None,
            far_rows: Vec::new(),
            values,
        };
        source.check_row_counts()?;
        source.set_clock(&data_type, &options)?;
        if source.physical_type(source.timestamp.leaf) == PhysicalType::INT96 {
            source.check_int96_range()?;
        }
        Ok(Opened::File(Box::new(source)))
    }

    /// Finds out how the column's values become stamps.
    fn set_clock(&mut self, data_type: &DataType, options: &FileOptions<'_>) -> Result<()> {
        let at_column = |error: Error| error.at_file(options.path).at_column(&self.timestamp.name);
        let stored = match data_type {
            DataType::Timestamp(_, zone) => {
                let scale = nanoseconds_per_unit(data_type).expect("a timestamp has a unit");
                if zone.is_some() {
                    Stored::Instants(scale)
                } else {
                    Stored::Wall(scale)
                }
            }
            DataType::Date32 => Stored::Dates,
            integer if integer.is_integer() => Stored::Integers {
                unsigned: self.unsigned,
            },
            _ => Stored::Text,
        };
        if stored == Stored::Dates && !options.time.takes_dates() {
            let message = "dates without a time cannot stamp candles shorter than a day";
            return Err(at_column(Error::input(Code::SchemaMismatch, message))
                .with_hint("write one column of date and time, or request a timeframe of days"));
        }
        let stored = match stored {
            Stored::Integers { .. } => {
                let unit = self.unit_of_integers(options.unit)?;
                self.unit = Some(unit);
                Stored::Instants(nanoseconds_per(unit))
            }
            other => other,
        };
        let own = match data_type {
            DataType::Timestamp(_, Some(zone))
                if options.time.needs_zone() || options.asks_zone =>
            {
                Some(zone_name(&self.metadata, &self.timestamp.name, zone))
            }
            _ => None,
        };
        let own = match own {
            None => None,
            Some(name) => match Zone::of_column(&name) {
                Some(zone) => Some(zone),
                // Its name matters only where days do.
                None if options
                    .time
                    .timeframe
                    .as_ref()
                    .is_none_or(|one| one.whole_days().is_none()) =>
                {
                    None
                }
                None => {
                    let message = format!("the zone {name:?} of the column is not known");
                    return Err(at_column(Error::input(Code::AmbiguousInput, message))
                        .with_hint("write the column in UTC or with an IANA zone"));
                }
            },
        };
        self.own_zone.clone_from(&own);
        self.zone = own
            .clone()
            .filter(|zone| !zone.is_utc())
            .or_else(|| options.zone.cloned())
            .or_else(|| own.clone());
        self.clock = FileClock::new(options.time.clone(), stored, own, options.zone);
        if options.time.guesses_days() && self.clock.has_calendar() {
            let zone = self
                .zone
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let message = format!("cannot floor days: they may be those of {zone} or of UTC");
            return Err(Error::input(Code::AmbiguousInput, message)
                .at_file(options.path)
                .at_column(&self.timestamp.name)
                .with_hint(hint![
                    "choose ",
                    Setting::Days.to("local"),
                    " (a candle belongs to its date there) or ",
                    Setting::Days.to("utc"),
                ]));
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        self.input.path()
    }

    /// Whether the file is still under its name, and what it was when it was opened.
    pub fn check_named(&self) -> Result<()> {
        self.input.check_named()
    }

    /// How many rows each row group holds.
    pub fn row_group_rows(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        let groups = self.metadata.metadata().row_groups();
        // Checked when the file was opened.
        groups.iter().map(|group| group.num_rows() as usize)
    }

    pub fn rows(&self) -> u64 {
        self.row_group_rows().map(|rows| rows as u64).sum()
    }

    /// Between which stamps the rows of a row group lie, by its statistics.
    ///
    /// `None` where the statistics do not say so for certain, or where the group may hold nulls: then
    /// the rows themselves have to be looked at.
    pub fn timestamp_bounds(&self, row_group: usize) -> Option<(i64, i64)> {
        let (min, max) = self.stored_bounds(row_group)?;
        Some(self.stamps_between(min, max))
    }

    /// Between which stamps rows lie that hold values between two.
    fn stamps_between(&self, min: i64, max: i64) -> (i64, i64) {
        let [min, max] = [min, max].map(|value| self.stored_time(value));
        self.clock.clone().outer_bounds(min, max)
    }

    /// The smallest and largest value of a row group's timestamps by its statistics, as they are stored.
    fn stored_bounds(&self, row_group: usize) -> Option<(i64, i64)> {
        let column = self
            .metadata
            .metadata()
            .row_group(row_group)
            .column(self.timestamp.leaf);
        let statistics = column.statistics()?;
        if statistics.null_count_opt() != Some(0) {
            return None;
        }
        let (min, max) = match statistics {
            Statistics::Int64(bounds) => (*bounds.min_opt()?, *bounds.max_opt()?),
            Statistics::Int32(bounds) => {
                (i64::from(*bounds.min_opt()?), i64::from(*bounds.max_opt()?))
            }
            _ => return None,
        };
        // Of values without a sign, the larger half would be negative.
        (!self.unsigned || min >= 0 && max >= 0).then_some((min, max))
    }

    /// What a stored value says.
    fn stored_time(&self, value: i64) -> StoredTime {
        let (scale, is_wall) = match self.clock.stored() {
            Stored::Instants(scale) => (scale, false),
            Stored::Wall(scale) => (scale, true),
            Stored::Dates => (NANOSECONDS_PER_DAY, false),
            Stored::Integers { .. } | Stored::Text => (1, false),
        };
        if self.unsigned && value < 0 {
            return StoredTime::TooLarge;
        }
        match value.checked_mul(scale) {
            None if value < 0 => StoredTime::TooSmall,
            None => StoredTime::TooLarge,
            Some(midnight_ns) if self.clock.stored() == Stored::Dates => {
                StoredTime::Date(midnight_ns)
            }
            Some(wall_ns) if is_wall => StoredTime::Wall(wall_ns),
            Some(instant_ns) => StoredTime::Instant(instant_ns),
        }
    }

    /// Decodes some columns over `ranges`, in their order, into arrays of at most `batch_rows` rows.
    fn arrays(
        &self,
        file: &PositionedFile,
        leaves: &[usize],
        ranges: &[RowRange],
        batch_rows: usize,
    ) -> ArrayBatches {
        ArrayBatches::new(
            file.clone(),
            self.metadata.clone(),
            leaves,
            ranges,
            batch_rows,
        )
    }

    fn physical_type(&self, leaf: usize) -> PhysicalType {
        self.metadata.parquet_schema().column(leaf).physical_type()
    }

    fn column_name(&self, leaf: usize) -> &str {
        let mut columns = self.values.iter().chain([&self.timestamp]);
        let column = columns.find(|column| column.leaf == leaf);
        column.map_or("", |column| &column.name)
    }

    fn check_row_counts(&self) -> Result<()> {
        let metadata = self.metadata.metadata();
        let mut total = 0_i64;
        for group in metadata.row_groups() {
            total = total
                .checked_add(group.num_rows())
                .filter(|_| group.num_rows() >= 0)
                .ok_or_else(|| self.corrupt("the footer holds impossible row counts"))?;
        }
        let most = self.input.bytes().saturating_mul(ROWS_PER_BYTE_MAX);
        if total as u64 > most {
            let bytes = self.input.bytes();
            return Err(self.corrupt(format!(
                "the footer says {total} rows, of which {bytes} bytes can hold {most} at most"
            )));
        }
        if total != metadata.file_metadata().num_rows() {
            return Err(self.corrupt(format!(
                "the footer says {} rows, its row groups {total}",
                metadata.file_metadata().num_rows()
            )));
        }
        Ok(())
    }

    /// The decoder turns old-style 96-bit timestamps into nanoseconds without looking whether they
    /// fit. In milliseconds they always do, so one pass in that unit finds those that do not.
    fn check_int96_range(&mut self) -> Result<()> {
        let file = self.opened()?;
        let ranges = self.all_rows();
        let mut row = 0;
        let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
        let metadata =
            file.guarded(|| with_column_type(&self.metadata, &self.timestamp.name, &milliseconds))?;
        let leaves = [self.timestamp.leaf];
        let mut batches = ArrayBatches::new(file.clone(), metadata, &leaves, &ranges, 8_192);
        while let Some(batch) = file.guarded(|| batches.next())? {
            let column = batch.column(0).as_primitive::<TimestampMillisecondType>();
            let (smallest, largest) = (i64::MIN / 1_000_000 + 1, i64::MAX / 1_000_000 - 1);
            for at in (0..column.len()).filter(|&at| column.is_valid(at)) {
                let time = match column.value(at) {
                    value if value < smallest => StoredTime::TooSmall,
                    value if value > largest => StoredTime::TooLarge,
                    _ => continue,
                };
                let far = row + at as u64;
                if self.clock.far_stamp(time).is_none() {
                    return Err(self.out_of_range(column.value(at), "milliseconds", far));
                }
                match self.far_rows.last_mut() {
                    Some((rows, end)) if rows.end == far && *end == time => rows.end += 1,
                    _ => self.far_rows.push((far..far + 1, time)),
                }
            }
            row += batch.num_rows() as u64;
        }
        Ok(())
    }

    /// Beyond which end of 64-bit nanoseconds an old-style timestamp lies.
    fn far_row(&self, row: u64) -> Option<StoredTime> {
        let next = self.far_rows.partition_point(|(rows, _)| rows.end <= row);
        let (rows, time) = self.far_rows.get(next)?;
        rows.contains(&row).then_some(*time)
    }

    /// Every row of the file.
    pub fn all_rows(&self) -> Vec<RowRange> {
        self.row_group_rows()
            .enumerate()
            .map(|(row_group, rows)| RowRange {
                row_group,
                skip: 0,
                rows,
            })
            .collect()
    }

    /// The open file; opened again, and seen to be the same, where nobody has held it open.
    fn opened(&self) -> Result<PositionedFile> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = PositionedFile::upgrade(&shared, &self.input) {
            return Ok(file);
        }
        let file = self.input.open_again()?;
        *shared = file.downgrade();
        Ok(file)
    }

    fn out_of_range(&self, value: impl std::fmt::Display, unit: &str, row: u64) -> Error {
        self.corrupt(format!(
            "the timestamp {value} ({unit} since 1970) does not fit 64-bit nanoseconds"
        ))
        .at_row(row)
        .at_column(&self.timestamp.name)
        .with_hint(format!(
            "timestamps reach from {} to {}",
            format_timestamp(i64::MIN),
            format_timestamp(i64::MAX)
        ))
    }

    /// The unit of integers, where it was said or has to be found.
    pub fn unit(&self) -> Option<TimestampUnit> {
        self.unit
    }

    /// The zone that the column itself names; known where somebody asked.
    pub fn own_zone(&self) -> Option<&Zone> {
        self.own_zone.as_ref()
    }

    /// The zone that is read: the column's own, or the one that was given.
    pub fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// The smallest distance from UTC that the zone of its days ever had since 1970, in seconds.
    pub fn smallest_offset_s(&self) -> i64 {
        let zone = self.zone.as_ref().filter(|_| self.clock.has_calendar());
        zone.map_or(0, Zone::smallest_offset_s)
    }

    /// The names of the columns that are read: timestamps first, then numbers.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        let columns = [&self.timestamp].into_iter().chain(&self.values);
        columns.map(|column| column.name.as_str())
    }

    /// How many bytes the file has, and when it was changed last, in nanoseconds since 1970.
    pub fn size_and_modified_ns(&self) -> (u64, i64) {
        (self.input.bytes(), self.input.modified_ns())
    }

    /// Sets from which row on the times of each doubled hour are later than the change of the clocks.
    pub fn set_second_passes(&mut self, from_rows: BTreeMap<i64, u64>) {
        if self.clock.infers() {
            self.clock.set_second_passes(from_rows);
        }
    }

    /// The error where the order of rows does not tell the two passes of a doubled hour apart.
    pub fn not_inferred(&self, row: u64, wall_ns: i64, steps_twice: bool) -> Error {
        let error = self.clock.ambiguous(wall_ns);
        let why = if steps_twice {
            "its rows step backward more than once"
        } else {
            "its rows never step backward"
        };
        let message = format!("{}, and {why}", error.message());
        self.corrupt(message)
            .at_row(row)
            .at_column(&self.timestamp.name)
            .with_hint(hint![
                "choose with ",
                Setting::Ambiguous.to("earlier"),
                " or later, or correct the rows"
            ])
    }

    fn more_rows(&self) -> Error {
        self.corrupt("the file holds more rows than its footer says")
    }

    fn fewer_rows(&self, decoded: usize, expected: usize) -> Error {
        self.corrupt(format!(
            "the file holds fewer rows than its footer says ({decoded} of {expected})"
        ))
    }

    fn corrupt(&self, message: impl Into<String>) -> Error {
        Error::input(Code::CorruptInput, message).at_file(self.path())
    }
}

const NANOSECONDS_PER_DAY: i64 = 86_400_000_000_000;

fn nanoseconds_per(unit: TimestampUnit) -> i64 {
    match unit {
        TimestampUnit::Seconds => 1_000_000_000,
        TimestampUnit::Milliseconds => 1_000_000,
        TimestampUnit::Microseconds => 1_000,
        // The unit by magnitude is one of the others, once a file is open.
        TimestampUnit::Nanoseconds | TimestampUnit::Magnitude => 1,
    }
}

/// The zone that a column names: by its writer's schema where that can be read, else by its type.
fn zone_name(metadata: &ArrowReaderMetadata, column: &str, of_type: &str) -> String {
    let named = catch_panic(|| own_zone(metadata, column)).ok().flatten();
    named.unwrap_or_else(|| of_type.to_owned())
}

/// The smallest distance from UTC of the zone of days in a file without rows; `None` where it has no such
/// column of timestamps as could be read.
fn smallest_offset_without_rows(
    metadata: &ArrowReaderMetadata,
    options: &FileOptions<'_>,
) -> Option<i64> {
    let name = options.timestamp;
    let field = metadata.schema().field_with_name(name).ok()?;
    let own = match field.data_type() {
        DataType::Timestamp(_, Some(zone)) => Zone::of_column(&zone_name(metadata, name, zone)),
        other if is_time(other) => None,
        _ => return None,
    };
    let own = own.filter(|zone| !zone.is_utc());
    let zone = own.as_ref().or(options.zone);
    Some(zone.map_or(0, Zone::smallest_offset_s))
}

/// The error for a file that is of another format than Parquet.
fn other_format(file: &PositionedFile) -> Option<Error> {
    let bytes = usize::try_from(Length::len(file)).ok()?.min(TELLING_BYTES);
    let first = file.get_bytes(0, bytes).ok()?;
    let format = format_of(&first)?;
    Some(unsupported(file, format))
}

fn unsupported(file: &PositionedFile, format: &str) -> Error {
    let (what, hint) = if format == ENCRYPTED {
        ("", "write it without encryption")
    } else {
        (", not Parquet", "convert it to Parquet")
    };
    let message = format!("cannot read the file: it is {format}{what}");
    Error::input(Code::UnsupportedInput, message)
        .at_file(file.input().path())
        .with_hint(hint)
}
