//! Entry points for benchmarks: decode and interleave, each alone. Not part of the public
//! interface.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::discovery;
use crate::gather;
use crate::multi_symbol::ReadOptions;
use crate::series::{self, SeriesRules, ValueCursor};
use crate::series_files::SeriesFiles;
use slices_core::error::{Error, Result};
use slices_core::request::Request;

/// Decodes all candles of a request, series by series, and drops them. Returns the number of
/// decoded values. No run can be faster than this.
///
/// # Errors
///
/// Fails as a run does.
pub fn decode(request: &Request, options: &ReadOptions) -> Result<u64> {
    let storage = options.storage();
    let resolved = discovery::resolve(request, options.follows_links(), &storage)?;
    let rules = options.series_rules(
        request,
        None,
        resolved.series.len(),
        &options.memory_budget(),
        &storage,
    );
    let left = Mutex::new(resolved.series.into_iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..options.threads().get())
            .map(|_| {
                scope.spawn(|| {
                    let mut values = 0;
                    while let Some(files) = next() {
                        values += decode_series(&files, rules.of(&files))?;
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

fn decode_series(files: &SeriesFiles, rules: &Arc<SeriesRules>) -> Result<u64> {
    let opened = series::open_files(files, rules)?;
    let (source, mut timestamps) = series::open(files, opened, rules.clone(), Box::new(()))?;
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
