//! Defines the options that do not change the output: threads, and sizes within memory budgets.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use crate::multi_symbol::batches::PLANS_AHEAD;
use crate::series::SeriesRules;
use crate::series_files::Role;
use slices_core::request::Request;
use slices_core::session::Hours;

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
    ) -> RulesByRole {
        let segment_rows = SEGMENT_BUDGET_BYTES / (series.max(1) * size_of::<i64>());
        let rules = |role| {
            let chunk_rows = self.chunk_rows(series);
            let rules = SeriesRules::new(request, role, hours, chunk_rows, segment_rows);
            Arc::new(rules)
        };
        let higher = 0..request.higher_timeframes().len();
        RulesByRole {
            primary: rules(Role::Primary),
            higher: higher.map(|number| rules(Role::Higher(number))).collect(),
            indicators: rules(Role::Indicators),
        }
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

    /// Number of rows of a column to decode ahead; 0 if there are too many columns.
    pub(super) fn ahead_rows(columns: usize) -> usize {
        let by_budget = AHEAD_BUDGET_BYTES / (columns.max(1) * size_of::<f64>());
        if by_budget < *AHEAD_ROWS.start() {
            0
        } else {
            by_budget.min(*AHEAD_ROWS.end())
        }
    }

    fn chunk_rows(&self, series: usize) -> usize {
        // Per series: timestamps of the window, of the waiting chunk and of the current chunk, and
        // its positions in the blocks of the plans. Runs are long, so those are few.
        const ROW_BYTES: usize = 3 * size_of::<i64>() + PLANS_AHEAD * size_of::<u32>();
        let by_budget = CHUNK_BUDGET_BYTES / (series.max(1) * ROW_BYTES);
        self.chunk_rows.map_or_else(
            || by_budget.clamp(*CHUNK_ROWS.start(), *CHUNK_ROWS.end()),
            NonZeroUsize::get,
        )
    }
}

/// The rules of a request, by the role of the series.
pub struct RulesByRole {
    primary: Arc<SeriesRules>,
    higher: Vec<Arc<SeriesRules>>,
    indicators: Arc<SeriesRules>,
}

impl RulesByRole {
    pub fn of(&self, role: Role) -> &Arc<SeriesRules> {
        match role {
            Role::Primary => &self.primary,
            Role::Higher(number) => &self.higher[number],
            Role::Indicators => &self.indicators,
        }
    }
}
