//! Entry points for benchmarks: decode, interleave and encode, each alone. Not part of the public
//! interface.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use crate::data::discovery;
use crate::data::gather;
use crate::data::multi_symbol::ReadOptions;
use crate::data::series::{self, SeriesRules, ValueCursor};
use crate::error::{Error, Result};
use crate::ipc::{Encoder, Format, WriteOptions};
use crate::request::Request;

/// Decodes all candles of a request, series by series, and drops them. Returns the number of
/// decoded values. No run can be faster than this.
///
/// # Errors
///
/// Fails as a run does.
pub fn decode(request: &Request, options: &ReadOptions) -> Result<u64> {
    let resolved = discovery::resolve(request, options.follows_links())?;
    let rules = options.series_rules(request, None, resolved.series.len());
    let left = Mutex::new(resolved.series.into_iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..options.threads().get())
            .map(|_| {
                scope.spawn(|| {
                    let mut values = 0;
                    while let Some(files) = next() {
                        values += decode_series(&files, rules.of(files.role))?;
                    }
                    Ok(values)
                })
            })
            .collect();
        let failed = |_| Err(Error::system("a decoding thread failed"));
        let counts = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(failed));
        counts.sum()
    })
}

fn decode_series(files: &discovery::SeriesFiles, rules: &Arc<SeriesRules>) -> Result<u64> {
    let (source, mut timestamps) = series::open(files, rules.clone(), Box::new(()))?;
    while timestamps.next_chunk()?.is_some() {}
    for field in 0..rules.fields() {
        ValueCursor::new(source.clone(), field, 0).finish()?;
    }
    Ok(source.rows() * (1 + rules.fields() as u64))
}

/// Interleaves the values of series into `cells`, slice by slice.
pub fn interleave(series: &[Vec<f64>], cells: &mut [f64]) {
    gather::interleave_all(series, cells);
}

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
