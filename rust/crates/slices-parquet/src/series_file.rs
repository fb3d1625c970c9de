//! Opens one file of a series: what its timestamps mean, beside what its footer and columns are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMillisecondType};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::Type as PhysicalType;
use parquet::file::statistics::Statistics;

use super::arrays::ArrayBatches;
use super::clock::{FileClock, Stored, StoredTime, TimeRules};
use super::columns::{FileContents, is_time, nanoseconds_per_unit, own_zone, with_column_type};
use super::file::InputFile;
use super::parquet_file::{Footer, ParquetFile};
use super::time_column::TimeColumn;
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::panic_guard::catch_panic;
use slices_core::request::{TimestampUnit, Zone};

/// Which file is read, and how.
#[derive(Debug, Clone, Copy)]
pub struct FileOptions<'a> {
    /// The path of the file.
    pub path: &'a Path,
    /// The folder that it must not lead out of.
    pub within: Option<&'a Arc<Path>>,
    /// What it holds.
    pub contents: FileContents,
    /// The name of the column of timestamps.
    pub timestamp: &'a str,
    /// The names of the columns of numbers.
    pub values: &'a [String],
    /// How its timestamps are read.
    pub time: &'a Arc<TimeRules>,
    /// The unit of integers in this file, and the zone of its wall clocks and days.
    pub unit: Option<TimestampUnit>,
    /// The zone of its wall clocks and days.
    pub zone: Option<&'a Zone>,
    /// Whether somebody wants to know the zone of the column, whatever it is good for.
    pub asks_zone: bool,
    /// Whether it stays open; otherwise it is open while somebody reads from it.
    pub held: bool,
}

/// A file of a series.
pub enum Opened {
    /// One with rows.
    File(Box<SeriesFile>),
    /// One without rows, of whatever columns.
    Empty(EmptyFile),
}

/// A Parquet file without rows.
#[derive(Debug)]
pub struct EmptyFile {
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

/// One file of a series, and what its timestamps mean.
#[derive(Debug)]
pub struct SeriesFile {
    file: Arc<ParquetFile>,
    pub(super) time: TimeColumn,
    /// The unit of timestamps that are integers.
    unit: Option<TimestampUnit>,
    /// The zone that is read: of the column itself, or the one that is given.
    zone: Option<Zone>,
    own_zone: Option<Zone>,
}

/// So many consecutive rows, none of them null and all within these timestamps, ends included, if
/// the file says the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageBounds {
    /// Number of rows.
    pub rows: usize,
    /// The smallest timestamp, nanoseconds UTC.
    pub min_ns: i64,
    /// The largest timestamp, nanoseconds UTC.
    pub max_ns: i64,
}

impl SeriesFile {
    /// Opens a file, reads its footer and checks its column of timestamps and those of numbers.
    ///
    /// # Errors
    ///
    /// [`Code::SymbolNotFound`] where it leads out of its folder, [`Code::UnsupportedInput`] where it is of
    /// another format, [`Code::CorruptInput`] where it is no readable Parquet file,
    /// [`Code::SchemaMismatch`] where a column is missing or of a wrong type, [`Code::AmbiguousInput`]
    /// where nothing says which days its days are, a system failure where no descriptor is left.
    pub fn open(options: FileOptions<'_>) -> Result<Opened> {
        let file = match ParquetFile::open(&options)? {
            Footer::Rows(file) => Arc::new(file),
            Footer::NoRows(input, metadata) => {
                return Ok(Opened::Empty(EmptyFile {
                    input,
                    smallest_offset_s: smallest_offset_without_rows(&metadata, &options),
                }));
            }
        };
        let data_type = file.timestamp_type();
        let raw = FileClock::new(
            Arc::new(TimeRules::of_instants()),
            Stored::Instants(1),
            None,
            None,
        );
        let unsigned = data_type.is_unsigned_integer();
        let mut opened = Self {
            time: TimeColumn::new(file.clone(), raw, unsigned),
            file,
            unit: None,
            zone: None,
            own_zone: None,
        };
        opened.set_clock(&data_type, &options)?;
        if opened.file.physical_type(opened.file.timestamp.leaf) == PhysicalType::INT96 {
            opened.find_far_rows()?;
        }
        Ok(Opened::File(Box::new(opened)))
    }

