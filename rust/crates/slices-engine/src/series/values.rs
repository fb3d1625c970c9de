//! Reads one value column of a series, such as the close, forward over all files.

use std::ops::Range;
use std::sync::Arc;

use crate::series::OpenSeries;
use crate::spill::SpilledColumn;
use slices_core::error::Result;
use slices_parquet::{ColumnCursor, FileColumn};

/// Number of rows to read at a time while skipping.
const UNWANTED_ROWS: usize = 1_024;

/// One value column of a series, row by row.
///
/// Decodes every row, wanted or not. Otherwise the rows that become slices would decide whether an
/// error in a file is found.
pub struct ValueCursor {
    series: Arc<OpenSeries>,
    source: Source,
    /// The next row to be read.
    position: u64,
    /// Rows that are not in time order: the first of them, and the values of all.
    shuffled: (u64, Vec<f64>),
}

/// Where the values come from.
enum Source {
    Files(ColumnCursor<f64>),
    Spilled(SpilledColumn),
}

impl ValueCursor {
    /// Creates a cursor at the first row. If several columns are read in turns, `ahead_rows` rows
    /// are decoded at a time where fewer do not pay.
    pub fn new(series: Arc<OpenSeries>, field: usize, ahead_rows: usize) -> Self {
        let column = ColumnCursor::new(series.ranges.clone(), FileColumn::Value(field));
        let column = column.with_ahead_rows(ahead_rows);
        Self::of(series, Source::Files(column))
    }

    /// Creates a cursor at the first row of a column that was decoded before.
    pub fn spilled(series: Arc<OpenSeries>, column: SpilledColumn) -> Self {
        Self::of(series, Source::Spilled(column))
    }

    fn of(series: Arc<OpenSeries>, source: Source) -> Self {
        Self {
            series,
            source,
            position: 0,
            shuffled: (0, Vec::new()),
        }
    }

    /// Creates a cursor at a row. Does not decode the rows before it.
    pub fn starting_at(series: Arc<OpenSeries>, field: usize, row: u64) -> Self {
        let column = ColumnCursor::new(series.ranges.clone(), FileColumn::Value(field));
        Self {
            position: row,
            ..Self::of(series, Source::Files(column.starting_at(row)))
        }
    }

    /// The next row to be read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Fills `into` with the next values, NaN for a null. That many rows must remain.
    pub fn read(&mut self, into: &mut [f64]) -> Result<()> {
        match &mut self.source {
            Source::Files(column) => {
                let read = column.read(into);
                read.map_err(|error| self.series.named(error))?;
            }
            // A failure of decoding names the series already.
            Source::Spilled(column) => column.read(into)?,
        }
        self.position += into.len() as u64;
        Ok(())
    }

    /// Skips to `row`, which must not lie before the position.
    pub fn skip_to(&mut self, row: u64) -> Result<()> {
        if let Source::Spilled(column) = &mut self.source {
            column.skip_to(row)?;
            self.position = self.position.max(row);
        }
        while self.position < row {
            let mut unwanted = [0.0; UNWANTED_ROWS];
            let rows = (row - self.position).min(UNWANTED_ROWS as u64);
            self.read(&mut unwanted[..rows as usize])?;
        }
        Ok(())
    }

    /// The value at `row`, which must not lie before the position.
    pub fn value_at(&mut self, row: u64) -> Result<f64> {
        self.skip_to(row)?;
        let mut one = [0.0];
        self.read(&mut one)?;
        Ok(one[0])
    }

    /// The value at `row`, one of `rows`, which may be requested in any order.
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

    /// Reads the remaining rows, which checks the rest of the files.
    pub fn finish(&mut self) -> Result<()> {
        self.shuffled = (0, Vec::new());
        self.skip_to(self.series.rows())
    }
}
