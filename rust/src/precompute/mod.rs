//! Precomputes a request in parts: a file for each, and the list of them.
//!
//! A part is complete or not there. It is made again if an input has changed. The list comes last.

mod shelf;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use self::shelf::Shelf;
use crate::cache;
use slices_core::error::{Code, Error, Result};
use slices_core::request::{Request, SplitBy, Symbols};
use slices_engine::inputs::split;
use slices_engine::multi_symbol::{Inputs, ReadOptions};
use slices_ipc::{Part, PartList};

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

/// How often the parts that another run removed meanwhile are made again.
const ATTEMPTS: u32 = 3;

/// Makes the parts of a request in a folder or bucket, and lists them.
///
/// Parts that are there already are not made again. `tell` is called once for each part, in the
/// order in which they are there.
///
/// # Errors
///
/// A usage error if the folder holds the parts of another request. [`Code::CorruptInput`] if an
/// input changes before the last part is made. Otherwise the error of the first part that fails;
/// what is made stays, and the next call goes on from there.
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
    let shelf = Shelf::open(folder, read_options)?;
    let known = shelf.known(&told, options.overwrite)?;
    let parts = split(request, options.by, read_options)?;
    let before = identity_of(request, read_options)?;
    let jobs = options
        .jobs
        .min(NonZeroUsize::new(parts.len()).unwrap_or(NonZeroUsize::MIN));
    // The warnings of all parts together decide.
    let part_options = read_options.clone().shared_by(jobs).with_strict(false);
    let mut made = Vec::new();
    for attempt in 0..ATTEMPTS {
        let tell = |made: PartMade<'_>| {
            if attempt == 0 {
                tell(made);
            }
        };
        made = make_all(&parts, jobs, tell, |part| {
            let (part, report) = shelf.make(part, known.as_ref(), &part_options)?;
            if let Some(warning) = strict_warning(&report).filter(|_| read_options.is_strict()) {
                return Err(warning);
            }
            Ok((part, report))
        })?;
        if read_options.is_strict() {
            check_empty(&made)?;
        }
        if identity_of(request, read_options)? != before {
            let message =
                "an input changed while the parts were made: they may mix old and new rows";
            return Err(Error::input(Code::CorruptInput, message)
                .at_file(request.data())
                .with_hint("run again when no other process writes there"));
        }
        let list = PartList::new(
            told.clone(),
            made.iter().map(|(part, _)| part.clone()).collect(),
        );
        if shelf.complete(&list, options.overwrite)? {
            return Ok(list);
        }
    }
    drop(made);
    Err(
        Error::system("another run removes parts as fast as this one makes them")
            .at_file(folder)
            .with_hint("let one of them run to its end, or name another folder"),
    )
}

/// Makes one part of a request in a folder or bucket, or finds it made: for callers that share the
/// work among machines, and write the list themselves.
///
/// # Errors
///
/// As [`precompute`].
pub fn make_part(request: &Request, options: &ReadOptions, folder: &Path) -> Result<Part> {
    let shelf = Shelf::open(folder, options)?;
    let known = PartList::read(folder, &options.storage()).ok().flatten();
    Ok(shelf.make(request, known.as_ref(), options)?.0)
}

/// What identifies the inputs of a request.
fn identity_of(request: &Request, options: &ReadOptions) -> Result<String> {
    cache::digits_of(request, &Inputs::find(request, options)?)
}

/// Makes all parts, some at the same time. After a failure it begins no other.
fn make_all(
    parts: &[Request],
    jobs: NonZeroUsize,
    tell: impl Fn(PartMade<'_>) + Sync,
    make: impl Fn(&Request) -> Result<(Part, Value)> + Sync,
) -> Result<Vec<(Part, Value)>> {
    let made: Vec<_> = parts.iter().map(|_| Mutex::new(None)).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let has_failed = AtomicBool::new(false);
    let work = || {
        while !has_failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(request) = parts.get(number) else {
                return;
            };
            let found = make(request);
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
    let made = made.into_iter();
    made.filter_map(|one| one.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}

/// Whether a warning says that there is nothing, which a part may have where the whole has not.
fn says_empty(warning: &Value) -> bool {
    let empty = [Code::EmptySeries.name(), Code::EmptyTimeline.name()];
    warning["name"]
        .as_str()
        .is_some_and(|name| empty.contains(&name))
}

fn warnings_of(report: &Value) -> impl Iterator<Item = &Value> {
    report["warnings"].as_array().into_iter().flatten()
}

/// The first warning of a part that a strict run does not accept.
fn strict_warning(report: &Value) -> Option<Error> {
    let warning = warnings_of(report).find(|warning| !says_empty(warning))?;
    Some(cache::warning_in(warning)?.to_error())
}

/// Fails if a series is empty in all parts, or all parts are.
fn check_empty(made: &[(Part, Value)]) -> Result<()> {
    let about = |warning: &Value| {
        let part = |key: &str| warning[key].as_str().unwrap_or_default().to_owned();
        (part("name"), part("symbol"), part("price_type"))
    };
    let Some(((_, first), others)) = made.split_first() else {
        return Ok(());
    };
    let is_everywhere = |warning: &&Value| {
        others
            .iter()
            .all(|(_, report)| warnings_of(report).any(|other| about(other) == about(warning)))
    };
    let mut empty = warnings_of(first).filter(|warning| says_empty(warning));
    match empty.find(is_everywhere).and_then(cache::warning_in) {
        Some(warning) => Err(warning.to_error()),
        None => Ok(()),
    }
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
