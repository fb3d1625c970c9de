//! Entry points for benchmarks: decode, interleave and encode, each alone. Not part of the public
//! interface.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
pub use slices_core::alignment;
pub use slices_engine::bench_support::{decode, interleave};
use slices_ipc::{Encoder, Format, WriteOptions};

/// Encodes batches as an Arrow IPC stream.
///
/// # Errors
///
/// Fails if the output fails.
pub fn encode<W: Write>(batches: &[RecordBatch], output: W) -> Result<(), ArrowError> {
    let Some(first) = batches.first() else {
        return Ok(());
    };
    let mut encoder = Encoder::new(WriteOptions::new(Format::Stream), output, &first.schema())?;
    for batch in batches {
        encoder.write(batch)?;
    }
    encoder.finish()
}
