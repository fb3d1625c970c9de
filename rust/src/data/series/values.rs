//! Owns reading one value of a series, such as its close, forwards over all its files.

use std::ops::Range;
use std::sync::Arc;

use crate::data::series::SeriesSource;
use crate::data::source::ValueReader;
use crate::error::Result;

/// Rows that are read at a time where nobody wants their values.
const UNWANTED_ROWS: usize = 1_024;

/// One of the five values of a series, row after row.
///
/// Every row is decoded, wanted or not: whether a file is sound must not depend on which of its
/// rows become slices.
pub(crate) struct ValueCursor {
    source: Arc<SeriesSource>,
    field: usize,
    ahead_rows: usize,
    /// The file that is being read.
    file: usize,
    /// Rows of the files before it.
    rows_before: u64,
    reader: Option<ValueReader>,
    /// The next row to be read.
    position: u64,
    /// Rows that are not in time order, read in whole: the first of them, and their values.
    shuffled: (u64, Vec<f64>),
}

impl ValueCursor {
    /// Of a column that is read in turns with others, `ahead_rows` rows are read at a time where
    /// coming back for fewer does not pay.
    pub fn new(source: Arc<SeriesSource>, field: usize, ahead_rows: usize) -> Self {
        Self {
            source,
            field,
            ahead_rows,
            file: 0,
            rows_before: 0,
            reader: None,
            position: 0,
            shuffled: (0, Vec::new()),
        }
    }

    /// The same, from a row on: those before it are not decoded.
    pub fn starting_at(source: Arc<SeriesSource>, field: usize, row: u64) -> Result<Self> {
        let mut cursor = Self::new(source, field, 0);
        while let Some(planned) = cursor.source.files.get(cursor.file)
            && row >= cursor.rows_before + planned.rows
        {
            cursor.rows_before += planned.rows;
            cursor.file += 1;
        }
        if let Some(planned) = cursor.source.files.get(cursor.file) {
            let ranges = planned.ranges_between(row - cursor.rows_before..planned.rows);
            let reader = planned.file.read_values(field, &ranges, 0);
            cursor.reader = Some(reader.map_err(|error| cursor.source.named(error))?);
        }
        cursor.position = row;
        Ok(cursor)
    }

    /// The next row to be read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Fills `into` with the next values. There must be so many.
    pub fn read(&mut self, into: &mut [f64]) -> Result<()> {
        self.read_unnamed(into)
            .map_err(|error| self.source.named(error))
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

    /// Reads all that is left, and checks what can only be checked then.
    pub fn finish(&mut self) -> Result<()> {
        self.shuffled = (0, Vec::new());
        self.skip_to(self.source.rows())?;
        self.end_files().map_err(|error| self.source.named(error))
    }

    fn read_unnamed(&mut self, into: &mut [f64]) -> Result<()> {
        let mut filled = 0;
        while filled < into.len() {
            self.end_files()?;
            let planned = &self.source.files[self.file];
            let left = self.rows_before + planned.rows - self.position;
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => self.reader.insert(planned.file.read_values(
                    self.field,
                    &planned.ranges,
                    self.ahead_rows,
                )?),
            };
            let missing = into.len() - filled;
            let rows = missing.min(usize::try_from(left).unwrap_or(usize::MAX));
            reader.read(&planned.file, &mut into[filled..filled + rows])?;
            self.position += rows as u64;
            filled += rows;
        }
        Ok(())
    }

    /// Leaves the files whose rows have all been read.
    fn end_files(&mut self) -> Result<()> {
        while let Some(planned) = self.source.files.get(self.file)
            && self.position == self.rows_before + planned.rows
        {
            if let Some(mut reader) = self.reader.take() {
                reader.finish(&planned.file)?;
            }
            self.rows_before += planned.rows;
            self.file += 1;
        }
        Ok(())
    }
}
