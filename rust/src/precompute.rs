//! Precomputes a request in parts: a file for each, and the list of them.
//!
//! Each part is an entry of a cache in the folder: complete or not there, made once whoever asks,
//! and made again if an input has changed. The list comes last.

use std::fs;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cache::{Entry, SliceCache};
use slices_core::error::{Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::request::{Request, SplitBy, Symbols, format_timestamp};
use slices_engine::inputs::split;
use slices_engine::multi_symbol::ReadOptions;
use slices_ipc::{Format, Part, PartList, Seal};

/// How a request is precomputed.
#[derive(Debug, Clone, Copy)]
pub struct PrecomputeOptions {
    /// How the request is cut.
    pub by: SplitBy,
    /// How many parts are made at the same time.
    pub jobs: NonZeroUsize,
    /// Whether the parts of another request are replaced.
    pub overwrite: bool,
}

/// One more part is there.
#[derive(Debug)]
pub struct PartMade<'a> {
    /// The part.
    pub part: &'a Part,
    /// The report of the run that made it, with its warnings.
    pub report: &'a Value,
    /// How many parts are there.
    pub done: usize,
    /// How many parts there will be.
    pub all: usize,
}

/// Makes the parts of a request in a folder, and lists them.
///
/// Parts that are there already are not made again. `tell` is called once for each part, in the
/// order in which they are there.
///
/// # Errors
///
/// A usage error if the folder holds the parts of another request. Otherwise the error of the first
/// part that fails; what is made stays, and the next call goes on from there.
///
/// # Panics
///
/// Panics if a part does.
pub fn precompute(
    request: &Request,
    read_options: &ReadOptions,
    folder: &Path,
    options: PrecomputeOptions,
    tell: impl Fn(PartMade<'_>) + Sync,
) -> Result<PartList> {
    let told = document_of(request);
    let known = PartList::read(folder)?;
    if known.as_ref().is_some_and(|known| known.request != told) && !options.overwrite {
        return Err(
            Error::usage("the folder holds the parts of another request")
                .at_file(folder)
                .with_hint(hint![
                    "name another folder, or replace them with ",
                    Setting::Overwrite
                ]),
        );
    }
    let parts = split(request, options.by, read_options)?;
    // No entry is ever in excess.
    let cache = SliceCache::open(folder, u64::MAX)?;
    let jobs = options
        .jobs
        .min(NonZeroUsize::new(parts.len()).unwrap_or(NonZeroUsize::MIN));
    let read_options = read_options.clone().shared_by(jobs);
    let made: Vec<_> = parts.iter().map(|_| Mutex::new(None)).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let has_failed = AtomicBool::new(false);
    let work = || {
        while !has_failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(request) = parts.get(number) else {
                return;
            };
            let found = make(&cache, request, &read_options);
            match &found {
                Ok((part, report)) => tell(PartMade {
                    part,
                    report,
                    done: done.fetch_add(1, Ordering::Relaxed) + 1,
                    all: parts.len(),
                }),
                Err(_) => has_failed.store(true, Ordering::Relaxed),
            }
            *made[number].lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.get() {
            scope.spawn(work);
        }
        work();
    });
    let made = made.into_iter().filter_map(|one| {
        let found = one.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.map(|found| found.map(|(part, _)| part))
    });
    let list = PartList::new(told, made.collect::<Result<_>>()?);
    list.write(folder)?;
    if let Some(known) = known {
        remove_stale(&known, &list, folder);
    }
    Ok(list)
}

/// The request as the list names it: as it was asked, whatever symbols it resolves to.
fn document_of(request: &Request) -> Value {
    let (symbols, is_all) = match request.symbols() {
        Symbols::Listed(symbols) => (&**symbols, false),
        Symbols::All => (&[][..], true),
    };
    let mut document: Value =
        serde_json::from_str(&request.to_json(symbols)).expect("a request is a JSON object");
    if is_all {
        document["symbols"] = Value::Null;
    }
    document
}

fn make(cache: &SliceCache, request: &Request, options: &ReadOptions) -> Result<(Part, Value)> {
    let entry = cache.entry(request, options, |_| {})?;
    let name = entry.path().file_name().unwrap_or_default();
    let key = Path::new(name).file_stem().unwrap_or_default();
    let seal = Seal {
        slices: entry.slices(),
        batches: entry.report()["batches"].as_u64().unwrap_or_default(),
    };
    let file = name.to_string_lossy().into_owned();
    let mut part = Part::new(file, seal, entry.report(), entry.size_bytes());
    let before_ns = request.end_ns().and_then(|end_ns| end_ns.checked_add(1));
    part.start = request.start_ns().map(format_timestamp);
    part.before = before_ns.map(format_timestamp);
    part.sha256 = sha256_of(&entry)?;
    part.key = key.to_string_lossy().into_owned();
    Ok((part, entry.report().clone()))
}

fn sha256_of(entry: &Entry) -> Result<String> {
    let mut hash = Hash(Sha256::new());
    entry.copy_to(Format::File, &mut hash)?;
    let digits = hash.0.finalize();
    Ok(digits.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Hashes what is written to it.
struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes the parts that the list no longer names.
fn remove_stale(known: &PartList, list: &PartList, folder: &Path) {
    let is_listed = |name: &str| list.parts.iter().any(|part| part.file == name);
    for (part, path) in known.paths(folder) {
        if !is_listed(&part.file) {
            // It may be gone already.
            let _ = fs::remove_file(path);
        }
    }
}
