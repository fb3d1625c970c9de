//! Reads columns with the Parquet library over ranges of a file, one row group at a time, and
//! checks the rows against the footer.
//!
//! The library reads pages as long as rows are requested, even past the end of a column chunk.
//! Bytes after the last page would then count as a page, fail, or stay unnoticed, depending on
//! batch sizes. So each row group is read separately, and always to its end.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelector,
};
use parquet::errors::ParquetError;

use super::RowRange;
use super::file::PositionedFile;
use super::limits::{LimitedFile, chunk_bytes};

/// Reads some columns over some row ranges, in batches that end with each row group.
pub(super) struct ArrayBatches {
    file: PositionedFile,
    metadata: ArrowReaderMetadata,
    leaves: Vec<usize>,
    ranges: VecDeque<RowRange>,
    batch_rows: usize,
    /// The current row range, and the number of its rows still to read.
    current: Option<(ParquetRecordBatchReader, usize)>,
}

impl ArrayBatches {
    /// Reads `ranges` in order, in batches of at most `batch_rows` rows.
    pub fn new(
        file: PositionedFile,
        metadata: ArrowReaderMetadata,
        leaves: &[usize],
        ranges: &[RowRange],
        batch_rows: usize,
    ) -> Self {
        Self {
            file,
            metadata,
            leaves: leaves.to_vec(),
            ranges: ranges.iter().copied().collect(),
            batch_rows,
            current: None,
        }
    }

    /// The next rows; `None` after the last ones.
    pub fn next(&mut self) -> Result<Option<RecordBatch>, ParquetError> {
        loop {
            if let Some((reader, left)) = &mut self.current {
                if let Some(batch) = reader.next().transpose()? {
                    *left = left
                        .checked_sub(batch.num_rows())
                        .ok_or_else(|| wrong_rows("more"))?;
                    return Ok(Some(batch));
                }
                if *left > 0 {
                    return Err(wrong_rows("fewer"));
                }
            }
            let Some(range) = self.ranges.pop_front() else {
                self.current = None;
                return Ok(None);
            };
            self.current = Some((self.open(range)?, range.rows));
        }
    }

    fn open(&self, range: RowRange) -> Result<ParquetRecordBatchReader, ParquetError> {
        let group = self.metadata.metadata().row_group(range.row_group);
        let columns = self.leaves.iter().map(|&leaf| group.column(leaf));
        let chunks: Vec<_> = columns
            .clone()
            .filter_map(|chunk| chunk_bytes(chunk).ok())
            .collect();
        let chunks: Vec<_> = chunks.into_iter().map(|(start, end)| start..end).collect();
        self.file.want(&chunks)?;
        let file = LimitedFile::new(self.file.clone(), columns)?;
        let leaves = self.leaves.iter().copied();
        let mask = ProjectionMask::leaves(self.metadata.parquet_schema(), leaves);
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_batch_size(self.batch_rows)
                .with_projection(mask)
                .with_row_groups(vec![range.row_group]);
        // Not negative: this was checked when the file was opened.
        let rows = group.num_rows() as usize;
        if range.rows < rows {
            let selectors = vec![
                RowSelector::skip(range.skip),
                RowSelector::select(range.rows),
                RowSelector::skip(rows - range.skip - range.rows),
            ];
            builder = builder.with_row_selection(selectors.into());
        }
        builder.build()
    }
}

fn wrong_rows(how_many: &str) -> ParquetError {
    ParquetError::General(format!(
        "a row group contains {how_many} rows than the footer states"
    ))
}
