//! Says which rows of a series belong to which positions of a time index.

use std::ops::Range;

/// Consecutive positions of a time index, and the rows of one series at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowRun {
    /// Consecutive rows, one per position, with the same timestamp as the position.
    Sequential {
        /// The first position.
        position: usize,
        /// The row at the first position.
        row: u64,
        /// Number of positions.
        len: usize,
    },
    /// One row at every position: a carried or complete candle.
    Repeated {
        /// The first position.
        position: usize,
        /// The row at all positions.
        row: u64,
        /// Number of positions.
        len: usize,
        /// The timestamp of the row, nanoseconds UTC.
        timestamp_ns: i64,
    },
}

impl RowRun {
    /// The first position.
    #[must_use]
    pub fn position(&self) -> usize {
        let (Self::Sequential { position, .. } | Self::Repeated { position, .. }) = *self;
        position
    }

    /// The row at the first position.
    #[must_use]
    pub fn row(&self) -> u64 {
        let (Self::Sequential { row, .. } | Self::Repeated { row, .. }) = *self;
        row
    }

    /// Number of positions.
    #[must_use]
    pub fn len(&self) -> usize {
        let (Self::Sequential { len, .. } | Self::Repeated { len, .. }) = *self;
        len
    }

    /// Whether it has no positions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The timestamp of a repeated row, nanoseconds UTC; `None` for sequential rows.
    #[must_use]
    pub fn repeated_ns(&self) -> Option<i64> {
        match *self {
            Self::Sequential { .. } => None,
            Self::Repeated { timestamp_ns, .. } => Some(timestamp_ns),
        }
    }

    /// The same positions, with another row at the first one.
    #[must_use]
    pub fn with_row(mut self, new_row: u64) -> Self {
        let (Self::Sequential { row, .. } | Self::Repeated { row, .. }) = &mut self;
        *row = new_row;
        self
    }

    /// The same rows from another position on.
    #[must_use]
    pub fn with_position(mut self, new_position: usize) -> Self {
        let (Self::Sequential { position, .. } | Self::Repeated { position, .. }) = &mut self;
        *position = new_position;
        self
    }

    /// Whether `next` is the continuation of this run, so that both could be one.
    #[must_use]
    pub fn goes_on_with(&self, next: &Self) -> bool {
        let next_row = match self {
            Self::Sequential { row, len, .. } => row + *len as u64,
            Self::Repeated { row, .. } => *row,
        };
        self.repeated_ns() == next.repeated_ns()
            && self.positions().end == next.position()
            && next_row == next.row()
    }

    /// The run, cut or extended to `new_len` positions.
    #[must_use]
    pub fn with_len(mut self, new_len: usize) -> Self {
        let (Self::Sequential { len, .. } | Self::Repeated { len, .. }) = &mut self;
        *len = new_len;
        self
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
        let new_len = end.saturating_sub(start);
        match *self {
            Self::Sequential { position, row, .. } => Self::Sequential {
                position: start,
                row: row + (start - position) as u64,
                len: new_len,
            },
            Self::Repeated {
                row, timestamp_ns, ..
            } => Self::Repeated {
                position: start,
                row,
                len: new_len,
                timestamp_ns,
            },
        }
    }

    /// Its last row.
    #[must_use]
    pub fn last_row(&self) -> u64 {
        match *self {
            Self::Sequential { row, len, .. } => row + len.saturating_sub(1) as u64,
            Self::Repeated { row, .. } => row,
        }
    }
}
