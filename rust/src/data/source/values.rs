//! Owns reading one value column of a file, some rows at a time, as float64.
//!
//! Plain doubles, which is what candles nearly always are, go from the page into the caller's
//! memory without an array between; every other type takes the way over Arrow's arrays.

use std::sync::Arc;

use arrow::buffer::ScalarBuffer;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::basic::Type as PhysicalType;
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::DoubleType;
use parquet::errors::ParquetError;
use parquet::file::serialized_reader::SerializedPageReader;

use super::columns::float64;
use super::file::{PositionedFile, guarded};
use super::{SourceFile, Span};
use crate::data::candle::VALUES_PER_CANDLE;
use crate::error::Result;

/// Rows per array where the values have to be converted.
const ARRAY_ROWS: usize = 4_096;

/// One value column over some spans of a file, read forwards. Needs its [`SourceFile`] at every
/// step.
pub(crate) struct ValueReader {
    file: PositionedFile,
    /// Which of the five values.
    field: usize,
    spans: Vec<Span>,
    /// The span that is being read.
    span: usize,
    /// Rows of it that have been read.
    read: usize,
    decoder: Option<Decoder>,
}

enum Decoder {
    Doubles {
        reader: Box<ColumnReaderImpl<DoubleType>>,
        /// For each row of one step, 1 where it is not null; used where the column may hold nulls.
        levels: Vec<i16>,
    },
    Arrays {
        reader: ParquetRecordBatchReader,
        decoded: ScalarBuffer<f64>,
    },
}

impl SourceFile {
    /// Reads one of the five value columns over `spans`, in their order.
    pub fn read_values(&self, field: usize, spans: &[Span]) -> Result<ValueReader> {
        debug_assert!(field < VALUES_PER_CANDLE);
        Ok(ValueReader {
            file: self.opened()?,
            field,
            spans: spans.to_vec(),
            span: 0,
            read: 0,
            decoder: None,
        })
    }

    fn value_decoder(
        &self,
        file: &PositionedFile,
        field: usize,
        span: Span,
    ) -> Result<Decoder, ParquetError> {
        let leaf = self.values[field].leaf;
        let group = self.metadata.metadata().row_group(span.row_group);
        let descriptor = self.metadata.parquet_schema().column(leaf);
        if descriptor.physical_type() != PhysicalType::DOUBLE {
            let one = std::slice::from_ref(&span);
            let metadata = self.metadata.clone();
            return Ok(Decoder::Arrays {
                reader: self.batches(file.clone(), metadata, &[leaf], one, ARRAY_ROWS)?,
                decoded: ScalarBuffer::from(Vec::new()),
            });
        }
        // Checked when the file was opened: a row count is not negative.
        let rows = group.num_rows() as usize;
        let pages =
            SerializedPageReader::new(Arc::new(file.clone()), group.column(leaf), rows, None)?;
        let mut reader = get_typed_column_reader(get_column_reader(descriptor, Box::new(pages)));
        if reader.skip_records(span.skip)? < span.skip {
            return Err(ParquetError::EOF("a column ends too early".to_owned()));
        }
        Ok(Decoder::Doubles {
            reader: Box::new(reader),
            levels: Vec::new(),
        })
    }
}

impl ValueReader {
    /// Appends the next `rows` values to `into`; a null is NaN. There must be so many.
    pub fn read(&mut self, source: &SourceFile, rows: usize, into: &mut Vec<f64>) -> Result<()> {
        let mut missing = rows;
        while missing > 0 {
            let Some(&span) = self.spans.get(self.span) else {
                debug_assert!(false, "more rows were asked for than the spans hold");
                return Err(source.fewer_rows(rows - missing, rows));
            };
            let wanted = missing.min(span.rows - self.read);
            let before = into.len();
            self.step(source, span, wanted, into)?;
            let got = into.len() - before;
            if got == 0 && wanted > 0 {
                return Err(source
                    .fewer_rows(span.skip + self.read, span.skip + span.rows)
                    .at_column(&source.values[self.field].name));
            }
            self.read += got;
            missing -= got;
            if self.read == span.rows {
                self.end_span(source, span)?;
            }
        }
        Ok(())
    }

    /// Checks what can only be checked once every row has been read.
    pub fn finish(&self, source: &SourceFile) -> Result<()> {
        source.check_still(&self.file)
    }

    /// Reads at most `rows` rows of the current span; none only where it has no more.
    fn step(
        &mut self,
        source: &SourceFile,
        span: Span,
        rows: usize,
        into: &mut Vec<f64>,
    ) -> Result<()> {
        let Self {
            file,
            field,
            decoder,
            ..
        } = self;
        guarded(&source.path, || {
            let decoder = match decoder {
                Some(decoder) => decoder,
                None => decoder.insert(source.value_decoder(file, *field, span)?),
            };
            decoder.step(rows, into)
        })
        .map_err(|error| error.at_column(&source.values[*field].name))
    }

    /// Goes to the next span; a row group that was read to its end must have no row left.
    fn end_span(&mut self, source: &SourceFile, span: Span) -> Result<()> {
        let group = source.metadata.metadata().row_group(span.row_group);
        if (span.skip + span.rows) as i64 == group.num_rows() {
            let mut beyond = Vec::new();
            self.step(source, span, 1, &mut beyond)?;
            if !beyond.is_empty() {
                return Err(source
                    .more_rows()
                    .at_column(&source.values[self.field].name));
            }
        }
        self.span += 1;
        self.read = 0;
        self.decoder = None;
        Ok(())
    }
}

impl Decoder {
    fn step(&mut self, rows: usize, into: &mut Vec<f64>) -> Result<(), ParquetError> {
        match self {
            Self::Doubles { reader, levels } => {
                let start = into.len();
                levels.clear();
                let (rows, values, _) = reader.read_records(rows, Some(levels), None, into)?;
                if values < rows {
                    if levels.iter().filter(|&&level| level == 1).count() != values {
                        return Err(ParquetError::General("impossible levels".to_owned()));
                    }
                    spread(into, start, levels);
                }
            }
            Self::Arrays { reader, decoded } => {
                while decoded.is_empty() {
                    let Some(batch) = reader.next().transpose()? else {
                        return Ok(());
                    };
                    *decoded = float64(batch.column(0));
                }
                let rows = rows.min(decoded.len());
                into.extend_from_slice(&decoded[..rows]);
                *decoded = decoded.slice(rows, decoded.len() - rows);
            }
        }
        Ok(())
    }
}

/// Moves the values from `start` on, which stand side by side, to the rows that they belong to.
fn spread(values: &mut Vec<f64>, start: usize, levels: &[i16]) {
    let mut from = values.len();
    values.resize(start + levels.len(), f64::NAN);
    // From the end, so that no value is overwritten before it was moved.
    for (row, &level) in levels.iter().enumerate().rev() {
        values[start + row] = if level == 1 {
            from -= 1;
            values[from]
        } else {
            f64::NAN
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_to_the_rows_that_are_not_null() {
        let mut values = vec![9.0, 1.0, 2.0, 3.0];
        spread(&mut values, 1, &[0, 1, 0, 0, 1, 1, 0]);
        assert_eq!(values[..1], [9.0]);
        let rows: Vec<_> = values[1..].iter().map(ToString::to_string).collect();
        assert_eq!(rows, ["NaN", "1", "NaN", "NaN", "2", "3", "NaN"]);
    }
}
