//! Streams the rows of a series in file order, from any row on, in chunks of any length.

use super::{OpenSeries, SeriesRules};
use crate::kept_timestamps::KeptTimestamps;
use slices_core::error::Result;
use slices_parquet::{LastRange, Projection, RawRows, RowReader};

/// The decoded rows of a series, in file order.
pub(super) struct RowStream {
    projection: Projection,
    file: usize,
    reader: Option<Box<RowReader>>,
    /// The remaining timestamps, if an earlier pass kept them.
    runs: Option<KeptTimestamps>,
    /// Number of rows of the next file that were already returned.
    skip: u64,
    /// Decoded rows that were not returned yet.
    decoded: Option<RawRows>,
    /// The next row to return.
    position: u64,
    /// The row before which the stream ends. Then a dictionary may be read in part.
    end: u64,
}

impl RowStream {
    /// Streams the rows before `end`. Uses `runs` if an earlier pass kept all timestamps.
    pub fn new(projection: Projection, runs: Option<KeptTimestamps>, end: u64) -> Self {
        Self {
            end,
            projection,
            file: 0,
            reader: None,
            runs,
            skip: 0,
            decoded: None,
            position: 0,
        }
    }

    /// The next row to return.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// At most `limit` of the next rows, never an empty chunk. `None` after the last one.
    pub fn next(
        &mut self,
        series: &OpenSeries,
        rules: &SeriesRules,
        limit: u64,
    ) -> Result<Option<RawRows>> {
        let limit = limit.min(self.end - self.position);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if limit == 0 {
            return Ok(None);
        }
        if let Some(runs) = &mut self.runs {
            let timestamps = runs.read(rules.chunk_rows.min(limit));
            self.position += timestamps.len() as u64;
            return Ok((!timestamps.is_empty()).then(|| RawRows {
                timestamps: timestamps.into(),
                begins: None,
                values: None,
            }));
        }
        while self.decoded.is_none() {
            let Some(selected) = series.files.get(self.file) else {
                return Ok(None);
            };
            if self.reader.is_none() && selected.rows > 0 {
                let skip = std::mem::take(&mut self.skip);
                let rows = skip..skip + self.end - self.position;
                let ranges = selected.ranges_between(rows.clone());
                let last = if !rules.has_window() && selected.cuts_last_range(&rows) {
                    LastRange::Beginning
                } else {
                    LastRange::Whole
                };
                let reader = selected.file.read_beginning(
                    self.projection,
                    &ranges,
                    rules.chunk_rows,
                    last,
                )?;
                self.reader = Some(Box::new(reader));
            }
            self.decoded = match &mut self.reader {
                Some(reader) => reader.next_rows()?,
                None => None,
            };
            if self.decoded.is_none() {
                self.reader = None;
                self.file += 1;
            }
        }
        let Some(decoded) = self.decoded.take() else {
            return Ok(None);
        };
        let len = limit.min(decoded.timestamps.len());
        if len < decoded.timestamps.len() {
            self.decoded = Some(decoded.slice(len, decoded.timestamps.len() - len));
        }
        self.position += len as u64;
        Ok(Some(decoded.slice(0, len)))
    }

    /// Moves to a row, and streams from there to the end of the series. Uses `runs` if they hold
    /// the timestamps of all rows from there on.
    pub fn go_to(&mut self, row: u64, series: &OpenSeries, runs: Option<KeptTimestamps>) {
        *self = Self {
            skip: row,
            position: row,
            ..Self::new(self.projection, runs, series.rows())
        };
        while let Some(selected) = series.files.get(self.file)
            && self.skip >= selected.rows
        {
            self.skip -= selected.rows;
            self.file += 1;
        }
    }
}
