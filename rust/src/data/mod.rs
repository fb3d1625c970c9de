//! The way of the data, from files to slices. Each floor knows only the ones above it in this list:
//!
//! 1. [`candle`]: what a candle is, and the columns of the stream.
//! 2. `session`, `delta_runs`, `bins`, [`alignment`]: pure rules over timestamps. `thread_pool`: threads.
//! 3. `discovery`, `input_list`, `source`: which files there are, and what one Parquet file holds.
//! 4. `series`: one ordered, filtered series from its files: its candle times, its values.
//! 5. `gather`: values and timestamps brought together, by a plan.
//! 6. `prefetch`, `planner`: the plan, from the candle times of all series.
//! 7. `assemble`, [`multi_symbol`]: record batches; slices, batches, iterators.

pub mod alignment;
pub(crate) mod assemble;
pub(crate) mod bins;
pub mod candle;
pub(crate) mod delta_runs;
pub(crate) mod discovery;
pub(crate) mod gather;
pub(crate) mod input_list;
pub mod multi_symbol;
pub(crate) mod planner;
pub(crate) mod prefetch;
pub(crate) mod series;
pub(crate) mod session;
pub(crate) mod source;
pub(crate) mod thread_pool;
