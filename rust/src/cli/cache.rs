//! Runs `sync --cache`, `cache list` and `cache clear`.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use omega_slices::cache::{Entry, Event, SliceCache};
use omega_slices::{Error, Request, format_timestamp};
use serde_json::{Value, json};

use crate::cli::args::{CacheCommand, SyncArguments};
use crate::cli::messages::{Messages, one_line, with_temporary_bytes};
use crate::cli::output::Output;
use crate::cli::progress::ProgressBar;
use crate::cli::stdout;
use crate::cli::watch::Watch;

/// Digits of a key to show; enough to tell entries apart.
const DIGITS_SHOWN: usize = 12;

/// Finds or builds the entry, and writes its slices or only its path.
pub fn sync(
    cache: SliceCache,
    arguments: &SyncArguments,
    messages: &Messages,
    heartbeat: Option<Duration>,
) -> Result<(), Error> {
    let request = arguments.request.request()?;
    let output = if arguments.cache.print_path {
        None
    } else {
        Some(Output::of(arguments, &request)?)
    };
    let cache = Arc::new(cache);
    let watch = Watch::start(*messages, heartbeat)?;
    if output.as_ref().is_none_or(Output::is_stdout) {
        let cache = cache.clone();
        watch.end_without_reader(move || cache.give_up())?;
    }
    let (entry, temporary_bytes) = find_or_make(&cache, &request, arguments, messages)?;
    let report = with_temporary_bytes(entry.report().clone(), temporary_bytes);
    watch.leave_to_writing();
    let Some(output) = output else {
        let mut line = entry.path().as_os_str().as_bytes().to_vec();
        line.push(b'\n');
        stdout::bytes(&line)?;
        drop(watch);
        messages.run(report, None);
        return Ok(());
    };
    let mut pending = output.create()?;
    let written = entry.copy_to(pending.format(), pending.writer());
    written.map_err(|error| pending.name_target(error))?;
    let target = pending.commit()?;
    drop(watch);
    messages.run(report, target.as_deref());
    Ok(())
}

/// The entry, and the bytes of the temporary file that its run had.
fn find_or_make(
    cache: &SliceCache,
    request: &Request,
    arguments: &SyncArguments,
    messages: &Messages,
) -> Result<(Entry, u64), Error> {
    let mut bar = None;
    let mut temporary_bytes = 0;
    let entry = cache.entry(
        request,
        &arguments.request.series.read_options()?,
        |event| match event {
            Event::Waiting => {
                messages.note("waiting for another process that is building this cache entry");
            }
            Event::Batch(progress, bytes) => bar
                .get_or_insert_with(|| ProgressBar::start(arguments.progress, messages, progress))
                .update(progress, Some(bytes)),
            Event::Built(bytes) => temporary_bytes = bytes,
        },
    );
    if let Some(bar) = bar {
        bar.finish();
    }
    Ok((entry?, temporary_bytes))
}

/// Runs `cache list` and `cache clear`.
pub fn run(command: &CacheCommand) -> Result<(), Error> {
    match command {
        CacheCommand::List { folder, json } => {
            let entries = folder.open()?.entries()?;
            if *json {
                let entries: Vec<_> = entries.iter().map(document).collect();
                return stdout::json(&entries);
            }
            stdout::text(&table(&entries))
        }
        CacheCommand::Clear { folder } => {
            let cache = folder.open()?;
            let (count, bytes) = cache.clear()?;
            let bytes = ByteSize(bytes);
            let files = if count == 1 { "file" } else { "files" };
            let folder = cache.folder().display();
            stdout::text(&format!(
                "removed {count} {files}, {bytes}, from {folder}\n"
            ))
        }
    }
}

fn document(entry: &Entry) -> Value {
    json!({
        "path": entry.path().to_string_lossy(),
        "bytes": entry.size_bytes(),
        "last_used_ns": last_used_ns(entry),
        "slices": entry.slices(),
        "first_timestamp_ns": entry.report()["first_timestamp_ns"],
        "last_timestamp_ns": entry.report()["last_timestamp_ns"],
        "symbols": &*entry.content().symbols,
        "timeframe": entry.content().timeframe,
        "request": entry.content().request,
        "producer": entry.content().producer,
    })
}

fn table(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "the cache is empty\n".to_owned();
    }
    let mut text = format!(
        "{:<DIGITS_SHOWN$}  {:>10}  {:<19}  {:>9}  {:>7}  {:<9}  data\n",
        "file", "size", "last used (UTC)", "slices", "symbols", "timeframe"
    );
    for entry in entries {
        let name = entry
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let used = last_used_ns(entry).map_or_else(String::new, format_timestamp);
        let _ = writeln!(
            text,
            "{:<DIGITS_SHOWN$}  {:>10}  {:<19.19}  {:>9}  {:>7}  {:<9}  {}",
            name.get(..DIGITS_SHOWN).unwrap_or(&name),
            ByteSize(entry.size_bytes()).to_string(),
            used,
            entry.slices(),
            entry.content().symbols.len(),
            one_line(&entry.content().timeframe),
            one_line(entry.content().request["data"].as_str().unwrap_or_default()),
        );
    }
    let total: u64 = entries.iter().map(Entry::size_bytes).sum();
    let _ = writeln!(text, "{} altogether", ByteSize(total));
    text
}

fn last_used_ns(entry: &Entry) -> Option<i64> {
    let since: Duration = entry
        .last_used()?
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?;
    i64::try_from(since.as_nanos()).ok()
}
