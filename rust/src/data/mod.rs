//! Turns files into slices. Each layer uses only the layers before it in this list:
//!
//! 1. [`candle`]: the fields of a candle, and the columns of the stream.
//! 2. `session`, `delta_runs`, [`alignment`]: pure rules over timestamps. `thread_pool`:
//!    threads.
//! 3. `discovery`, `input_list`, `source`: finds files, and reads one Parquet file.
//! 4. `series`: one ordered, filtered series from its files: its candle times, its values.
//! 5. `gather`: brings values and timestamps together, following a plan.
//! 6. `prefetch`, `planner`: make the plan from the candle times of all series.
//! 7. `assemble`, [`multi_symbol`]: record batches; slices, batches, iterators.

pub mod alignment;
pub(crate) mod assemble;
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
