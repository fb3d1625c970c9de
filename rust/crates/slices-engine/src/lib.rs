//! From the files of many symbols to batches of synchronised slices.
//!
//! Each module knows only the ones above it in this list:
//!
//! 1. `delta_runs`, `thread_pool`: runs of timestamps; threads.
//! 2. [`discovery`], [`input_list`]: which files there are.
//! 3. `series`: one ordered, filtered series from its files: its candle times, its values.
//! 4. `gather`: brings values and timestamps together, following a plan.
//! 5. `prefetch`, `planner`: make the plan from the candle times of all series.
//! 6. `assemble`, [`multi_symbol`], [`inputs`]: record batches; slices, batches, iterators; lists of inputs.
//!
//! May import `slices-core` and `slices-parquet`. Knows neither streams nor coverage, comparison and cache.

mod assemble;
#[doc(hidden)]
pub mod bench_support;
mod delta_runs;
pub mod discovery;
mod gather;
pub mod input_list;
pub mod inputs;
pub mod multi_symbol;
mod planner;
mod prefetch;
mod series;
mod thread_pool;

pub use series::{ObservedSeries, SeriesObserver};
