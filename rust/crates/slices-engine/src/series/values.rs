//! Reads one value of a series, such as its close, forwards over all its files.

use std::ops::Range;
use std::sync::Arc;

use crate::series::SeriesSource;
use slices_core::error::Result;
use slices_parquet::{ColumnCursor, FileColumn};

/// Rows that are read at a time where their values are not wanted.
const UNWANTED_ROWS: usize = 1_024;

/// One of the values of a series, row after row.
///
/// Every row is decoded, wanted or not: whether a file is sound must not depend on which of its rows become
/// slices.
pub struct ValueCursor {
    source: Arc<SeriesSource>,
    column: ColumnCursor<f64>,
    /// The next row to be read.
    position: u64,
    /// Rows that are not in time order, read in whole: the first of them, and their values.
    shuffled: (u64, Vec<f64>),
}

impl ValueCursor {
    /// Of a column that is read in turns with others, `ahead_rows` rows are read at a time where coming back
    /// for fewer does not pay.
    pub fn new(source: Arc<SeriesSource>, field: usize, ahead_rows: usize) -> Self {
        let column = ColumnCursor::new(source.ranges.clone(), FileColumn::Value(field));
        Self {
            column: column.with_ahead_rows(ahead_rows),
            source,
            position: 0,
            shuffled: (0, Vec::new()),
        }
    }

    /// The same, from a row on: those before it are not decoded.
    pub fn starting_at(source: Arc<SeriesSource>, field: usize, row: u64) -> Self {
        let cursor = Self::new(source, field, 0);
        Self {
            column: cursor.column.starting_at(row),
            position: row,
            ..cursor
        }
    }

    /// The next row to be read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Fills `into` with the next values, NaN for a null. There must be as many.
    pub fn read(&mut self, into: &mut [f64]) -> Result<()> {
        let read = self.column.read(into);
        read.map_err(|error| self.source.named(error))?;
        self.position += into.len() as u64;
        Ok(())
    }

    /// Reads on to `row`, which must not lie behind.
    pub fn skip_to(&mut self, row: u64) -> Result<()> {
        while self.position < row {
            let mut unwanted = [0.0; UNWANTED_ROWS];
            let rows = (row - self.position).min(UNWANTED_ROWS as u64);
            self.read(&mut unwanted[..rows as usize])?;
        }
        Ok(())
    }

    /// The value at `row`, which must not lie behind.
    pub fn value_at(&mut self, row: u64) -> Result<f64> {
        self.skip_to(row)?;
        let mut one = [0.0];
        self.read(&mut one)?;
        Ok(one[0])
    }

    /// The value at `row`, one of `rows` that may be asked for in any order.
    pub fn value_in(&mut self, rows: &Range<u64>, row: u64) -> Result<f64> {
        debug_assert!(rows.contains(&row));
        if self.position <= rows.start {
            self.skip_to(rows.start)?;
            let (_, mut values) = std::mem::take(&mut self.shuffled);
            values.resize((rows.end - rows.start) as usize, f64::NAN);
            self.read(&mut values)?;
            self.shuffled = (rows.start, values);
        }
        let (first, values) = &self.shuffled;
        Ok(values[(row - first) as usize])
    }

    /// Reads all that is left, and so checks what can only be checked then.
    pub fn finish(&mut self) -> Result<()> {
        self.shuffled = (0, Vec::new());
        self.skip_to(self.source.rows())
    }
}
