//! Owns how a request is read, as far as it does not show in the output: threads, and what fits into
//! the memory budgets.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use crate::data::bins::most_bins;
use crate::data::discovery::Role;
use crate::data::multi_symbol::batches::PLANS_AHEAD;
use crate::data::series::SeriesRules;
use crate::data::session::Hours;
use crate::request::Request;

/// What the candle times of all series together may take.
const CHUNK_BUDGET_BYTES: usize = 16 << 20;

/// What the timestamps of segments that are held whole may take, for all series together.
const SEGMENT_BUDGET_BYTES: usize = 128 << 20;

/// What values that are decoded ahead may take, for all columns of all series together.
const AHEAD_BUDGET_BYTES: usize = 128 << 20;

/// Bounds for the rows that are decoded ahead: for fewer it does not pay, and by then nearly all of a
/// dictionary has been used.
const AHEAD_ROWS: std::ops::RangeInclusive<usize> = 4_096..=20_000;

/// Bounds for the rows of a chunk: below, reading goes in steps too small to pay; above, the
/// cache no longer holds what is compared.
const CHUNK_ROWS: std::ops::RangeInclusive<usize> = 1_024..=16_384;

/// More threads than any machine has cores for; each takes memory that the system may not have.
const THREADS_MAX: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not zero");

/// How to read, as far as it does not show in the output.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ReadOptions {
    threads: Option<NonZeroUsize>,
    chunk_rows: Option<NonZeroUsize>,
    follow_links: bool,
    strict: bool,
    survey: bool,
}

impl ReadOptions {
    /// As many decoding threads as there are cores, chunks by the memory budget.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many threads decode, at most 512.
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// How many rows of a series are decoded at a time, whatever the memory budget says.
    #[must_use]
    pub fn with_chunk_rows(mut self, chunk_rows: NonZeroUsize) -> Self {
        self.chunk_rows = Some(chunk_rows);
        self
    }

    /// Whether what a symbol's name or a `*` adds to a path may lead, through links, out of the folder
    /// that stands before it. It may not unless this says so.
    #[must_use]
    pub fn with_follow_links(mut self, follow_links: bool) -> Self {
        self.follow_links = follow_links;
        self
    }

    /// Whether a run that would warn fails instead, with the number and name of its first warning.
    #[must_use]
    pub fn with_strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    pub(crate) fn follows_links(&self) -> bool {
        self.follow_links
    }

    /// Has every series surveyed: when its rows were dropped, and where bars are missing.
    pub(crate) fn with_survey(mut self) -> Self {
        self.survey = true;
        self
    }

    /// The rules of a request of so many series; `hours` are those of its file of sessions.
    pub(crate) fn series_rules(
        &self,
        request: &Request,
        hours: Option<&Arc<Hours>>,
        series: usize,
    ) -> RulesByRole {
        let segment_rows = SEGMENT_BUDGET_BYTES / (series.max(1) * size_of::<i64>());
        let survey_bins = self.survey.then(|| most_bins(series));
        let rules = |role| {
            let chunk_rows = self.chunk_rows(series);
            let rules = SeriesRules::new(request, role, hours, chunk_rows, segment_rows);
            Arc::new(rules.with_survey(survey_bins))
        };
        let higher = 0..request.higher_timeframes().len();
        RulesByRole {
            primary: rules(Role::Primary),
            higher: higher.map(|number| rules(Role::Higher(number))).collect(),
            indicators: rules(Role::Indicators),
        }
    }

    pub(crate) fn threads(&self) -> NonZeroUsize {
        self.threads
            .or_else(|| thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
            .min(THREADS_MAX)
    }

    /// How many rows of a column are decoded ahead where that pays; 0 where there are too many columns.
    pub(super) fn ahead_rows(columns: usize) -> usize {
        let by_budget = AHEAD_BUDGET_BYTES / (columns.max(1) * size_of::<f64>());
        if by_budget < *AHEAD_ROWS.start() {
            0
        } else {
            by_budget.min(*AHEAD_ROWS.end())
        }
    }

    fn chunk_rows(&self, series: usize) -> usize {
        // Per series: timestamps of the window, of the chunk that waits and of the one that is
        // being read; what is placed in the blocks of the plans, as little as that is in long
        // stretches.
        const ROW_BYTES: usize = 3 * size_of::<i64>() + PLANS_AHEAD * size_of::<u32>();
        let by_budget = CHUNK_BUDGET_BYTES / (series.max(1) * ROW_BYTES);
        self.chunk_rows.map_or_else(
            || by_budget.clamp(*CHUNK_ROWS.start(), *CHUNK_ROWS.end()),
            NonZeroUsize::get,
        )
    }
}

/// The rules of a request, by the role of the series that they are for.
pub(crate) struct RulesByRole {
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
