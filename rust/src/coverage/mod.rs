//! Coverage: how much of a request's timeline each series covers, and why there are so few slices.
//!
//! [`Coverage::measure`] walks once over the union of all series, in the bounded memory of
//! [`SliceBatches`], and counts; nothing here prints. What each figure means stands at its field.
//!
//! * `tally` counts, slice by slice: presence, candles that contradict themselves, cells of the heat map.
//! * `heat_map` owns the picture: symbol × time.

mod bins;
mod heat_map;
mod survey;
mod tally;

use std::cmp::Reverse;
use std::sync::{Arc, Mutex};

use serde::Serialize;

use self::bins::most_bins;
pub use self::heat_map::{HeatMap, HeatMapCell};
use self::survey::{GapCount, SeriesSurvey, SharedSurvey, Surveyor, lock};
use self::tally::Tally;
use slices_core::error::Result;
use slices_core::report::{SeriesReport, Warning};
use slices_core::request::{PriceType, Request};
use slices_core::text::listed;
use slices_engine::multi_symbol::{Inputs, ReadOptions, SliceBatches};

/// How much of a timeline each series and symbol covers, those that do most harm first.
///
/// The union holds every timestamp at which any series has a candle, the intersection those at which
/// every one has: all within window and session of the request. Serializes to the document of
/// `coverage --json`, which is without the heat map.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Coverage {
    /// The timeframe of the candles.
    pub timeframe: String,
    /// The price types, in the order bid, ask, trade.
    pub price_types: Vec<PriceType>,
    /// Timestamps of the union.
    pub union_timestamps: u64,
    /// Timestamps of the intersection.
    pub intersection_timestamps: u64,
    /// The first timestamp of the union, nanoseconds UTC.
    pub first_timestamp_ns: Option<i64>,
    /// The last timestamp of the union, nanoseconds UTC.
    pub last_timestamp_ns: Option<i64>,
    /// One entry per symbol, by [`SymbolCoverage::alone`], then by how many timestamps are not complete,
    /// both descending, then in request order.
    pub symbols: Vec<SymbolCoverage>,
    /// One entry per series, by [`SeriesCoverage::alone`], then by [`SeriesCoverage::misses`], both
    /// descending, then in request order.
    pub series: Vec<SeriesCoverage>,
    /// Symbol × time.
    #[serde(skip)]
    pub heat_map: HeatMap,
}

/// One symbol over the timestamps of the union: `complete + one_sided + missing` is all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SymbolCoverage {
    /// The symbol.
    pub symbol: String,
    /// Timestamps at which it has all requested price types.
    pub complete: u64,
    /// Timestamps at which it has some of them, and others not.
    pub one_sided: u64,
    /// Timestamps at which it has none.
    pub missing: u64,
    /// Timestamps that only this symbol keeps out of the intersection: every other one is complete.
    pub alone: u64,
    /// Timestamps at which the bid closes above the ask.
    pub crossed: u64,
}

/// One series: a symbol's candles of one price type.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SeriesCoverage {
    /// What it holds, and what each rule dropped.
    #[serde(flatten)]
    pub report: SeriesReport,
    /// Its candles as a share of the timestamps of the union; `None` where there are none.
    pub share: Option<f64>,
    /// Timestamps of the union at which it has no candle.
    pub misses: u64,
    /// Timestamps that only this series keeps out of the intersection: every other one has a candle.
    pub alone: u64,
    /// Bars that are missing between its own candles.
    pub gaps: Gaps,
    /// Candles that contradict themselves.
    pub inconsistent: Inconsistent,
}

/// Stretches between neighbouring candles of a series that hold bars which the session filter would keep.
///
/// Bars are those of the timeframe's grid, on which candles are floored with `normalize`; a candle stands
/// for the bar that its timestamp lies in, and a bar lies in trading hours where its opening does. What is
/// missing before the first candle and after the last is no gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Gaps {
    /// How many such stretches there are.
    pub count: u64,
    /// How many bars they hold, all together.
    pub bars: u64,
    /// The one with the most bars, of several the first.
    pub longest: Option<Gap>,
}

/// One stretch without candles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Gap {
    /// How many bars are missing.
    pub bars: u64,
    /// The candle before them, nanoseconds UTC.
    pub last_before_ns: i64,
    /// The candle after them, nanoseconds UTC.
    pub first_after_ns: i64,
}

/// How many candles contradict themselves, by how; a candle may do so in several ways. No comparison holds
/// with a value that is no number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inconsistent {
    /// The high is lower than the low.
    pub high_below_low: u64,
    /// Open or close lies below the low or above the high, and the high is not lower than the low.
    pub outside_range: u64,
    /// The volume is negative.
    pub negative_volume: u64,
    /// A value is null, NaN or infinite.
    pub not_finite: u64,
}

