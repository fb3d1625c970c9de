//! Finds the range of the timestamps of a whole file, the unit of integer timestamps, and local
//! times that occur twice. Uses the footer, and reads the rows if the footer is not enough.

use super::clock::{Stored, StoredTime};
use super::{Projection, SeriesFile};
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Hint, HintPart, Setting, hint};
use slices_core::request::{ClockChange, TimestampUnit};

/// Rows to decode at a time.
const PASS_ROWS: usize = 8_192;

/// 1990-01-01 (included) to 2101-01-01 (excluded) in seconds since 1970: the plausible timestamps.
const DATES_S: std::ops::Range<i64> = 631_152_000..4_133_980_800;

/// The units of integer timestamps, and their number per second.
const UNITS: [(TimestampUnit, i64); 4] = [
    (TimestampUnit::Seconds, 1),
    (TimestampUnit::Milliseconds, 1_000),
    (TimestampUnit::Microseconds, 1_000_000),
    (TimestampUnit::Nanoseconds, 1_000_000_000),
];

/// The unit under which a value lies from 1990 to 2100. At most one fits.
fn unit_that_fits(value: i64) -> Option<TimestampUnit> {
    let fits = |per_second: i64| DATES_S.contains(&value.div_euclid(per_second));
    let unit = UNITS.iter().find(|(_, per_second)| fits(*per_second));
    unit.map(|(unit, _)| *unit)
}

/// A row with a local time that occurs twice.
pub struct DoubledRow {
    /// The row in the file, counted from 0.
    pub row: u64,
    /// The wall-clock time in nanoseconds.
    pub wall_ns: i64,
    /// The change of the clocks that shows it twice.
    pub change: ClockChange,
    /// Whether it may be used.
    pub is_in_reach: bool,
}

impl SeriesFile {
    /// The smallest timestamp in nanoseconds, which decides the reading order of files.
    pub fn smallest_ns(&self) -> Result<i64> {
        let (smallest, _) = self.whole_range()?;
        Ok(match smallest {
            StoredTime::TooSmall => i64::MIN,
            StoredTime::TooLarge => i64::MAX,
            StoredTime::Instant(ns) | StoredTime::Wall(ns) | StoredTime::Date(ns) => ns,
        })
    }

    /// The smallest and the largest timestamp of the file, both included.
    pub fn stamp_range(&self) -> Result<(i64, i64)> {
        let mut clock = self.time.clock.clone();
        if self.time.clock.stored() != Stored::Text {
            let (smallest, largest) = self.whole_range()?;
            return Ok(clock.bounds(smallest, largest));
        }
        // Texts with and without a zone cannot be compared as stored.
        let (mut first_ns, mut last_ns) = (i64::MAX, i64::MIN);
        self.each_time(|_, time| {
            let (from_ns, to_ns) = clock.bounds(time, time);
            first_ns = first_ns.min(from_ns);
            last_ns = last_ns.max(to_ns);
            Ok(())
        })?;
        Ok((first_ns, last_ns))
    }

    /// Calls `each` for every row whose local time occurs twice, if the order of rows decides.
    pub fn doubled_rows(&self, mut each: impl FnMut(DoubledRow)) -> Result<()> {
        if !self.time.clock.infers() {
            return Ok(());
        }
        let mut clock = self.time.clock.clone();
        self.each_time(|row, time| {
            if let Some(change) = clock.doubled(time)
                && let StoredTime::Wall(wall_ns) = time
            {
                each(DoubledRow {
                    row,
                    wall_ns,
                    change,
                    is_in_reach: clock.is_in_reach(change),
                });
            }
            Ok(())
        })
    }

    /// The smallest and the largest stored value.
    fn whole_range(&self) -> Result<(StoredTime, StoredTime)> {
        let groups = 0..self.file().row_group_rows().len();
        let rows: Vec<_> = self.file().row_group_rows().collect();
        let bounds = groups
            .filter(|&group| rows[group] > 0)
            .map(|group| self.stored_bounds(group));
        if let Some(bounds) = bounds.collect::<Option<Vec<_>>>()
            && let (Some(min), Some(max)) = (
                bounds.iter().map(|bounds| bounds.0).min(),
                bounds.iter().map(|bounds| bounds.1).max(),
            )
        {
            return Ok((self.time.stored_time(min), self.time.stored_time(max)));
        }
        let mut range: Option<(StoredTime, StoredTime)> = None;
        self.each_time(|_, time| {
            let (smallest, largest) = range.get_or_insert((time, time));
            if order(time) < order(*smallest) {
                *smallest = time;
            }
            if order(time) > order(*largest) {
                *largest = time;
            }
            Ok(())
        })?;
        range.ok_or_else(|| self.file().fewer_rows(0, self.file().rows() as usize))
    }

    /// Calls `each` with the number and time of every row.
    fn each_time(&self, mut each: impl FnMut(u64, StoredTime) -> Result<()>) -> Result<()> {
        let mut reader = self.read(Projection::Timestamps, &self.file().all_rows(), PASS_ROWS)?;
        let mut row = 0;
        while let Some(times) = reader.next_times()? {
            for time in times {
                each(row, time)?;
                row += 1;
            }
        }
        Ok(())
    }

