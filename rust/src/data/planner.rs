//! Owns the control plane: from the candle times of all series, run by run, to the plan of
//! some batches, which says which row of which series belongs into which slice. Moves no value.
//!
//! Where a batch ends follows from the request alone, never from chunk sizes or timing; that is
//! what makes the output the same bytes at any number of threads.

use std::ops::Range;
use std::sync::Arc;

use crate::data::alignment::{self, RowRun, TimeIndex, TimelineRule};
use crate::data::gather::{Block, Plan, SeriesRows};
use crate::data::prefetch::Prefetcher;
use crate::data::series::{CandleTimes, Rows, SeriesSurvey};
use crate::error::Result;
use crate::report::{SeriesReport, Warning};

/// What becomes a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SliceRule {
    pub timeline: TimelineRule,
    /// How many series each symbol has in the primary timeframe.
    pub price_types: usize,
    /// Slices begin here. What is earlier can only be carried into them.
    pub first_ns: i64,
}

/// Which candle of a series is shown in a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// The one stamped as the slice is, in a series that shapes the timeline; else the latest one, as long
    /// as it is no older than this.
    Primary { max_age_ns: i64 },
    /// The one stamped as the slice is.
    Exact,
    /// The latest of those that are so old at least, if it is no older than allowed.
    Complete {
        delay_ns: i64,
        max_age_ns: Option<i64>,
    },
}

impl Join {
    /// How much later than its timestamp a candle is first needed.
    fn delay_ns(self) -> i64 {
        match self {
            Self::Primary { .. } | Self::Exact => 0,
            Self::Complete { delay_ns, .. } => delay_ns,
        }
    }
}

/// Plans batches, in time order.
pub(crate) struct Planner {
    rule: SliceRule,
    series: Vec<Prefetcher>,
    /// How each of them is joined; those that shape the timeline come first.
    joins: Vec<Join>,
    buffers: Vec<SeriesBuffer>,
    /// A series is topped up as soon as it has fewer candles than this.
    low_water: usize,
    /// Slices per full batch, and full batches per full plan.
    batch_slices: usize,
    batches: usize,
    block: Arc<Block>,
    /// Slices of the block that are in a plan.
    used: usize,
    /// Candles of each series that lie in the block.
    in_block: Vec<usize>,
    candles: u64,
}

/// The candle times of one series that are loaded and in no block yet, and the last one that is.
#[derive(Default)]
struct SeriesBuffer {
    /// In one piece; the first `used` of them are used up, but for what the last of those is still
    /// shown in.
    timestamps: Vec<i64>,
    /// For each the instant from which its age counts, where that is not its timestamp.
    begins: Option<Vec<i64>>,
    rows: Rows,
    used: usize,
    exhausted: bool,
    /// Ranges of rows that are not in time order.
    shuffled: Arc<[Range<u64>]>,
}

impl Planner {
    /// Plans batches of `batch_slices` slices, `batches` at a time. Chunks of candle times have about
    /// `chunk_rows`.
    pub fn new(
        rule: SliceRule,
        (series, joins): (Vec<Prefetcher>, Vec<Join>),
        batch_slices: usize,
        batches: usize,
        chunk_rows: usize,
    ) -> Self {
        Self {
            rule,
            buffers: series.iter().map(|_| SeriesBuffer::default()).collect(),
            in_block: vec![0; series.len()],
            series,
            joins,
            low_water: chunk_rows.div_ceil(2),
            batch_slices,
            batches,
            block: Arc::new(Block {
                timestamps: Vec::new(),
                positions: Vec::new(),
                series: Vec::new(),
            }),
            used: 0,
            candles: 0,
        }
    }

    /// The plan of the next batches; `None` after the last one. Never an empty plan.
    pub fn next_plan(&mut self) -> Result<Option<Plan>> {
        // The first one is short: somebody waits for it.
        let batches = if self.candles == 0 { 1 } else { self.batches };
        let capacity = self.batch_slices * batches;
        let mut parts = Vec::new();
        let mut slices = 0;
        while slices < capacity {
            if self.used == self.block.slices() && !self.next_block()? {
                break;
            }
            let end = self.block.slices().min(self.used + capacity - slices);
            if self.used < end {
                parts.push((self.block.clone(), self.used..end));
                slices += end - self.used;
                self.used = end;
            }
        }
        Ok((slices > 0).then_some(Plan {
            batch_slices: self.batch_slices,
            slices,
            parts,
        }))
    }

