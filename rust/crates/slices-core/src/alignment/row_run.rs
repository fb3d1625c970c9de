//! Says which rows of a series belong to which positions of a time index.

use std::ops::Range;

/// Set in [`RowRun::row`] if the row repeats. Row numbers of files are signed, so it is free.
const REPEATED: u64 = 1 << 63;

/// Consecutive positions of a time index, and the rows of one series at them: consecutive rows, or
/// one row that repeats. Series with gaps have a run every few rows, so it takes 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRun {
    position: u32,
    len: u32,
    /// The row at the first position, and [`REPEATED`].
    row: u64,
    /// The timestamp of a repeated row; 0 for consecutive rows.
    timestamp_ns: i64,
}

impl RowRun {
    /// Consecutive rows from `row` on at `len` positions from `position` on. Each has the same
    /// timestamp as its position. Positions fit into 32 bits.
    #[must_use]
    pub fn sequential(position: usize, row: u64, len: usize) -> Self {
        Self {
            position: position as u32,
            len: len as u32,
            row,
            timestamp_ns: 0,
        }
    }

    /// One row at every position: a carried or complete candle. Its timestamp is in nanoseconds
    /// UTC. Positions fit into 32 bits.
    #[must_use]
    pub fn repeated(position: usize, row: u64, len: usize, timestamp_ns: i64) -> Self {
        Self {
            position: position as u32,
            len: len as u32,
            row: row | REPEATED,
            timestamp_ns,
        }
    }

    /// The first position.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position as usize
    }

    /// The row at the first position.
    #[must_use]
    pub fn row(&self) -> u64 {
        self.row & !REPEATED
    }

    /// Number of positions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has no positions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether one row repeats.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.row & REPEATED != 0
    }

    /// The timestamp of a repeated row, nanoseconds UTC; `None` for sequential rows.
    #[must_use]
    pub fn repeated_ns(&self) -> Option<i64> {
        self.is_repeated().then_some(self.timestamp_ns)
    }

    /// The same positions, with another row at the first one.
    #[must_use]
    pub fn with_row(mut self, row: u64) -> Self {
        self.row = row | (self.row & REPEATED);
        self
    }

    /// The same rows from another position on.
    #[must_use]
    pub fn with_position(mut self, position: usize) -> Self {
        self.position = position as u32;
        self
    }

    /// The run, cut or extended to `len` positions.
    #[must_use]
    pub fn with_len(mut self, len: usize) -> Self {
        self.len = len as u32;
        self
    }

    /// The same positions and row, with another timestamp of a repeated row.
    #[must_use]
    pub fn with_repeated_ns(mut self, timestamp_ns: i64) -> Self {
        debug_assert!(self.is_repeated(), "other rows have their own timestamps");
        self.timestamp_ns = timestamp_ns;
        self
    }

    /// Whether `next` is the continuation of this run, so that both could be one.
    #[must_use]
    pub fn goes_on_with(&self, next: &Self) -> bool {
        self.repeated_ns() == next.repeated_ns()
            && self.positions().end == next.position()
            && self.row_at(self.len()) == next.row()
    }

    /// The range of positions.
    #[must_use]
    pub fn positions(&self) -> Range<usize> {
        self.position()..self.position() + self.len()
    }

    /// The part inside `positions`; empty if they do not overlap.
    #[must_use]
    pub fn within(&self, positions: &Range<usize>) -> Self {
        let start = self.position().max(positions.start);
        let end = self.positions().end.min(positions.end);
        self.with_row(self.row_at(start - self.position()))
            .with_position(start)
            .with_len(end.saturating_sub(start))
    }

    /// Its last row.
    #[must_use]
    pub fn last_row(&self) -> u64 {
        self.row_at(self.len().saturating_sub(1))
    }

    /// The row at the first position plus `places`.
    fn row_at(&self, places: usize) -> u64 {
        let advance = if self.is_repeated() { 0 } else { places };
        self.row() + advance as u64
    }
}
