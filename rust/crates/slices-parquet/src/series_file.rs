//! Opens one file of a series, and finds out what its timestamps mean.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMillisecondType};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::Type as PhysicalType;
use parquet::file::statistics::Statistics;

use super::arrays::ArrayBatches;
use super::clock::{FileClock, Stored, StoredTime, TimeRules};
use super::columns::{chosen_name, is_time, nanoseconds_per_unit, own_zone, with_column_type};
use super::file::InputFile;
use super::parquet_file::{FileOptions, Footer, ParquetFile};
use super::time_column::TimeColumn;
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::panic_guard::catch_panic;
use slices_core::request::{TimestampUnit, Zone};

/// A file of a series.
pub enum Opened {
    /// A file with rows.
    File(Box<SeriesFile>),
    /// A file without rows. Its columns are not checked.
    Empty(EmptyFile),
}

/// A Parquet file without rows.
#[derive(Debug)]
pub struct EmptyFile {
    input: Arc<InputFile>,
    /// As [`SeriesFile::smallest_offset_s`]; `None` if it has no column of timestamps.
    smallest_offset_s: Option<i64>,
}

impl EmptyFile {
    /// Checks that the file still has its name, and is unchanged since it was opened.
    pub fn check_named(&self) -> Result<()> {
        self.input.check_named()
    }

    /// Size of the file in bytes, and its modification time in nanoseconds since 1970.
    pub fn size_and_modified_ns(&self) -> (u64, i64) {
        (self.input.bytes(), self.input.modified_ns())
    }

    /// The smallest offset from UTC since 1970 in the zone of its days, in seconds. It does not
    /// depend on the rows of the file.
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
    /// The zone in use: that of the column, or the given one.
    zone: Option<Zone>,
    own_zone: Option<Zone>,
}

/// Consecutive rows without nulls, all within these timestamps. The file states this, and may be
/// wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageBounds {
    /// Number of rows.
    pub rows: usize,
    /// The smallest timestamp, nanoseconds UTC, inclusive.
    pub min_ns: i64,
    /// The largest timestamp, nanoseconds UTC, inclusive.
    pub max_ns: i64,
}

impl SeriesFile {
    /// Opens a file, reads its footer, and checks its column of timestamps and those of numbers.
    ///
    /// # Errors
    ///
    /// - [`Code::SymbolNotFound`]: the path leads out of its folder.
    /// - [`Code::UnsupportedInput`]: the file has another format.
    /// - [`Code::CorruptInput`]: the file is not a readable Parquet file.
    /// - [`Code::SchemaMismatch`]: a column is missing or has a wrong type.
    /// - [`Code::AmbiguousInput`]: nothing states in which zone its days are.
    /// - A system error: no file descriptor is left.
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
        if options.reads_rows {
            opened.announce(&options)?;
        }
        Ok(Opened::File(Box::new(opened)))
    }

    /// The file itself.
    pub fn file(&self) -> &Arc<ParquetFile> {
        &self.file
    }

    /// Chooses the clock that converts the values of the column into timestamps.
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
                // The name of the zone matters for days only.
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

    /// Announces the row groups within reach. Of those that lie there in part, a page index may say
    /// later which pages are needed.
    fn announce(&self, options: &FileOptions<'_>) -> Result<()> {
        let reach = &options.time.reach_ns;
        let has_no_limits = *reach == (i64::MIN..=i64::MAX);
        self.file
            .announce_groups(|group| match self.timestamp_bounds(group) {
                None => has_no_limits,
                Some((min, max)) => {
                    let is_inside = reach.contains(&min) && reach.contains(&max);
                    let is_outside = max < *reach.start() || *reach.end() < min;
                    is_inside || !is_outside && !self.file.has_page_index(group)
                }
            })
    }

    /// The bounds of the timestamps of a row group, by its statistics.
    ///
    /// `None` if the statistics do not state them for certain, or the group may hold nulls. Then
    /// the caller must read the rows.
    pub fn timestamp_bounds(&self, row_group: usize) -> Option<(i64, i64)> {
        let (min, max) = self.stored_bounds(row_group)?;
        Some(self.timestamps_between(min, max))
    }

    /// The bounds of the timestamps of rows whose stored values lie between two values.
    pub(super) fn timestamps_between(&self, min: i64, max: i64) -> (i64, i64) {
        let [min, max] = [min, max].map(|value| self.time.stored_time(value));
        self.time.clock.clone().outer_bounds(min, max)
    }

    /// The smallest and largest stored timestamp of a row group, by its statistics.
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
        // The larger half of unsigned values would be negative.
        (!self.time.unsigned || min >= 0 && max >= 0).then_some((min, max))
    }

    /// The library converts 96-bit timestamps into nanoseconds without a check of the range. In
    /// milliseconds they always fit, so a pass in that unit finds those that do not.
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
                if self.time.clock.far_timestamp(time).is_none() {
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

    /// The unit of integers, given or found.
    pub fn unit(&self) -> Option<TimestampUnit> {
        self.unit
    }

    /// The zone that the column names, if the caller or a rule needs it.
    pub fn own_zone(&self) -> Option<&Zone> {
        self.own_zone.as_ref()
    }

    /// The zone in use: that of the column, or the given one.
    pub fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// The smallest offset from UTC since 1970 in the zone of its days, in seconds; 0 without one.
    pub fn smallest_offset_s(&self) -> i64 {
        let zone = self
            .zone
            .as_ref()
            .filter(|_| self.time.clock.has_calendar());
        zone.map_or(0, Zone::smallest_offset_s)
    }

    /// Sets the row from which on the times of each doubled hour are after the clock change.
    pub fn set_second_passes(&mut self, from_rows: BTreeMap<i64, u64>) {
        if self.time.clock.infers() {
            self.time.clock.set_second_passes(from_rows);
        }
    }

    /// The error for a doubled hour whose two passes the order of rows does not tell apart.
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
        // An open file has replaced the unit by magnitude by one of the others.
        TimestampUnit::Nanoseconds | TimestampUnit::Magnitude => 1,
    }
}

/// The zone that a column names: in its writer's schema if readable, otherwise in its type.
fn zone_name(metadata: &ArrowReaderMetadata, column: &str, of_type: &str) -> String {
    let named = catch_panic(|| own_zone(metadata, column)).ok().flatten();
    named.unwrap_or_else(|| of_type.to_owned())
}

/// The smallest offset from UTC of the zone of days in a file without rows. `None` if it has no
/// readable column of timestamps.
fn smallest_offset_without_rows(
    metadata: &ArrowReaderMetadata,
    options: &FileOptions<'_>,
) -> Option<i64> {
    let (schema, choice) = (metadata.schema(), options.timestamp);
    let name = chosen_name(options.path, schema, choice, is_time, Vec::new()).ok()?;
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
