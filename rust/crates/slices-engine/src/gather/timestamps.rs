//! Gathers columns of timestamps: for each cell, the timestamp of the candle shown there. Needs
//! only the plan, and reads no file.

use std::ops::Range;

use super::BufferPool;
use super::plan::{Block, GatherTask, Plan};
use super::step::{Change, shown, write_steps};
use slices_core::alignment::gaps;
use slices_core::error::Result;

/// The value under a null.
const ABSENT: i64 = 0;

/// Fills the timestamp column of some series, one per symbol, batch after batch.
pub struct TimestampGatherer {
    /// The number of the series in a block, for each symbol.
    series: Vec<usize>,
    /// Whether these series mostly show one candle in many slices.
    stands_still: bool,
    buffers: BufferPool<i64>,
}

impl TimestampGatherer {
    pub fn new(series: Vec<usize>, stands_still: bool, buffers: BufferPool<i64>) -> Self {
        Self {
            series,
            stands_still,
            buffers,
        }
    }

    /// Gathers the column of each batch of a plan; returns none for [`GatherTask::Finish`].
    pub fn step(&mut self, task: GatherTask) -> Result<Vec<Vec<i64>>> {
        let GatherTask::Gather(plan) = task else {
            return Ok(Vec::new());
        };
        let batches = plan.batches();
        Ok(batches.map(|slices| self.column(&plan, slices)).collect())
    }

    fn column(&self, plan: &Plan, slices: Range<usize>) -> Vec<i64> {
        let symbols = self.series.len();
        let mut column = self.buffers.take(slices.len() * symbols, ABSENT);
        for (block, part, cells) in plan.parts_with(slices, symbols, &mut column) {
            self.fill(block, &part, cells);
        }
        column
    }

    fn fill(&self, block: &Block, part: &Range<usize>, cells: &mut [i64]) {
        let symbols = self.series.len();
        let series = self.series.iter().map(|&series| &block.series[series]);
        if self.stands_still {
            let mut changes = Vec::new();
            for (symbol, series) in series.enumerate() {
                changes.extend(shown(block, series, part).into_iter().map(|(slice, run)| {
                    let value = run.and_then(|run| run.repeated_ns()).unwrap_or(ABSENT);
                    Change {
                        slice,
                        symbol,
                        value,
                    }
                }));
            }
            write_steps(cells, symbols, &mut changes, ABSENT);
            return;
        }
        // Most cells show a candle with the timestamp of the slice.
        block.fill_timestamps(part.clone(), symbols, cells);
        let reach = block.reach(part);
        for (symbol, series) in series.enumerate() {
            let mut set = |positions: Range<usize>, timestamp_ns| {
                let slices = block.slices_at(part, &positions);
                let lines = cells[(slices.start - part.start) * symbols..].chunks_mut(symbols);
                for line in lines.take(slices.len()) {
                    line[symbol] = timestamp_ns;
                }
            };
            let touched = series.touched_by(&reach);
            for gap in gaps(touched, reach.clone()) {
                set(gap, ABSENT);
            }
            for run in touched {
                if let Some(timestamp_ns) = run.repeated_ns() {
                    set(run.positions(), timestamp_ns);
                }
            }
        }
    }
}