impl Inconsistent {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl From<&GapCount> for Gaps {
    fn from(count: &GapCount) -> Self {
        Self {
            count: count.gaps,
            bars: count.bars,
            longest: count.longest.map(|gap| Gap {
                bars: gap.bars,
                last_before_ns: gap.last_before_ns,
                first_after_ns: gap.first_after_ns,
            }),
        }
    }
}

impl Coverage {
    /// Reads every candle of the request's series and counts. Timeline, carrying forward, higher
    /// timeframes and indicators of the request do not count.
    ///
    /// `after_batch` is called now and then, and once at the end, for progress and for warnings.
    ///
    /// ```no_run
    /// use omega_slices::{Coverage, ReadOptions, Request};
    ///
    /// let request = Request::builder("data/parquet").symbols(["EURUSD", "GBPUSD"]).build()?;
    /// let coverage = Coverage::measure(&request, &ReadOptions::new(), |_| {})?;
    /// for symbol in &coverage.symbols {
    ///     println!("{} alone costs {} slices", symbol.symbol, symbol.alone);
    /// }
    /// # Ok::<(), omega_slices::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`SliceBatches::open`] and of its batches.
    pub fn measure(
        request: &Request,
        options: &ReadOptions,
        mut after_batch: impl FnMut(&SliceBatches),
    ) -> Result<Self> {
        let request = request.over_union();
        let inputs = Inputs::find(&request, options)?;
        let bins = most_bins(inputs.resolved.series.len());
        let mut surveys: Vec<SharedSurvey> = Vec::new();
        let mut batches = SliceBatches::open_observed(&request, inputs, options, |series| {
            let survey = Arc::new(Mutex::new(SeriesSurvey::new(&series, bins)));
            surveys.push(survey.clone());
            Box::new(Surveyor(survey))
        })?;
        let mut tally = Tally::new(&request, batches.symbols().len());
        while let Some(batch) = batches.next() {
            let walked = batch.map(|batch| {
                tally.add(&batch);
                batches.recycle(batch.into_record_batch());
            });
            after_batch(&batches);
            walked?;
        }
        after_batch(&batches);
        Ok(Self::new(&request, &batches, tally, &surveys))
    }

    fn new(
        request: &Request,
        batches: &SliceBatches,
        tally: Tally,
        surveys: &[SharedSurvey],
    ) -> Self {
        let report = batches.report();
        let union_timestamps = report.slices;
        let share =
            |candles: u64| (union_timestamps > 0).then(|| candles as f64 / union_timestamps as f64);
        let each = report.series.into_iter().zip(surveys).zip(tally.series());
        let mut series: Vec<_> = each
            .map(|((report, survey), (alone, inconsistent))| SeriesCoverage {
                share: share(report.candles),
                misses: union_timestamps - report.candles,
                alone,
                gaps: (&lock(survey).gaps).into(),
                inconsistent,
                report,
            })
            .collect();
        series.sort_by_key(|one| (Reverse(one.alone), Reverse(one.misses)));
        let intersection_timestamps = tally.complete();
        let dropped = surveys
            .iter()
            .map(|survey| lock(survey).dropped.clone())
            .collect();
        let alone = tally.alone_by_symbol().to_vec();
        let crossed = tally.crossed().to_vec();
        let heat_map = HeatMap::new(request, batches.symbols(), tally.into_cells(), dropped);
        let mut symbols: Vec<_> = (0..batches.symbols().len())
            .map(|symbol| {
                let all = heat_map.total(symbol);
                SymbolCoverage {
                    symbol: batches.symbols()[symbol].clone(),
                    complete: all.present,
                    one_sided: all.one_sided,
                    missing: all.missing,
                    alone: alone[symbol],
                    crossed: crossed[symbol],
                }
            })
            .collect();
        symbols.sort_by_key(|one| (Reverse(one.alone), Reverse(one.one_sided + one.missing)));
        Self {
            timeframe: request.timeframe().as_str().to_owned(),
            price_types: request.price_types().to_vec(),
            union_timestamps,
            intersection_timestamps,
            first_timestamp_ns: report.first_timestamp_ns,
            last_timestamp_ns: report.last_timestamp_ns,
            symbols,
            series,
            heat_map,
        }
    }

    /// Says which series have a candle at less than `share` (0 to 1) of the union's timestamps, the ones
    /// that miss most first. `None` where each has enough; a union without timestamps is never enough.
    #[must_use]
    pub fn check(&self, share: f64) -> Option<Warning> {
        const SHOWN: usize = 20;
        let mut under: Vec<_> = self
            .series
            .iter()
            .filter_map(|one| one.share.filter(|own| *own < share).map(|own| (own, one)))
            .collect();
        let message = if self.union_timestamps == 0 {
            "no series has a candle: there is no timestamp to have a share of".to_owned()
        } else if under.is_empty() {
            return None;
        } else {
            under.sort_by(|one, other| one.0.total_cmp(&other.0));
            let named = under
                .iter()
                .map(|(own, one)| format!("{} ({own:.6})", one.report.name()));
            format!(
                "{} of {} series have candles at less than {share} of the {} timestamps: {}",
                under.len(),
                self.series.len(),
                self.union_timestamps,
                listed(named, SHOWN)
            )
        };
        Some(Warning::new("UNDER_THRESHOLD", message))
    }
}
