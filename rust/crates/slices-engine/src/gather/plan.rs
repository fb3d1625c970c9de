//! Defines the plan of a gatherer: which row of which series belongs into which slice, block by
//! block.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::tile::{Tile, shared};
use crate::series::ValueCursor;
use slices_core::alignment::RowRun;
use slices_core::error::Result;

/// A range of the timeline, and the rows of each series at its timestamps.
pub struct Block {
    /// The timestamps of the time index, strictly increasing.
    pub timestamps: Vec<i64>,
    /// The position of each slice in the time index.
    pub positions: Vec<u32>,
    /// All series of the request, in order.
    pub series: Vec<SeriesRows>,
}

impl Block {
    pub fn slices(&self) -> usize {
        self.positions.len()
    }

    /// The block without the positions between its slices, if most are no slice. A plan holds its
    /// blocks until it has all its slices, so these must not take memory for the rest.
    pub fn without_rests(self) -> Self {
        const SPARSE: usize = 4;
        if self.positions.len() * SPARSE > self.timestamps.len() {
            return self;
        }
        let timestamps = self.positions.iter();
        let timestamps = timestamps.map(|&position| self.timestamps[position as usize]);
        let series = self.series.iter().map(|series| series.at(&self.positions));
        Self {
            timestamps: timestamps.collect(),
            series: series.collect(),
            positions: (0..self.positions.len() as u32).collect(),
        }
    }

    /// Writes the timestamp of each slice into the cells of all its symbols.
    pub fn fill_timestamps(&self, slices: Range<usize>, symbols: usize, cells: &mut [i64]) {
        for (line, &position) in cells.chunks_mut(symbols).zip(&self.positions[slices]) {
            line.fill(self.timestamps[position as usize]);
        }
    }

    /// The slices of `slices` whose positions lie in `positions`.
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

    /// The range of positions that some slices span.
    pub fn reach(&self, slices: &Range<usize>) -> Range<usize> {
        match &self.positions[slices.clone()] {
            [] => 0..0,
            [first, .., last] => *first as usize..*last as usize + 1,
            [only] => *only as usize..*only as usize + 1,
        }
    }
}

/// The rows of one series in a block.
pub struct SeriesRows {
    /// Runs, ascending by position; other positions have no candle.
    pub runs: Vec<RowRun>,
    /// Whether any run repeats one row.
    pub repeats: bool,
    /// Ranges of rows that may be read in any order; all other rows are read in order.
    pub shuffled: Arc<[Range<u64>]>,
}

impl SeriesRows {
    /// The rows at some positions, which are numbered anew.
    fn at(&self, positions: &[u32]) -> Self {
        let mut runs: Vec<RowRun> = Vec::new();
        for (&position, slice) in positions.iter().zip(0..) {
            let position = position as usize;
            let Some(run) = self.touched_by(&(position..position + 1)).first() else {
                continue;
            };
            let one = run.within(&(position..position + 1)).with_position(slice);
            match runs.last_mut() {
                Some(last) if last.goes_on_with(&one) => *last = last.with_len(last.len() + 1),
                _ => runs.push(one),
            }
        }
        Self {
            repeats: runs.iter().any(RowRun::is_repeated),
            runs,
            shuffled: self.shuffled.clone(),
        }
    }

    /// The runs that overlap some positions.
    pub fn touched_by(&self, positions: &Range<usize>) -> &[RowRun] {
        let first = self
            .runs
            .partition_point(|run| run.positions().end <= positions.start);
        let after = &self.runs[first..];
        &after[..after.partition_point(|run| run.position() < positions.end)]
    }

    /// Reads consecutive rows from `row` on.
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

/// A sequence of batches, all full except the last. Their slices are consecutive parts of blocks.
pub struct Plan {
    /// Number of slices in a full batch.
    pub batch_slices: usize,
    pub slices: usize,
    pub parts: Vec<(Arc<Block>, Range<usize>)>,
    /// Made for the first column that asks.
    tiles: OnceLock<Vec<Tile>>,
}

impl Plan {
    pub fn new(batch_slices: usize, slices: usize, parts: Vec<(Arc<Block>, Range<usize>)>) -> Self {
        Self {
            batch_slices,
            slices,
            parts,
            tiles: OnceLock::new(),
        }
    }