    /// The file itself.
    pub fn file(&self) -> &Arc<ParquetFile> {
        &self.file
    }

    /// Finds out how the column's values become stamps.
    fn set_clock(&mut self, data_type: &DataType, options: &FileOptions<'_>) -> Result<()> {
        let at_column = |error: Error| {
            error
                .at_file(options.path)
                .at_column(&self.file.timestamp.name)
        };
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
                unsigned: self.time.unsigned,
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
                Some(zone_name(
                    &self.file.metadata,
                    &self.file.timestamp.name,
                    zone,
                ))
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
        self.time.clock = FileClock::new(options.time.clone(), stored, own, options.zone);
        if options.time.guesses_days() && self.time.clock.has_calendar() {
            let zone = self
                .zone
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let message = format!("cannot floor days: they may be those of {zone} or of UTC");
            return Err(Error::input(Code::AmbiguousInput, message)
                .at_file(options.path)
                .at_column(&self.file.timestamp.name)
                .with_hint(hint![
                    "choose ",
                    Setting::Days.to("local"),
                    " (a candle belongs to its date there) or ",
                    Setting::Days.to("utc"),
                ]));
        }
        Ok(())
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
    pub(super) fn stamps_between(&self, min: i64, max: i64) -> (i64, i64) {
        let [min, max] = [min, max].map(|value| self.time.stored_time(value));
        self.time.clock.clone().outer_bounds(min, max)
    }

    /// The smallest and largest value of a row group's timestamps by its statistics, as they are stored.
    pub(super) fn stored_bounds(&self, row_group: usize) -> Option<(i64, i64)> {
        let column = self
            .file
            .metadata
            .metadata()
            .row_group(row_group)
            .column(self.file.timestamp.leaf);
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
        (!self.time.unsigned || min >= 0 && max >= 0).then_some((min, max))
    }

    /// The decoder turns old-style 96-bit timestamps into nanoseconds without looking whether they
    /// fit. In milliseconds they always do, so one pass in that unit finds those that do not.
    fn find_far_rows(&mut self) -> Result<()> {
        let file = self.file.opened()?;
        let ranges = self.file.all_rows();
        let mut far_rows: Vec<(std::ops::Range<u64>, StoredTime)> = Vec::new();
        let mut row = 0;
        let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
        let metadata = file.guarded(|| {
            with_column_type(
                &self.file.metadata,
                &self.file.timestamp.name,
                &milliseconds,
            )
        })?;
        let leaves = [self.file.timestamp.leaf];
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
                if self.time.clock.far_stamp(time).is_none() {
                    return Err(self
                        .time
                        .out_of_range(column.value(at), "milliseconds", far));
                }
                match far_rows.last_mut() {
                    Some((rows, end)) if rows.end == far && *end == time => rows.end += 1,
                    _ => far_rows.push((far..far + 1, time)),
                }
            }
            row += batch.num_rows() as u64;
        }
        self.time.set_far_rows(far_rows);
        Ok(())
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
        let zone = self
            .zone
            .as_ref()
            .filter(|_| self.time.clock.has_calendar());
        zone.map_or(0, Zone::smallest_offset_s)
    }

    /// Sets from which row on the times of each doubled hour are later than the change of the clocks.
    pub fn set_second_passes(&mut self, from_rows: BTreeMap<i64, u64>) {
        if self.time.clock.infers() {
            self.time.clock.set_second_passes(from_rows);
        }
    }

    /// The error where the order of rows does not tell the two passes of a doubled hour apart.
    pub fn not_inferred(&self, row: u64, wall_ns: i64, steps_twice: bool) -> Error {
        let error = self.time.clock.ambiguous(wall_ns);
        let why = if steps_twice {
            "its rows step backward more than once"
        } else {
            "its rows never step backward"
        };
        let message = format!("{}, and {why}", error.message());
        self.file
            .corrupt(message)
            .at_row(row)
            .at_column(&self.file.timestamp.name)
            .with_hint(hint![
                "choose with ",
                Setting::Ambiguous.to("earlier"),
                " or later, or correct the rows"
            ])
    }
}

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
