//! Owns reading one value column of a file, some rows at a time, as float64.
//!
//! Doubles, which is what candles nearly always are, go from the page into the caller's memory
//! without an array between; every other type takes the way over Arrow's arrays.

use arrow::buffer::ScalarBuffer;
use parquet::basic::Type as PhysicalType;

use super::arrays::ArrayBatches;
use super::columns::float64;
use super::file::PositionedFile;
use super::row_ranges::FixedWidthRanges;
use super::{RowRange, SourceFile};
use crate::error::{Error, Result};

/// Rows per array where the values have to be converted.
const ARRAY_ROWS: usize = 4_096;

/// One value column over some ranges of a file, read forwards. Needs its [`SourceFile`] at every
/// step.
pub(crate) struct ValueReader {
    file: PositionedFile,
    /// Which of the columns of numbers.
    field: usize,
    /// Rows that have been read, and how many there are.
    read: usize,
    rows: usize,
    /// Rows that are read at a time by a wide dictionary; none are where that is 0.
    ahead_rows: usize,
    decoder: Decoder,
}

enum Decoder {
    Flat {
        ranges: Box<FixedWidthRanges>,
        /// Values that were read ahead, and how many of them were handed on.
        ahead: Vec<f64>,
        used: usize,
    },
    Arrays {
        reader: ArrayBatches,
        decoded: ScalarBuffer<f64>,
    },
}

impl SourceFile {
    /// Reads one of the columns of numbers over `ranges`, in their order. By a wide dictionary, up to
    /// `ahead_rows` rows are read whenever it is visited.
    pub fn read_values(
        &self,
        field: usize,
        ranges: &[RowRange],
        ahead_rows: usize,
    ) -> Result<ValueReader> {
        let file = self.opened()?;
        let leaf = self.values[field].leaf;
        let decoder = if self.physical_type(leaf) == PhysicalType::DOUBLE {
            Decoder::Flat {
                ranges: Box::new(FixedWidthRanges::new(file.clone(), leaf, ranges)),
                ahead: Vec::new(),
                used: 0,
            }
        } else {
            self.value_arrays(&file, field, ranges)
        };
        Ok(ValueReader {
            file,
            field,
            read: 0,
            rows: ranges.iter().map(|range| range.rows).sum(),
            ahead_rows,
            decoder,
        })
    }

    fn value_arrays(&self, file: &PositionedFile, field: usize, ranges: &[RowRange]) -> Decoder {
        Decoder::Arrays {
            reader: self.arrays(file, &[self.values[field].leaf], ranges, ARRAY_ROWS),
            decoded: ScalarBuffer::from(Vec::new()),
        }
    }
}

impl ValueReader {
    /// Fills `into` with the next values; a null is NaN. There must be so many rows left.
    pub fn read(&mut self, source: &SourceFile, into: &mut [f64]) -> Result<()> {
        let mut filled = 0;
        while filled < into.len() {
            let rest = &mut into[filled..];
            let rows = match &mut self.decoder {
                Decoder::Flat { ahead, used, .. } if *used < ahead.len() => {
                    let rows = rest.len().min(ahead.len() - *used);
                    rest[..rows].copy_from_slice(&ahead[*used..*used + rows]);
                    *used += rows;
                    rows
                }
                Decoder::Flat {
                    ranges,
                    ahead,
                    used,
                } => {
                    let reads_ahead = rest.len() < self.ahead_rows && ranges.has_wide_dictionary();
                    let read = if reads_ahead {
                        ahead.resize(self.ahead_rows, f64::NAN);
                        let read = ranges.read(source, ahead)?;
                        ahead.truncate(read.rows);
                        *used = 0;
                        read
                    } else {
                        ranges.read(source, rest)?
                    };
                    if read.unsupported_encoding && read.rows == 0 {
                        self.decoder = source.value_arrays(&self.file, self.field, &ranges.rest());
                    } else if read.rows == 0 {
                        return Err(self.fewer_rows(source));
                    }
                    if reads_ahead { 0 } else { read.rows }
                }
                Decoder::Arrays { reader, decoded } => {
                    if decoded.is_empty() {
                        let Some(next) = next_array(reader, &self.file, source, self.field)? else {
                            return Err(self.fewer_rows(source));
                        };
                        *decoded = next;
                    }
                    let rows = rest.len().min(decoded.len());
                    rest[..rows].copy_from_slice(&decoded[..rows]);
                    *decoded = decoded.slice(rows, decoded.len() - rows);
                    rows
                }
            };
            filled += rows;
            self.read += rows;
        }
        Ok(())
    }

    /// Checks what can only be checked once every row has been read.
    pub fn finish(&mut self, source: &SourceFile) -> Result<()> {
        if let Decoder::Arrays { reader, decoded } = &mut self.decoder
            && (!decoded.is_empty()
                || next_array(reader, &self.file, source, self.field)?.is_some())
        {
            return Err(source
                .more_rows()
                .at_column(&source.values[self.field].name));
        }
        self.file.check()
    }

    fn fewer_rows(&self, source: &SourceFile) -> Error {
        source
            .fewer_rows(self.read, self.rows)
            .at_column(&source.values[self.field].name)
    }
}

/// The next values as an array; `None` after the last ones. Never an empty one.
fn next_array(
    reader: &mut ArrayBatches,
    file: &PositionedFile,
    source: &SourceFile,
    field: usize,
) -> Result<Option<ScalarBuffer<f64>>> {
    let batch = file.guarded(|| reader.next());
    let batch = batch.map_err(|error| error.at_column(&source.values[field].name))?;
    Ok(batch.map(|batch| float64(batch.column(0))))
}
