//! Reads the timestamps of a series before anything else. Finds the rows within reach and whether
//! they are in order. Keeps the timestamps if they take little memory.

use std::ops::Range;

use crate::kept_timestamps::KeptTimestamps;
use crate::series::SeriesRules;
use crate::series::segments::Order;
use slices_core::error::Result;
use slices_parquet::{Projection, RowRange, SeriesFile};

/// A pass over the timestamps of a series, file by file in name order.
pub(super) struct Scan<'a> {
    rules: &'a SeriesRules,
    previous_ns: i64,
    in_order: bool,
    /// Whether a timestamp may occur twice. True if the smallest possible timestamp occurs at all.
    pub repeats: bool,
    /// The timestamps of all rows that the second pass decodes, while they can be kept.
    pub runs: Option<KeptTimestamps>,
}

impl<'a> Scan<'a> {
    pub fn new(rules: &'a SeriesRules) -> Self {
        Self {
            rules,
            previous_ns: i64::MIN,
            in_order: true,
            repeats: false,
            // Delta runs hold timestamps only, not the begins of candles.
            runs: (!rules.time.needs_begins()).then(KeptTimestamps::default),
        }
    }

    /// The rows of a file from the first to the last within reach, per row group. Skips row groups
    /// whose statistics lie outside.
    pub fn file(&mut self, file: &SeriesFile) -> Result<Vec<RowRange>> {
        let mut ranges = Vec::new();
        for group in file.file().all_rows() {
            if group.rows > 0 && self.may_be_inside(file, group.row_group) {
                ranges.extend(self.rows_within(file, group, |_, _| Ok(()))?);
            }
        }
        Ok(ranges)
    }

    /// Returns the part of some rows from the first to the last within reach. Calls `check` for
    /// each batch of rows with the index of its first row.
    pub fn rows_within(
        &mut self,
        file: &SeriesFile,
        rows: RowRange,
        mut check: impl FnMut(usize, &[i64]) -> Result<()>,
    ) -> Result<Option<RowRange>> {
        let one = std::slice::from_ref(&rows);
        let mut reader = file.read(
            Projection::Timestamps,
            one,
            self.rules.chunk_rows.max(8_192),
        )?;
        let (mut first, mut last, mut kept, mut row) = (None, 0, 0, 0);
        while let Some(raw) = reader.next_rows()? {
            let timestamps = &raw.timestamps;
            check(row, timestamps)?;
            if let Some(part) = self.part_inside(timestamps) {
                first.get_or_insert(row + part.start);
                last = row + part.end - 1;
                kept += part.len();
                self.keep(&timestamps[part]);
            }
            row += timestamps.len();
        }
        if first.is_some_and(|first| last - first + 1 != kept) {
            // The range has rows out of reach between two batches; the runs do not.
            self.runs = None;
        }
        Ok(first.map(|first| RowRange {
            skip: rows.skip + first,
            rows: last - first + 1,
            ..rows
        }))
    }

    /// The order of the rows seen so far.
    pub fn order(&self) -> Order {
        if self.in_order {
            Order::Ascending
        } else {
            Order::Whole
        }
    }

    /// Adds decoded rows. All of them are kept, within reach or not.
    pub fn rows(&mut self, timestamps: &[i64]) {
        self.part_inside(timestamps);
        self.keep(timestamps);
    }

    fn may_be_inside(&self, file: &SeriesFile, row_group: usize) -> bool {
        file.timestamp_bounds(row_group)
            .is_none_or(|(min, max)| min <= self.rules.end_ns && self.rules.start_ns <= max)
    }

    /// Adds the order of the rows within reach. Returns the part from the first to the last of
    /// them.
    fn part_inside(&mut self, timestamps: &[i64]) -> Option<Range<usize>> {
        if !self.rules.has_window() {
            return self.all_inside(timestamps);
        }
        // Without an early end, so that the compiler compares many at once. Most pages lie outside.
        let in_reach = |at: &&i64| self.rules.in_reach(**at);
        match timestamps.iter().filter(in_reach).count() {
            0 => return None,
            all if all == timestamps.len() => return self.all_inside(timestamps),
            _ => {}
        }
        let mut part: Option<Range<usize>> = None;
        for (at, &timestamp_ns) in timestamps.iter().enumerate() {
            if !self.rules.in_reach(timestamp_ns) {
                continue;
            }
            self.in_order &= self.previous_ns <= timestamp_ns;
            self.repeats |= self.previous_ns == timestamp_ns;
            self.previous_ns = timestamp_ns;
            part.get_or_insert(at..at).end = at + 1;
        }
        part
    }

    fn all_inside(&mut self, timestamps: &[i64]) -> Option<Range<usize>> {
        let (&first, &last) = (timestamps.first()?, timestamps.last()?);
        // Without an early end, so that the compiler compares many at once.
        let pairs = || timestamps.windows(2);
        let descents = pairs().filter(|pair| pair[0] > pair[1]).count();
        let repeats = pairs().filter(|pair| pair[0] == pair[1]).count();
        self.in_order &= self.previous_ns <= first && descents == 0;
        self.repeats |= self.previous_ns == first || repeats > 0;
        self.previous_ns = last;
        Some(0..timestamps.len())
    }

    fn keep(&mut self, timestamps: &[i64]) {
        if let Some(runs) = &mut self.runs
            && !runs.extend(timestamps)
        {
            self.runs = None;
        }
    }
}
