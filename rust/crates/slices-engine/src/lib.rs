//! Turns the files of many symbols into batches of synchronised slices.
//!
//! A module imports only modules that stand above it in this list:
//!
//! 1. `delta_runs`, `kept_timestamps`, `thread_pool`: timestamps in little memory; threads.
//!    `memory`, then `spill`: the budget; columns in a temporary file.
//! 2. [`series_files`], `places`, then [`input_list`] and [`discovery`]: the files of each series.
//! 3. `series`: one ordered, filtered series: its candle times and its values.
//! 4. `gather`: moves values and timestamps into columns, following a plan.
//! 5. `prefetch`, `planner`: make the plan from the candle times of all series.
//! 6. `assemble`, [`multi_symbol`], [`inputs`]: record batches; slices, batches, iterators; lists
//!    of inputs.
//!
//! May import `slices-core`, `slices-store` and `slices-parquet`. Does not know streams, coverage,
//! comparison or the cache.

mod assemble;
#[doc(hidden)]
pub mod bench_support;
mod delta_runs;
pub mod discovery;
mod gather;
pub mod input_list;
pub mod inputs;
mod kept_timestamps;
#[doc(hidden)]
pub mod memory;
pub mod multi_symbol;
mod output_types;
mod places;
mod planner;
mod prefetch;
mod series;
pub mod series_files;
mod spill;
mod thread_pool;

pub use series::{ObservedSeries, SeriesObserver};
