//! Defines the options that do not change the output: threads, and sizes within memory budgets.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, thread};

use rustix::process::{Resource, getrlimit};

use crate::memory::{MemoryBudget, whole_megabytes};
use crate::multi_symbol::batches::PLANS_AHEAD;
use crate::series::SeriesRules;
use crate::series_files::{Role, SeriesFiles};
use slices_core::request::{PriceType, Request};
use slices_core::session::Hours;
use slices_parquet::RecentFiles;
use slices_store::{Storage, StorageOptions, StorageSettings};

/// Memory budget for the candle times of all series.
const CHUNK_BUDGET_BYTES: usize = 16 << 20;

/// Memory budget for the timestamps of segments that are kept whole, over all series.
const SEGMENT_BUDGET_BYTES: usize = 128 << 20;

/// Memory budget for values decoded ahead, over all columns of all series.
const AHEAD_BUDGET_BYTES: usize = 128 << 20;

/// Bounds for the rows decoded ahead. Fewer do not pay; more gain nothing, because most of a
/// dictionary is used by then.
const AHEAD_ROWS: std::ops::RangeInclusive<usize> = 4_096..=20_000;

/// Bounds for the rows of a chunk: fewer make reads too small, and more do not fit the CPU cache.
const CHUNK_ROWS: std::ops::RangeInclusive<usize> = 1_024..=16_384;

/// Segments may take one of this many parts of a small memory budget, and values decoded ahead
/// another one. All shares together are a quarter.
const BUDGET_PARTS: u64 = 32;

/// The candle times of all series may take one of this many parts.
const CHUNK_PARTS: u64 = 8;

/// Batches may take one of this many parts.
const BATCH_PARTS: u64 = 16;

/// The fewest rows of a chunk, where a small memory budget demands it.
const CHUNK_ROWS_MIN: usize = 64;

/// What a row takes at most in the window, the chunks and the plans: two runs in each plan.
const PLANNED_ROW_BYTES: usize = 176;

/// Descriptors that a run may need beside those of its input files.
const OTHER_DESCRIPTORS: usize = 64;

/// More threads than any machine has cores; each one takes memory.
const THREADS_MAX: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not zero");

/// Options of reading that do not change the output.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ReadOptions {
    threads: Option<NonZeroUsize>,
    chunk_rows: Option<NonZeroUsize>,
    follow_links: bool,
    strict: bool,
    memory: Option<u64>,
    temp_dir: Option<PathBuf>,
    temp_limit: Option<u64>,
    spill_every: Option<NonZeroUsize>,
    storage: StorageOptions,
}

impl ReadOptions {
    /// One decoding thread per core, and chunks by the memory budget.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of decoding threads, at most 512.
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Sets the number of rows of a series to decode at a time, instead of the memory budget.
    #[must_use]
    pub fn with_chunk_rows(mut self, chunk_rows: NonZeroUsize) -> Self {
        self.chunk_rows = Some(chunk_rows);
        self
    }