    /// The unit of an integer column, from the request and the values.
    ///
    /// # Errors
    ///
    /// [`Code::SchemaMismatch`] if the request names no unit, or one that does not fit while
    /// another does. [`Code::CorruptInput`] if the unit is chosen by magnitude and no single unit
    /// fits.
    pub(super) fn unit_of_integers(&self, given: Option<TimestampUnit>) -> Result<TimestampUnit> {
        let value = |time| match time {
            StoredTime::Instant(value) => value,
            StoredTime::TooSmall => i64::MIN,
            _ => i64::MAX,
        };
        let (smallest, largest) = self.whole_range()?;
        let fitting = unit_that_fits(value(smallest));
        let fitting = fitting.filter(|_| fitting == unit_that_fits(value(largest)));
        let at_column = |error: Error| {
            error
                .at_file(self.file().path())
                .at_column(&self.file().timestamp.name)
        };
        match (given, fitting) {
            (Some(TimestampUnit::Magnitude), Some(fitting)) => Ok(fitting),
            (Some(TimestampUnit::Magnitude), None) => Err(self.no_single_unit()?),
            (Some(given), Some(fitting)) if given != fitting => {
                let message = format!(
                    "the timestamps do not fit the unit {given}: as {fitting} they lie between 1990 and 2100"
                );
                Err(at_column(Error::input(Code::SchemaMismatch, message)).with_hint(fits(fitting)))
            }
            (Some(given), _) => Ok(given),
            (None, fitting) => {
                let message = "the timestamps are integers of an unknown unit";
                let hint = fitting.map_or_else(
                    || Hint::new(unknown_unit(value(smallest), value(largest))),
                    fits,
                );
                Err(at_column(Error::input(Code::SchemaMismatch, message)).with_hint(hint))
            }
        }
    }

    /// The error of the first row that fits no unit, or another unit than the rows before it.
    fn no_single_unit(&self) -> Result<Error> {
        let mut first = None;
        let mut found = None;
        self.each_time(|row, time| {
            let unit = match time {
                StoredTime::Instant(value) => unit_that_fits(value),
                _ => None,
            };
            let same = unit.is_some() && *first.get_or_insert(unit) == unit;
            if !same && found.is_none() {
                found = Some((row, unit));
            }
            Ok(())
        })?;
        let (row, unit) = found.unwrap_or_default();
        let hint = match self.whole_range()? {
            (StoredTime::Instant(smallest), StoredTime::Instant(largest)) => {
                unknown_unit(smallest, largest)
            }
            _ => name_unit(),
        };
        let message = match (unit, first.flatten()) {
            (Some(unit), Some(first)) => {
                format!("the timestamp fits the unit {unit}, but those before it fit {first}")
            }
            _ => "the timestamp fits no unit: expected a time from 1990 to 2100".to_owned(),
        };
        Ok(self
            .file()
            .corrupt(message)
            .at_row(row)
            .at_column(&self.file().timestamp.name)
            .with_hint(Hint::new(
                [vec!["correct the row, or ".into()], hint].concat(),
            )))
    }
}

fn fits(unit: TimestampUnit) -> Hint {
    hint!["add ", Setting::TimestampUnit.to(unit.as_str())]
}

fn name_unit() -> Vec<HintPart> {
    let unit = Setting::TimestampUnit.to("s");
    vec!["name the unit with ".into(), unit, ", ms, us or ns".into()]
}

/// The hint for integers that fit no unit.
fn unknown_unit(smallest: i64, largest: i64) -> Vec<HintPart> {
    const DATES: std::ops::RangeInclusive<i64> = 19_900_101..=21_001_231;
    if DATES.contains(&smallest) && DATES.contains(&largest) {
        vec!["write the column as dates or as text: its values look like YYYYMMDD".into()]
    } else {
        name_unit()
    }
}

/// The order of stored values of one column.
fn order(time: StoredTime) -> (i8, i64) {
    match time {
        StoredTime::TooSmall => (-1, 0),
        StoredTime::Instant(ns) | StoredTime::Wall(ns) | StoredTime::Date(ns) => (0, ns),
        StoredTime::TooLarge => (1, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_fits_one_unit_at_most() {
        let second_2024 = 1_704_153_600;
        for (unit, per_second) in UNITS {
            assert_eq!(unit_that_fits(second_2024 * per_second), Some(unit));
            assert_eq!(unit_that_fits(DATES_S.start * per_second), Some(unit));
            assert_eq!(unit_that_fits(DATES_S.start * per_second - 1), None);
            assert_eq!(unit_that_fits(DATES_S.end * per_second - 1), Some(unit));
        }
        for value in [0, -second_2024, i64::MAX, i64::MIN, 20_240_102] {
            assert_eq!(unit_that_fits(value), None, "{value}");
        }
    }
}
