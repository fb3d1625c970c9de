//! Plans batches: which row of which series belongs into which slice, from the candle times of all
//! series. Moves no values.
//!
//! The request alone decides where a batch ends, never chunk sizes or timing. So the output has the
//! same bytes with any number of threads.

use std::ops::Range;
use std::sync::Arc;

use crate::gather::{Block, Plan, SeriesRows};
use crate::prefetch::Prefetcher;
use crate::series::{CandleTimes, Rows};
use slices_core::alignment::{self, RowRun, TimeIndex, TimelineRule};
use slices_core::error::Result;
use slices_core::report::{SeriesReport, Warning};

/// Decides which timestamps become slices.
#[derive(Debug, Clone, Copy)]
pub struct SliceRule {
    pub timeline: TimelineRule,
    /// Number of series per symbol in the primary timeframe.
    pub price_types: usize,
    /// The first possible slice; earlier candles only show in later slices.
    pub first_ns: i64,
}

/// Selects the candle of a series that a slice shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// In series that shape the timeline: the candle at the timestamp, else the latest one up to
    /// this age.
    Primary { max_age_ns: i64 },
    /// The candle at the timestamp.
    Exact,
    /// The latest candle that is old enough, up to the maximum age.
    Complete {
        delay_ns: i64,
        max_age_ns: Option<i64>,
    },
}

impl Join {
    /// The delay between the timestamp of a candle and its first use.
    fn delay_ns(self) -> i64 {
        match self {
            Self::Primary { .. } | Self::Exact => 0,
            Self::Complete { delay_ns, .. } => delay_ns,
        }
    }
}

/// Plans batches, in time order.
pub struct Planner {
    rule: SliceRule,
    series: Vec<Prefetcher>,
    /// The join of each series; series that shape the timeline come first.
    joins: Vec<Join>,
    buffers: Vec<SeriesBuffer>,
    /// A series with fewer candles than this is topped up.
    low_water: usize,
    /// Slices per full batch, and full batches per full plan.
    batch_slices: usize,
    batches: usize,
    block: Arc<Block>,
    /// Slices of the block that plans have used.
    used: usize,
    /// Number of candles of each series in the block.
    in_block: Vec<usize>,
    candles: u64,
}

/// The candle times of one series that are loaded and not yet in a block, and the last one before.
#[derive(Default)]
struct SeriesBuffer {
    /// In one piece. The first `used` timestamps are used up, but the last of those may still be
    /// shown.
    timestamps: Vec<i64>,
    /// The instant from which the age of each candle counts, if not its timestamp.
    begins: Option<Vec<i64>>,
    rows: Rows,
    used: usize,
    exhausted: bool,
    /// Ranges of rows that are out of time order.
    shuffled: Arc<[Range<u64>]>,
}

impl Planner {
    /// Plans `batches` batches of `batch_slices` slices at a time. Chunks have about `chunk_rows`
    /// candle times.
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

    /// The plan of the next batches, never empty; `None` after the last one.
    pub fn next_plan(&mut self) -> Result<Option<Plan>> {
        // The first plan is short, to give the reader data early.
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
        Ok((slices > 0).then(|| Plan::new(self.batch_slices, slices, parts)))
    }

    /// Queues the reads for the next plans behind all waiting work.
    pub fn prefetch(&mut self) {
        self.series.iter_mut().for_each(Prefetcher::prefetch);
    }

    /// Number of candles processed so far.
    pub fn candles(&self) -> u64 {
        self.candles
    }

    /// The counts of each series so far.
    pub fn reports(&self) -> Vec<SeriesReport> {
        let reports = self.series.iter().filter_map(Prefetcher::report);
        reports.cloned().collect()
    }

    /// The warnings since the last call.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        let each = self.series.iter_mut().flat_map(Prefetcher::take_warnings);
        each.collect()
    }

    /// Makes the next block of the timeline final. `false` at the end.
    ///
    /// Reads all series to their end, even if no further slice can follow. Otherwise the other
    /// series would decide whether an error in a file is found.
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
        let mut aligned = index.aligned.into_iter();
        let mut series = Vec::with_capacity(finals.len());
        for ((buffer, candles), &join) in self.buffers.iter().zip(&finals).zip(&self.joins) {
            let aligned = match join {
                Join::Primary { .. } => aligned.next().unwrap_or_default(),
                _ => Vec::new(),
            };
            series.push(buffer.join(&index.timestamps, aligned, candles.len(), join));
        }
        for (in_block, candles) in self.in_block.iter_mut().zip(&finals) {
            *in_block = candles.len();
            self.candles += candles.len() as u64;
        }
        let block = Block {
            timestamps: index.timestamps,
            positions,
            series,
        };
        self.block = Arc::new(block.without_rests());
        self.used = 0;
        Ok(true)
    }

    /// Loads candle times until every series has enough or has ended.
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
            // Start with the last one: when it has arrived, most others have too.
            for &number in low.iter().rev() {
                match self.series[number].take() {
                    Ok(Some(chunk)) => self.buffers[number].load(&chunk),
                    Ok(None) => self.buffers[number].exhausted = true,
                    // Of several errors, report that of the first series.
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

    /// For the remaining candles, the instants from which their ages count.
    fn begins_left(&self) -> &[i64] {
        match &self.begins {
            Some(begins) => &begins[self.used..],
            None => self.left(),
        }
    }

    /// The candle before the remaining ones.
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

    /// Joins the next `candles` candles, and the one before them, with an index. `aligned` holds
    /// their runs if they shape the timeline.
    fn join(&self, index: &[i64], aligned: Vec<RowRun>, candles: usize, join: Join) -> SeriesRows {
        let end = self.used + candles;
        match join {
            Join::Primary { max_age_ns: 0 } => self.rows_of(aligned, self.used..end),
            Join::Primary { max_age_ns } => {
                let before_ns = self.before().map(|before| self.timestamps[before]);
                let carried = alignment::carry_forward(index, &aligned, before_ns, max_age_ns);
                self.rows_of(carried, self.before().unwrap_or(self.used)..end)
            }
            Join::Exact => {
                let aligned = alignment::align(index, &self.timestamps[self.used..end]);
                self.rows_of(aligned, self.used..end)
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
                        *run = run.with_repeated_ns(timestamps[run.row() as usize]);
                    }
                }
                self.rows_of(shown, candles)
            }
        }
    }

    /// The aligned runs among some candles, by the original rows.
    fn rows_of(&self, aligned: Vec<RowRun>, candles: Range<usize>) -> SeriesRows {
        let by_row = self.by_row(aligned, candles);
        SeriesRows {
            repeats: by_row.iter().any(RowRun::is_repeated),
            runs: by_row,
            shuffled: self.shuffled.clone(),
        }
    }

    fn by_row(&self, mut aligned: Vec<RowRun>, candles: Range<usize>) -> Vec<RowRun> {
        let first = candles.start;
        let mut runs = self.rows.runs_in(candles.clone()).peekable();
        if let Some((run, first_row)) = runs.peek()
            && *run == candles
        {
            // Nearly always: all candles are consecutive rows.
            for run in &mut aligned {
                *run = run.with_row(run.row() + first_row);
            }
            return aligned;
        }
        let mut by_row = Vec::with_capacity(aligned.len());
        for run in aligned {
            let mut left = run;
            // Candles ascend, and so do their runs.
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
        by_row
    }
}
