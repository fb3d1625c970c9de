//! The way of the data, from files to slices. Each floor knows only the ones above it in this list:
//!
//! 1. [`candle`]: what a candle is, and the columns of the stream.
//! 2. `session`, `runs`, [`sync`]: pure rules over timestamps.
//! 3. `layout`, `source`: which files there are, and what one Parquet file holds.
//! 4. `series`: one ordered, cleaned series from its files, chunk by chunk.
//! 5. `read_ahead`: series decoded on worker threads.
//! 6. `gather`, [`multi_symbol`]: values brought together; slices, batches, iterators.

pub mod candle;
pub(crate) mod gather;
pub(crate) mod layout;
pub mod multi_symbol;
pub(crate) mod read_ahead;
pub(crate) mod runs;
pub(crate) mod series;
pub(crate) mod session;
pub(crate) mod source;
pub mod sync;
