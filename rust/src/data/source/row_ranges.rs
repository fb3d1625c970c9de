//! Owns reading one flat column over some ranges of its file, row group after row group, held against
//! what the footer says.

use super::file::PositionedFile;
use super::fixed_width::{ColumnRead, FixedWidth, FixedWidthColumn};
use super::{RowRange, SourceFile};
use crate::error::Result;

/// One column over some ranges of a file. Needs its [`SourceFile`] at every step.
pub(super) struct FixedWidthRanges {
    file: PositionedFile,
    leaf: usize,
    ranges: Vec<RowRange>,
    /// The range that is being read, and rows of it that have been read.
    range: usize,
    read: usize,
    column: Option<FixedWidthColumn>,
    /// Whether the last range is the beginning of what will be read of its row group.
    goes_on: bool,
}

impl FixedWidthRanges {
    pub fn new(file: PositionedFile, leaf: usize, ranges: &[RowRange]) -> Self {
        Self {
            file,
            leaf,
            ranges: ranges.to_vec(),
            range: 0,
            read: 0,
            column: None,
            goes_on: false,
        }
    }

    /// The same, where another reader will read what is left of the last row group, or fail.
    pub fn going_on(self, goes_on: bool) -> Self {
        Self { goes_on, ..self }
    }

    /// Fills `into` with the next rows. Fewer are read only at the end of the ranges, and before a
    /// page that is left to the library.
    pub fn read<T: FixedWidth>(
        &mut self,
        source: &SourceFile,
        into: &mut [T],
    ) -> Result<ColumnRead> {
        let mut read = ColumnRead::default();
        while read.rows < into.len()
            && let Some(&range) = self.ranges.get(self.range)
        {
            let wanted = (into.len() - read.rows).min(range.rows - self.read);
            let step = self.step(source, range, &mut into[read.rows..read.rows + wanted])?;
            read.first_null = read
                .first_null
                .or(step.first_null.map(|row| read.rows + row));
            read.rows += step.rows;
            read.unsupported_encoding = step.unsupported_encoding && step.rows < wanted;
            self.read += step.rows;
            if read.unsupported_encoding {
                break;
            }
            if step.rows < wanted {
                return Err(source
                    .fewer_rows(range.skip + self.read, range.skip + range.rows)
                    .at_column(source.column_name(self.leaf)));
            }
            if self.read == range.rows {
                self.end_range(source, range)?;
            }
        }
        Ok(read)
    }

    /// Whether it pays to read many rows at a time.
    pub fn has_wide_dictionary(&self) -> bool {
        self.column
            .as_ref()
            .is_some_and(FixedWidthColumn::has_wide_dictionary)
    }

    /// What has not been read.
    pub fn rest(&self) -> Vec<RowRange> {
        let mut rest = self.ranges[self.range..].to_vec();
        if let Some(first) = rest.first_mut() {
            first.skip += self.read;
            first.rows -= self.read;
        }
        rest
    }

    fn step<T: FixedWidth>(
        &mut self,
        source: &SourceFile,
        range: RowRange,
        into: &mut [T],
    ) -> Result<ColumnRead> {
        let is_beginning = self.goes_on && self.range + 1 == self.ranges.len();
        let Self {
            file, leaf, column, ..
        } = self;
        file.guarded(|| {
            let column = match column {
                Some(column) => column,
                None => {
                    let group = source.metadata.metadata().row_group(range.row_group);
                    // Checked when the file was opened: a row count is not negative.
                    let rows = group.num_rows() as usize;
                    let first = is_beginning.then_some(range.skip + range.rows);
                    let chunk = group.column(*leaf);
                    let mut opened = FixedWidthColumn::new(file.clone(), chunk, rows, first)?;
                    let skipped = opened.skip(range.skip)?;
                    if skipped.rows < range.skip {
                        return Ok(ColumnRead { rows: 0, ..skipped });
                    }
                    column.insert(opened)
                }
            };
            column.read(into)
        })
        .map_err(|error| error.at_column(source.column_name(*leaf)))
    }

    /// Goes to the next range; a row group that was read to its end must have no row left.
    fn end_range(&mut self, source: &SourceFile, range: RowRange) -> Result<()> {
        let group = source.metadata.metadata().row_group(range.row_group);
        if (range.skip + range.rows) as i64 == group.num_rows()
            && self.step(source, range, &mut [0_i64])?.rows > 0
        {
            return Err(source.more_rows().at_column(source.column_name(self.leaf)));
        }
        self.range += 1;
        self.read = 0;
        self.column = None;
        Ok(())
    }
}
