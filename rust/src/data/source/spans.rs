//! Owns reading one flat column over some spans of its file, row group after row group, held against
//! what the footer says.

use super::file::PositionedFile;
use super::flat::{EightBytes, FlatColumn, FlatRead};
use super::{SourceFile, Span};
use crate::error::Result;

/// One column over some spans of a file. Needs its [`SourceFile`] at every step.
pub(super) struct FlatSpans {
    file: PositionedFile,
    leaf: usize,
    spans: Vec<Span>,
    /// The span that is being read, and rows of it that have been read.
    span: usize,
    read: usize,
    column: Option<FlatColumn>,
    /// Whether the last span is the beginning of what will be read of its row group.
    goes_on: bool,
}

impl FlatSpans {
    pub fn new(file: PositionedFile, leaf: usize, spans: &[Span]) -> Self {
        Self {
            file,
            leaf,
            spans: spans.to_vec(),
            span: 0,
            read: 0,
            column: None,
            goes_on: false,
        }
    }

    /// The same, where another reader will read what is left of the last row group, or fail.
    pub fn going_on(self, goes_on: bool) -> Self {
        Self { goes_on, ..self }
    }

    /// Fills `into` with the next rows. Fewer are read only at the end of the spans, and before a
    /// page that is left to the library.
    pub fn read<T: EightBytes>(&mut self, source: &SourceFile, into: &mut [T]) -> Result<FlatRead> {
        let mut read = FlatRead::default();
        while read.rows < into.len()
            && let Some(&span) = self.spans.get(self.span)
        {
            let wanted = (into.len() - read.rows).min(span.rows - self.read);
            let step = self.step(source, span, &mut into[read.rows..read.rows + wanted])?;
            read.first_null = read
                .first_null
                .or(step.first_null.map(|row| read.rows + row));
            read.rows += step.rows;
            read.foreign = step.foreign && step.rows < wanted;
            self.read += step.rows;
            if read.foreign {
                break;
            }
            if step.rows < wanted {
                return Err(source
                    .fewer_rows(span.skip + self.read, span.skip + span.rows)
                    .at_column(source.column_name(self.leaf)));
            }
            if self.read == span.rows {
                self.end_span(source, span)?;
            }
        }
        Ok(read)
    }

    /// Whether it pays to read many rows at a time.
    pub fn has_wide_dictionary(&self) -> bool {
        self.column
            .as_ref()
            .is_some_and(FlatColumn::has_wide_dictionary)
    }

    /// What has not been read.
    pub fn rest(&self) -> Vec<Span> {
        let mut rest = self.spans[self.span..].to_vec();
        if let Some(first) = rest.first_mut() {
            first.skip += self.read;
            first.rows -= self.read;
        }
        rest
    }

    fn step<T: EightBytes>(
        &mut self,
        source: &SourceFile,
        span: Span,
        into: &mut [T],
    ) -> Result<FlatRead> {
        let is_beginning = self.goes_on && self.span + 1 == self.spans.len();
        let Self {
            file, leaf, column, ..
        } = self;
        file.guarded(|| {
            let column = match column {
                Some(column) => column,
                None => {
                    let group = source.metadata.metadata().row_group(span.row_group);
                    // Checked when the file was opened: a row count is not negative.
                    let rows = group.num_rows() as usize;
                    let first = is_beginning.then_some(span.skip + span.rows);
                    let chunk = group.column(*leaf);
                    let mut opened = FlatColumn::new(file.clone(), chunk, rows, first)?;
                    let skipped = opened.skip(span.skip)?;
                    if skipped.rows < span.skip {
                        return Ok(FlatRead { rows: 0, ..skipped });
                    }
                    column.insert(opened)
                }
            };
            column.read(into)
        })
        .map_err(|error| error.at_column(source.column_name(*leaf)))
    }

    /// Goes to the next span; a row group that was read to its end must have no row left.
    fn end_span(&mut self, source: &SourceFile, span: Span) -> Result<()> {
        let group = source.metadata.metadata().row_group(span.row_group);
        if (span.skip + span.rows) as i64 == group.num_rows()
            && self.step(source, span, &mut [0_i64])?.rows > 0
        {
            return Err(source.more_rows().at_column(source.column_name(self.leaf)));
        }
        self.span += 1;
        self.read = 0;
        self.column = None;
        Ok(())
    }
}