    /// Has what the next plans need read, after all work that waits.
    pub fn prefetch(&mut self) {
        self.series.iter_mut().for_each(Prefetcher::prefetch);
    }

    /// How many candles have been gone through.
    pub fn candles(&self) -> u64 {
        self.candles
    }

    /// What has been taken of each series.
    pub fn reports(&self) -> Vec<SeriesReport> {
        let reports = self.series.iter().filter_map(Prefetcher::report);
        reports.cloned().collect()
    }

    /// What surveys found of each series, once, after the last plan; nothing where none was asked for.
    pub fn take_surveys(&mut self) -> Vec<SeriesSurvey> {
        let surveys = self.series.iter_mut().filter_map(Prefetcher::take_survey);
        surveys.map(|survey| *survey).collect()
    }

    /// What a person should know about what was read since it was asked last.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        let each = self.series.iter_mut().flat_map(Prefetcher::take_warnings);
        each.collect()
    }

    /// Makes the next run of the timeline final. `false` when there is none.
    ///
    /// All series are read to their end even where no further slice can come of them: whether a
    /// file is sound must not depend on how the others are cut.
    fn next_block(&mut self) -> Result<bool> {
        for (buffer, in_block) in self.buffers.iter_mut().zip(&mut self.in_block) {
            buffer.use_up(std::mem::take(in_block));
        }
        self.top_up()?;
        if self.buffers.iter().all(|buffer| buffer.left().is_empty()) {
            return Ok(false);
        }
        let loaded = self.buffers.iter().zip(&self.joins);
        let loaded =
            loaded.map(|(buffer, join)| (buffer.begins_left(), join.delay_ns(), buffer.exhausted));
        let horizon =
            alignment::safe_horizon(loaded).expect("a series with more to come was just topped up");
        let finals: Vec<&[i64]> = self
            .buffers
            .iter()
            .zip(&self.joins)
            .map(|(buffer, join)| {
                let is_final = |&at: &i64| at.saturating_add(join.delay_ns()) <= horizon;
                let finals = buffer.begins_left().partition_point(is_final);
                &buffer.left()[..finals]
            })
            .collect();
        let shapes = |join: &Join| matches!(join, Join::Primary { .. });
        let shaping = self.joins.partition_point(shapes);
        let index = TimeIndex::of(&finals[..shaping]);
        let mut positions = index.timeline(self.rule.timeline, self.rule.price_types);
        let before = |&position: &u32| index.timestamps[position as usize] < self.rule.first_ns;
        positions.drain(..positions.partition_point(before));
        let mut aligned = index.aligned.iter();
        let mut series = Vec::with_capacity(finals.len());
        for ((buffer, candles), &join) in self.buffers.iter().zip(&finals).zip(&self.joins) {
            let aligned = match join {
                Join::Primary { .. } => aligned.next().map_or(&[][..], Vec::as_slice),
                _ => &[],
            };
            series.push(buffer.join(&index.timestamps, aligned, candles.len(), join));
        }
        for (in_block, candles) in self.in_block.iter_mut().zip(&finals) {
            *in_block = candles.len();
            self.candles += candles.len() as u64;
        }
        self.block = Arc::new(Block {
            timestamps: index.timestamps,
            positions,
            series,
        });
        self.used = 0;
        Ok(true)
    }

    /// Loads candle times until every series has enough, or no more.
    fn top_up(&mut self) -> Result<()> {
        loop {
            let low =
                |buffer: &SeriesBuffer| !buffer.exhausted && buffer.left().len() < self.low_water;
            let low: Vec<_> = (0..self.buffers.len())
                .filter(|&number| low(&self.buffers[number]))
                .collect();
            if low.is_empty() {
                return Ok(());
            }
            for &number in &low {
                self.series[number].read_now();
            }
            let mut failed = None;
            // The last one first: when it has come, nearly all are there and need no waiting.
            for &number in low.iter().rev() {
                match self.series[number].take() {
                    Ok(Some(chunk)) => self.buffers[number].load(&chunk),
                    Ok(None) => self.buffers[number].exhausted = true,
                    // Of several errors the one of the first series counts.
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }
}

impl SeriesBuffer {
    fn left(&self) -> &[i64] {
        &self.timestamps[self.used..]
    }

    /// From when on the ages of those that are left count.
    fn begins_left(&self) -> &[i64] {
        match &self.begins {
            Some(begins) => &begins[self.used..],
            None => self.left(),
        }
    }

    /// The candle before those that are left.
    fn before(&self) -> Option<usize> {
        self.used.checked_sub(1)
    }

    fn load(&mut self, chunk: &CandleTimes) {
        if let Some(before) = self.before() {
            self.timestamps.drain(..before);
            if let Some(begins) = &mut self.begins {
                begins.drain(..before);
            }
            self.rows = self.rows.slice(before..self.rows.len());
            self.used = 1;
        }
        self.timestamps.extend_from_slice(&chunk.timestamps);
        if let Some(begins) = &chunk.begins {
            self.begins
                .get_or_insert_default()
                .extend_from_slice(begins);
        }
        self.rows.append(&chunk.rows);
        if let Some(rows) = &chunk.shuffled
            && self.shuffled.last() != Some(rows)
        {
            let known = self.shuffled.iter().cloned();
            self.shuffled = known.chain([rows.clone()]).collect();
        }
    }

    fn use_up(&mut self, candles: usize) {
        self.used += candles;
    }

    /// Which of the next `candles` candles, and of the one before them, are shown where on an index. Where
    /// they shape it, they are `aligned` on it.
    fn join(&self, index: &[i64], aligned: &[RowRun], candles: usize, join: Join) -> SeriesRows {
        let end = self.used + candles;
        match join {
            Join::Primary { max_age_ns: 0 } => self.rows_of(aligned, self.used..end),
            Join::Primary { max_age_ns } => {
                let before_ns = self.before().map(|before| self.timestamps[before]);
                let carried = alignment::carry_forward(index, aligned, before_ns, max_age_ns);
                self.rows_of(&carried, self.before().unwrap_or(self.used)..end)
            }
            Join::Exact => {
                let aligned = alignment::align(index, &self.timestamps[self.used..end]);
                self.rows_of(&aligned, self.used..end)
            }
            Join::Complete {
                delay_ns,
                max_age_ns,
            } => {
                let candles = self.before().unwrap_or(self.used)..end;
                let timestamps = &self.timestamps[candles.clone()];
                let known = match &self.begins {
                    Some(begins) => &begins[candles.clone()],
                    None => timestamps,
                };
                let mut shown = alignment::asof(index, known, delay_ns, max_age_ns);
                if self.begins.is_some() {
                    for run in &mut shown {
                        let RowRun::Repeated {
                            row, timestamp_ns, ..
                        } = run
                        else {
                            unreachable!("asof repeats rows, it never goes on to the next");
                        };
                        *timestamp_ns = timestamps[*row as usize];
                    }
                }
                self.rows_of(&shown, candles)
            }
        }
    }

    /// What is aligned among some candles, by the rows that these came from.
    fn rows_of(&self, aligned: &[RowRun], candles: Range<usize>) -> SeriesRows {
        let mut by_row = Vec::with_capacity(aligned.len());
        let first = candles.start;
        let mut runs = self.rows.runs_in(candles).peekable();
        for run in aligned {
            let mut left = *run;
            // Candles ascend, and so do the runs that they lie in.
            while !left.is_empty() {
                let candle = first + left.row() as usize;
                while runs.next_if(|(run, _)| run.end <= candle).is_some() {}
                let Some((run, first_row)) = runs.peek() else {
                    break;
                };
                let row = first_row + (candle - run.start) as u64;
                let len = match left.repeated_ns() {
                    None => left.len().min(run.end - candle),
                    Some(_) => left.len(),
                };
                by_row.push(left.with_row(row).with_len(len));
                left = left.within(&(left.position() + len..left.positions().end));
            }
        }
        SeriesRows {
            repeats: by_row.iter().any(|run| run.repeated_ns().is_some()),
            runs: by_row,
            shuffled: self.shuffled.clone(),
        }
    }
}