    /// Sets the memory in bytes that the process may use. By default half of what the machine has,
    /// or its control group if that has less.
    ///
    /// If the columns need more, they go through a temporary file. If even that is not enough, the
    /// run is refused.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Sets the folder of temporary files. By default that of the variable `TMPDIR`, else
    /// `/var/tmp`.
    #[must_use]
    pub fn with_temp_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.temp_dir = Some(folder.into());
        self
    }

    /// Sets how many bytes temporary files may take. By default nine tenths of what is free.
    #[must_use]
    pub fn with_temp_limit(mut self, bytes: u64) -> Self {
        self.temp_limit = Some(bytes);
        self
    }

    /// Sets how objects in buckets and on web servers are reached.
    #[must_use]
    pub fn with_storage(mut self, storage: StorageOptions) -> Self {
        self.storage = storage;
        self
    }

    /// The storage of one run.
    #[doc(hidden)]
    #[must_use]
    pub fn storage(&self) -> Storage {
        Storage::new(StorageSettings {
            options: self.storage.clone(),
            temp_dir: self.temp_dir(),
            temp_limit: self.temp_limit,
        })
    }

    /// For tests: each `every`-th column goes through the temporary file, whatever the memory.
    #[doc(hidden)]
    #[must_use]
    pub fn with_spill_every(mut self, every: NonZeroUsize) -> Self {
        self.spill_every = Some(every);
        self
    }

    /// Sets whether links may lead out of the folder that a path template spells out. They may not
    /// by default.
    #[must_use]
    pub fn with_follow_links(mut self, follow_links: bool) -> Self {
        self.follow_links = follow_links;
        self
    }

    /// Sets whether the first warning fails the run, with its code and name.
    #[must_use]
    pub fn with_strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// The options of one of several runs at the same time: a share of the threads and memory.
    #[must_use]
    pub fn shared_by(mut self, runs: NonZeroUsize) -> Self {
        if runs > NonZeroUsize::MIN {
            self.memory = Some(self.memory_budget().limit() / runs.get() as u64);
        }
        let threads = self.threads().get() / runs;
        self.threads = Some(NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN));
        self
    }

    /// Whether a warning ends the run.
    #[doc(hidden)]
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.strict
    }

    /// Whether links may lead out of the root.
    #[doc(hidden)]
    #[must_use]
    pub fn follows_links(&self) -> bool {
        self.follow_links
    }

    /// The rules of a request with `series` series; `hours` come from its session file.
    pub fn series_rules(
        &self,
        request: &Request,
        hours: Option<&Arc<Hours>>,
        series: usize,
        memory: &Arc<MemoryBudget>,
        storage: &Storage,
    ) -> RulesByRole {
        let segment_bytes = within(SEGMENT_BUDGET_BYTES, memory.limit());
        let segment_rows = segment_bytes / (series.max(1) * size_of::<i64>());
        let recent_files = Arc::new(RecentFiles::new(spare_descriptors(series)));
        let rules = |(role, price_type)| {
            let sizes = (self.chunk_rows(series, memory.limit()), segment_rows);
            let rules = SeriesRules::new(
                request,
                (role, price_type),
                hours,
                sizes,
                (memory.clone(), recent_files.clone(), storage.clone()),
            );
            (role, price_type, Arc::new(rules))
        };
        let higher = (0..request.higher_timeframes().len()).map(Role::Higher);
        let of_candles = std::iter::once(Role::Primary)
            .chain(higher)
            .flat_map(|role| {
                let price_types = request.price_types().iter();
                price_types.map(move |price_type| (role, Some(*price_type)))
            });
        let all = of_candles.chain([(Role::Indicators, None)]);
        RulesByRole(all.map(rules).collect())
    }

    /// How many threads decode.
    #[doc(hidden)]
    #[must_use]
    pub fn threads(&self) -> NonZeroUsize {
        self.threads
            .or_else(|| thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
            .min(THREADS_MAX)
    }

    /// The budget of the run.
    pub fn memory_budget(&self) -> Arc<MemoryBudget> {
        self.memory
            .map_or_else(MemoryBudget::of_machine, MemoryBudget::new)
    }

    /// The folder of temporary files.
    pub(super) fn temp_dir(&self) -> PathBuf {
        if let Some(folder) = &self.temp_dir {
            return folder.clone();
        }
        // Large files belong there; /tmp may lie in memory.
        let usual = Path::new("/var/tmp");
        if env::var_os("TMPDIR").is_none() && usual.is_dir() {
            usual.to_owned()
        } else {
            env::temp_dir()
        }
    }

    /// Which columns go through the temporary file whatever the memory, and the rows of a piece.
    pub(super) fn forced_spill(&self) -> Option<(NonZeroUsize, usize)> {
        let piece_rows = self
            .chunk_rows
            .map_or(*CHUNK_ROWS.start(), NonZeroUsize::get);
        Some((self.spill_every?, piece_rows))
    }

    pub(super) fn temp_limit(&self) -> Option<u64> {
        self.temp_limit
    }

    /// Number of rows of a column to decode ahead; 0 if there are too many columns.
    pub(super) fn ahead_rows(columns: usize, memory_limit: u64) -> usize {
        let budget = within(AHEAD_BUDGET_BYTES, memory_limit);
        let by_budget = budget / (columns.max(1) * size_of::<f64>());
        if by_budget < *AHEAD_ROWS.start() {
            0
        } else {
            by_budget.min(*AHEAD_ROWS.end())
        }
    }

    fn chunk_rows(&self, series: usize, memory_limit: u64) -> usize {
        // Per series: timestamps of the window, of the waiting chunk and of the current chunk, and
        // its positions in the blocks of the plans. Runs are long, so those are few.
        const ROW_BYTES: usize = 3 * size_of::<i64>() + PLANS_AHEAD * size_of::<u32>();
        let by_budget = CHUNK_BUDGET_BYTES / (series.max(1) * ROW_BYTES);
        let usual = by_budget.clamp(*CHUNK_ROWS.start(), *CHUNK_ROWS.end());
        // A small memory allows fewer.
        let share = usize::try_from(memory_limit / CHUNK_PARTS).unwrap_or(usize::MAX);
        let most = (share / (series.max(1) * PLANNED_ROW_BYTES)).max(CHUNK_ROWS_MIN);
        self.chunk_rows.map_or(usual.min(most), NonZeroUsize::get)
    }
}

