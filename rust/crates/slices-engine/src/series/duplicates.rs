//! Resolves duplicates: picks the row to keep and checks whether the values are equal. Reads values
//! only for rows that share a timestamp.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::values::ValueCursor;
use super::{CandleTimes, OpenSeries, SeriesRules};
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::report::Warning;
use slices_core::request::{DuplicatePolicy, format_timestamp};

/// Up to this distance a cursor reads on; for a row further away it is opened again.
const NEAR_ROWS: u64 = 16_384;

/// The state of duplicate rows of a series.
pub(super) struct Duplicates {
    policy: DuplicatePolicy,
    /// One cursor per numeric column, opened when needed.
    cursors: Vec<Option<ValueCursor>>,
    conflicts: u64,
    first: Option<Conflict>,
    /// Timestamps of counted conflicts, of which more rows may come.
    counted_ns: BTreeSet<i64>,
}

/// Differing rows of one timestamp.
struct Conflict {
    timestamp_ns: i64,
    kept: u64,
    other: u64,
}

/// All rows of one timestamp, in the order of precedence.
struct Group {
    timestamp_ns: i64,
    rows: Vec<u64>,
}

impl Duplicates {
    pub fn new(rules: &SeriesRules) -> Self {
        Self {
            policy: rules.duplicates,
            cursors: (0..rules.fields()).map(|_| None).collect(),
            conflicts: 0,
            first: None,
            counted_ns: BTreeSet::new(),
        }
    }

    /// Number of timestamps so far whose rows differ.
    pub fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// The indexes of the candles to keep, one per timestamp. The candles are in time order.
    ///
    /// # Errors
    ///
    /// [`Code::DuplicateTimestamp`] if the policy forbids duplicates, and any error of reading
    /// values.
    pub fn choose(&mut self, series: &Arc<OpenSeries>, candles: &CandleTimes) -> Result<Vec<u32>> {
        let timestamps = &candles.timestamps[..];
        if let Some(first_ns) = timestamps.first() {
            self.counted_ns = self.counted_ns.split_off(first_ns);
        }
        let mut kept = Vec::with_capacity(timestamps.len());
        let mut groups = Vec::new();
        let mut at = 0;
        while at < timestamps.len() {
            let len = timestamps[at..]
                .iter()
                .take_while(|timestamp_ns| **timestamp_ns == timestamps[at])
                .count();
            if len == 1 {
                kept.push(at as u32);
                at += 1;
                continue;
            }
            let mut members: Vec<_> = (at..at + len)
                .map(|place| (candles.rows.row(place), place))
                .collect();
            members.sort_by_key(|(row, _)| series.rank(*row));
            if self.policy == DuplicatePolicy::Error {
                return Err(repeated(series, timestamps[at], members[1].0));
            }
            match &candles.begins {
                None => kept.push(members[self.kept_of(len)].1 as u32),
                Some(begins) => kept.extend(self.kept_in_turn(&members, begins)),
            }
            groups.push(Group {
                timestamp_ns: timestamps[at],
                rows: members.into_iter().map(|(row, _)| row).collect(),
            });
            at += len;
        }
        self.compare(series, &groups)?;
        Ok(kept)
    }

    /// The indexes of the rows of one date to keep: each one is shown until the next is complete.
    /// An incomplete row must neither show nor hide another one.
    fn kept_in_turn(&self, members: &[(u64, usize)], begins: &[i64]) -> Vec<u32> {
        let mut by_begin: Vec<_> = (0..members.len()).collect();
        by_begin.sort_by_key(|&member| begins[members[member].1]);
        let mut kept: Vec<usize> = Vec::new();
        for member in by_begin {
            let wins = kept.last().is_none_or(|&before| match self.policy {
                DuplicatePolicy::First => member < before,
                _ => member > before,
            });
            if !wins {
                continue;
            }
            let begin_of = |member: usize| begins[members[member].1];
            if kept
                .last()
                .is_some_and(|&before| begin_of(before) == begin_of(member))
            {
                kept.pop();
            }
            kept.push(member);
        }
        kept.into_iter()
            .map(|member| members[member].1 as u32)
            .collect()
    }

    /// Resolves a timestamp that ends one chunk and starts the next. Returns whether the earlier
    /// row is kept.
    ///
    /// # Errors
    ///
    /// As [`Self::choose`].
    pub fn keeps_before(
        &mut self,
        series: &Arc<OpenSeries>,
        timestamp_ns: i64,
        (before, after): (u64, u64),
    ) -> Result<bool> {
        let mut rows = vec![before, after];
        rows.sort_by_key(|row| series.rank(*row));
        if self.policy == DuplicatePolicy::Error {
            return Err(repeated(series, timestamp_ns, rows[1]));
        }
        let kept = rows[self.kept_of(2)];
        let group = Group { timestamp_ns, rows };
        self.compare(series, std::slice::from_ref(&group))?;
        if let Some(first) = self
            .first
            .take_if(|first| first.timestamp_ns == timestamp_ns)
        {
            // More rows of the timestamp of the first conflict: update the rows that the warning
            // names.
            let mut others = vec![first.kept, first.other, before, after];
            others.retain(|row| *row != kept);
            others.sort_by_key(|row| series.rank(*row));
            let mut named = first.other;
            for row in others {
                if self.differ(series, kept, row)? {
                    named = row;
                    break;
                }
            }
            self.first = Some(Conflict {
                timestamp_ns,
                kept,
                other: named,
            });
        }
        Ok(kept == before)
    }

