//! Owns what a gatherer is told: which row of which series belongs into which slice, block by block.

use std::ops::Range;
use std::sync::Arc;

use crate::data::alignment::RowRun;
use crate::data::series::ValueCursor;
use crate::error::Result;

/// A run of the timeline, and which row of each series belongs to each of its timestamps.
pub(crate) struct Block {
    /// The axis: strictly increasing.
    pub timestamps: Vec<i64>,
    /// Where each slice stands on it.
    pub positions: Vec<u32>,
    /// All series of the request, in its order.
    pub series: Vec<SeriesRows>,
}

impl Block {
    pub fn slices(&self) -> usize {
        self.positions.len()
    }

    /// Writes the timestamp of each of some slices into the cells of all its symbols.
    pub fn fill_timestamps(&self, slices: Range<usize>, symbols: usize, cells: &mut [i64]) {
        for (line, &position) in cells.chunks_mut(symbols).zip(&self.positions[slices]) {
            line.fill(self.timestamps[position as usize]);
        }
    }

    /// Those of some slices that stand at some positions.
    pub fn slices_at(&self, slices: &Range<usize>, positions: &Range<usize>) -> Range<usize> {
        let of_part = &self.positions[slices.clone()];
        let reach = self.reach(slices);
        let slice_at = |position: usize| {
            if reach.len() == of_part.len() {
                // Every position is a slice.
                position.clamp(reach.start, reach.end) - reach.start
            } else {
                of_part.partition_point(|&at| (at as usize) < position)
            }
        };
        slices.start + slice_at(positions.start)..slices.start + slice_at(positions.end)
    }

    /// The part of the axis that some slices reach over.
    pub fn reach(&self, slices: &Range<usize>) -> Range<usize> {
        match &self.positions[slices.clone()] {
            [] => 0..0,
            [first, .., last] => *first as usize..*last as usize + 1,
            [only] => *only as usize..*only as usize + 1,
        }
    }
}

/// The rows of one series in a block.
pub(crate) struct SeriesRows {
    /// Ascending on the axis; at a position in none of them there is no candle.
    pub runs: Vec<RowRun>,
    /// Whether any of them holds one row at all its positions.
    pub repeats: bool,
    /// Ranges of rows that may be asked for in any order; all others come in theirs.
    pub shuffled: Arc<[Range<u64>]>,
}

impl SeriesRows {
    /// The runs that have something in common with some positions.
    pub fn touched_by(&self, positions: &Range<usize>) -> &[RowRun] {
        let first = self
            .runs
            .partition_point(|run| run.positions().end <= positions.start);
        let after = &self.runs[first..];
        &after[..after.partition_point(|run| run.position() < positions.end)]
    }

    /// Reads consecutive rows, the first of which is `row`.
    pub(super) fn read(&self, cursor: &mut ValueCursor, row: u64, into: &mut [f64]) -> Result<()> {
        if self.shuffled.is_empty() {
            cursor.skip_to(row)?;
            return cursor.read(into);
        }
        for (value, row) in into.iter_mut().zip(row..) {
            let shuffled = self.shuffled.iter().find(|rows| rows.contains(&row));
            *value = match shuffled {
                Some(rows) => cursor.value_in(rows, row)?,
                None => cursor.value_at(row)?,
            };
        }
        Ok(())
    }
}

/// Some batches, full ones but for the last: their slices are parts of blocks, one after the other.
pub(crate) struct Plan {
    /// Slices of a full batch.
    pub batch_slices: usize,
    pub slices: usize,
    pub parts: Vec<(Arc<Block>, Range<usize>)>,
}

impl Plan {
    /// The slices of each batch, counted from the first slice of the plan.
    pub fn batches(&self) -> impl Iterator<Item = Range<usize>> {
        pieces(0..self.slices, self.batch_slices)
    }

    /// The same as [`Self::parts_of`], each part with its cells of a column of so many symbols.
    pub fn parts_with<'a, T>(
        &'a self,
        slices: Range<usize>,
        symbols: usize,
        mut cells: &'a mut [T],
    ) -> impl Iterator<Item = (&'a Block, Range<usize>, &'a mut [T])> {
        self.parts_of(slices).map(move |(block, part)| {
            let (now, later) = std::mem::take(&mut cells).split_at_mut(part.len() * symbols);
            cells = later;
            (block, part, now)
        })
    }

    /// What some slices of the plan consist of: a block, slices of the block.
    pub fn parts_of(&self, slices: Range<usize>) -> impl Iterator<Item = (&Block, Range<usize>)> {
        let mut before = 0;
        self.parts.iter().filter_map(move |(block, part)| {
            let start = slices.start.max(before);
            let end = slices.end.min(before + part.len());
            let first = part.start + start.saturating_sub(before);
            before += part.len();
            (start < end).then(|| (block.as_ref(), first..first + end - start))
        })
    }
}

/// A range in pieces of a length, the last of which may be shorter.
pub(super) fn pieces(whole: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = whole.end;
    whole
        .step_by(len)
        .map(move |start| start..end.min(start + len))
}

/// What a gatherer is to do next.
#[derive(Clone)]
pub(crate) enum GatherTask {
    Gather(Arc<Plan>),
    /// Read what is left of all series, so that nothing damaged goes unnoticed.
    Finish,
}