/// The parts of a run that take a share of its memory, whatever the columns need.
#[derive(Clone, Copy)]
pub(super) struct Shares<'a> {
    pub options: &'a ReadOptions,
    pub series: usize,
    /// What the batches of all plans take, for one batch per plan.
    pub plan_bytes: u64,
    /// Maximum number of batches of a plan.
    pub batches: usize,
}

impl Shares<'_> {
    /// Number of batches of a plan.
    pub fn batches(&self, memory_limit: u64) -> usize {
        let by_memory = memory_limit / BATCH_PARTS / self.plan_bytes;
        let by_memory = usize::try_from(by_memory).unwrap_or(usize::MAX);
        self.batches.min(by_memory.max(1))
    }

    /// Number of bytes that all of them take.
    pub fn bytes(&self, memory_limit: u64) -> u64 {
        let working = [SEGMENT_BUDGET_BYTES, AHEAD_BUDGET_BYTES];
        let working = working.map(|budget| within(budget, memory_limit) as u64);
        let chunk_rows = self.options.chunk_rows(self.series, memory_limit);
        let planned = (self.series * chunk_rows * PLANNED_ROW_BYTES) as u64;
        let batches = self.plan_bytes * self.batches(memory_limit) as u64;
        working.iter().sum::<u64>() + planned + batches
    }

    /// A memory that is enough for them and `others` bytes.
    pub fn enough(&self, others: u64) -> u64 {
        let mut limit = others;
        // They take a quarter of what is added, until each has what it can use.
        while self.bytes(limit) + others > limit {
            limit = whole_megabytes(self.bytes(limit) + others);
        }
        limit
    }
}

/// Number of descriptors that a run of `series` series does not need.
fn spare_descriptors(series: usize) -> usize {
    // Columns of one series may be in different files.
    let needed = 2 * series + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    limit.saturating_sub(needed)
}

/// A budget, or its share of a small memory.
fn within(budget: usize, memory_limit: u64) -> usize {
    let share = usize::try_from(memory_limit / BUDGET_PARTS).unwrap_or(usize::MAX);
    budget.min(share)
}

/// The rules of a request, by the role and price type of the series.
pub struct RulesByRole(Vec<(Role, Option<PriceType>, Arc<SeriesRules>)>);

impl RulesByRole {
    pub fn of(&self, series: &SeriesFiles) -> &Arc<SeriesRules> {
        let wanted = (series.role, series.name.price_type);
        let mut all = self.0.iter();
        let found = all.find(|(role, price_type, _)| (*role, *price_type) == wanted);
        &found.expect("every series of a request has rules").2
    }

    /// Number of candle times to read at a time.
    pub fn chunk_rows(&self) -> usize {
        self.0[0].2.chunk_rows()
    }
}