    /// Whether two rows differ in a value.
    fn differ(&mut self, series: &Arc<OpenSeries>, a: u64, b: u64) -> Result<bool> {
        for field in 0..self.cursors.len() {
            let values = self.values(series, field, &[a.min(b), a.max(b)])?;
            if !is_same(values[0], values[1]) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The index of the row to keep among those of one timestamp.
    fn kept_of(&self, rows: usize) -> usize {
        match self.policy {
            DuplicatePolicy::First => 0,
            _ => rows - 1,
        }
    }

    /// Counts the groups with differing rows.
    fn compare(&mut self, series: &Arc<OpenSeries>, groups: &[Group]) -> Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        // The row that the others of its group are compared with.
        let base = |group: &Group| match self.policy {
            DuplicatePolicy::Identical => 0,
            _ => self.kept_of(group.rows.len()),
        };
        let bases: Vec<_> = groups.iter().map(base).collect();
        let mut rows: Vec<_> = groups
            .iter()
            .flat_map(|group| group.rows.iter().copied())
            .collect();
        rows.sort_unstable();
        let mut differ: Vec<Vec<bool>> = groups
            .iter()
            .map(|group| vec![false; group.rows.len()])
            .collect();
        for field in 0..self.cursors.len() {
            let values = self.values(series, field, &rows)?;
            let value = |row: u64| values[rows.partition_point(|&known| known < row)];
            for ((group, &base), differ) in groups.iter().zip(&bases).zip(&mut differ) {
                let of_base = value(group.rows[base]);
                for (row, differs) in group.rows.iter().zip(differ) {
                    *differs |= !is_same(value(*row), of_base);
                }
            }
        }
        for (group, differ) in groups.iter().zip(&differ) {
            let Some(other) = differ.iter().position(|differs| *differs) else {
                continue;
            };
            if self.policy == DuplicatePolicy::Identical {
                return Err(differing(series, group, group.rows[other]));
            }
            if self.counted_ns.insert(group.timestamp_ns) {
                self.conflicts += 1;
            }
            if self.first.is_none() {
                self.first = Some(Conflict {
                    timestamp_ns: group.timestamp_ns,
                    kept: group.rows[self.kept_of(group.rows.len())],
                    other: group.rows[other],
                });
            }
        }
        Ok(())
    }

    /// The values of a column in some ascending rows.
    fn values(&mut self, series: &Arc<OpenSeries>, field: usize, rows: &[u64]) -> Result<Vec<f64>> {
        let mut values = Vec::with_capacity(rows.len());
        for &row in rows {
            let cursor = self.cursors[field].take();
            let near = cursor
                .filter(|cursor| (cursor.position()..cursor.position() + NEAR_ROWS).contains(&row));
            let mut cursor = match near {
                Some(cursor) => cursor,
                None => ValueCursor::starting_at(series.clone(), field, row),
            };
            values.push(cursor.value_at(row)?);
            self.cursors[field] = Some(cursor);
        }
        Ok(values)
    }

    /// The warning about differing rows; `None` if all are equal.
    pub fn warning(&self, series: &OpenSeries) -> Option<Warning> {
        let first = self.first.as_ref()?;
        let (kept_file, kept_row) = series.place(first.kept);
        let (other_file, other_row) = series.place(first.other);
        let which = match self.policy {
            DuplicatePolicy::First => "first",
            _ => "last",
        };
        let (timestamps, have) = match self.conflicts {
            1 => ("timestamp", "has"),
            _ => ("timestamps", "have"),
        };
        let message = format!(
            "{}: {} {timestamps} {have} rows that differ, first {}: row {kept_row} of {} was kept, \
             the {which} by name and row, instead of row {other_row} of {}; choose a policy for \
             duplicates: last, first, identical or error",
            series.name,
            self.conflicts,
            format_timestamp(first.timestamp_ns),
            kept_file.display(),
            other_file.display(),
        );
        Some(
            Warning::new(Code::ConflictingDuplicates.name(), message)
                .at_file(kept_file)
                .at_series(&series.name),
        )
    }
}

/// Whether two values are equal numbers or both NaN.
fn is_same(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan()
}

fn repeated(series: &OpenSeries, timestamp_ns: i64, row: u64) -> Error {
    let message = format!(
        "duplicate timestamp {}: the series contains it twice",
        format_timestamp(timestamp_ns)
    );
    let error = Error::input(Code::DuplicateTimestamp, message);
    series.at_row(error, row).with_hint(hint![
        "remove one of the rows or choose ",
        Setting::Duplicates.to("identical"),
        ", last or first"
    ])
}

fn differing(series: &OpenSeries, group: &Group, row: u64) -> Error {
    let (file, other) = series.place(group.rows[0]);
    let message = format!(
        "duplicate timestamp {}: the values differ from row {other} of {}",
        format_timestamp(group.timestamp_ns),
        file.display()
    );
    let error = Error::input(Code::DuplicateTimestamp, message);
    series.at_row(error, row).with_hint(hint![
        "remove one of the rows or choose ",
        Setting::Duplicates.to("last"),
        " or first"
    ])
}