    /// For each cell of some slices 1 if its series has a candle there, else 0. `None` if every
    /// cell has one. `series` are those of one dense column, in the order of the symbols.
    pub fn present(&self, slices: &Range<usize>, series: &[usize]) -> Option<Vec<u8>> {
        let symbols = series.len();
        let mut present: Option<Vec<u8>> = None;
        for tile in self.tiles() {
            let part = slices.start.max(tile.slices.start)..slices.end.min(tile.slices.end);
            if part.is_empty() {
                continue;
            }
            let first_cell = (part.start - slices.start) * symbols;
            let of_tile = part.start - tile.slices.start..part.end - tile.slices.start;
            for (symbol, &number) in series.iter().enumerate() {
                let lane = tile.lane(self, number);
                if !lane.is_full {
                    let all = || vec![1; slices.len() * symbols];
                    let present = present.get_or_insert_with(all);
                    let flags = &mut present[first_cell + symbol..];
                    lane.clear_absent(tile, of_tile.clone(), flags, symbols);
                }
            }
        }
        // What is absent may be so in other slices of the tile only.
        present.filter(|present| present.contains(&0))
    }

    /// The slices, in parts that are moved at a time.
    pub(super) fn tiles(&self) -> &[Tile] {
        let tiles: &Vec<Tile> = shared(&self.tiles, || Tile::of_plan(self));
        tiles
    }

    /// The slices of each batch, counted from the first slice of the plan.
    pub fn batches(&self) -> impl Iterator<Item = Range<usize>> {
        pieces(0..self.slices, self.batch_slices)
    }

    /// As [`Self::parts_of`], with the cells of each part in a column of `symbols` symbols.
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

    /// The parts of some slices of the plan: a block, and slices of that block.
    pub fn parts_of(&self, slices: Range<usize>) -> impl Iterator<Item = (&Block, Range<usize>)> {
        let parts = self.numbered_parts_of(slices);
        parts.map(|(part, slices)| (self.parts[part].0.as_ref(), slices))
    }

    /// The same, with the numbers of the parts.
    pub(super) fn numbered_parts_of(
        &self,
        slices: Range<usize>,
    ) -> impl Iterator<Item = (usize, Range<usize>)> {
        let mut before = 0;
        let parts = self.parts.iter().enumerate();
        parts.filter_map(move |(number, (_, part))| {
            let start = slices.start.max(before);
            let end = slices.end.min(before + part.len());
            let first = part.start + start.saturating_sub(before);
            before += part.len();
            (start < end).then(|| (number, first..first + end - start))
        })
    }
}

/// Splits a range into pieces of a length; the last may be shorter.
pub(super) fn pieces(whole: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = whole.end;
    whole
        .step_by(len)
        .map(move |start| start..end.min(start + len))
}

/// The next task of a gatherer.
#[derive(Clone)]
pub enum GatherTask {
    Gather(Arc<Plan>),
    /// Read the rest of all series, to find any damage.
    Finish,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slices_core::alignment::{TimeIndex, carry_forward};

    use super::*;

    proptest! {
        #[test]
        fn a_block_without_rests_shows_the_same_rows(
            minutes in prop::collection::vec(prop::collection::btree_set(0..300_i64, 0..200), 1..5),
            every in 4..40_usize,
            max_age in prop::option::of(1..20_i64),
        ) {
            let minutes: Vec<Vec<i64>> =
                minutes.into_iter().map(|one| one.into_iter().collect()).collect();
            let minutes: Vec<&[i64]> = minutes.iter().map(Vec::as_slice).collect();
            let index = TimeIndex::of(&minutes);
            let series = index.aligned.into_iter().map(|aligned| {
                let runs = match max_age {
                    Some(max_age) => carry_forward(&index.timestamps, &aligned, None, max_age),
                    None => aligned,
                };
                SeriesRows { runs, repeats: max_age.is_some(), shuffled: Arc::new([]) }
            });
            let block = Block {
                series: series.collect(),
                positions: (0..index.timestamps.len() as u32).step_by(every).collect(),
                timestamps: index.timestamps,
            };
            let shown = |block: &Block| -> Vec<_> {
                let cells = block.positions.iter().map(|&position| {
                    let position = position as usize;
                    let row = |series: &SeriesRows| {
                        let run = *series.touched_by(&(position..position + 1)).first()?;
                        let run = run.within(&(position..position + 1));
                        Some((run.row(), run.repeated_ns()))
                    };
                    (block.timestamps[position], block.series.iter().map(row).collect::<Vec<_>>())
                });
                cells.collect()
            };
            let before = shown(&block);
            let slices = block.slices();
            let after = block.without_rests();
            prop_assert!(after.timestamps.len() == slices || after.timestamps.len() < 4 * slices);
            prop_assert_eq!(shown(&after), before);
        }
    }
}
