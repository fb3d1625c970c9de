//! Runs the command line on top of the library: arguments, messages, outputs and progress.
//!
//! Only data and requested reports or help go to stdout; all other text goes to stderr.

mod args;
mod atomic_file;
mod cache;
mod coverage;
mod diff;
mod inputs;
mod inspect;
mod layout;
mod messages;
mod object;
mod output;
mod precompute;
mod progress;
mod stdout;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use omega_slices::ipc::{self, WriteOptions};
use omega_slices::{Error, ErrorKind, SliceBatches};
use serde_json::json;

use crate::cli::args::{Arguments, Command, SyncArguments};
use crate::cli::messages::Messages;
use crate::cli::output::Output;
use crate::cli::progress::ProgressBar;
use crate::cli::watch::Watch;

/// Sets up the process: the limit of open files and a panic hook.
pub fn prepare_process() {
    // Every series keeps a file open. If this fails, a later error names the limit.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !omega_slices::panic_will_be_reported() {
            default_hook(panic);
        }
    }));
}

/// Parses the arguments. `Err` is the exit status if there is nothing to run: help was printed, or
/// the arguments are invalid.
pub fn parse() -> Result<(Arguments, Messages), ExitCode> {
    match Arguments::try_parse() {
        Ok(arguments) => {
            let messages = Messages::new(arguments.error_format);
            Ok((arguments, messages))
        }
        Err(problem) if !problem.use_stderr() => {
            // Help or version. Ignore a closed stdout.
            let _ = problem.print();
            Err(ExitCode::SUCCESS)
        }
        Err(problem) => {
            let format = args::error_format_of(std::env::args_os());
            let text = problem.render().to_string();
            let problem = text.trim().trim_start_matches("error: ");
            Messages::new(format).arguments(problem, std::env::args_os());
            Err(exit_code(ErrorKind::Usage))
        }
    }
}

/// The exit status of an error.
pub fn exit_code(class: ErrorKind) -> ExitCode {
    ExitCode::from(messages::exit_status(class))
}

/// The answer of a command that ran to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Also for commands that answer no question.
    Yes,
    No,
}

/// Runs the command.
pub fn run(arguments: &Arguments, messages: &Messages) -> Result<Answer, Error> {
    match &arguments.command {
        Command::Sync(arguments) => sync(arguments, messages).map(|()| Answer::Yes),
        Command::Precompute(arguments) => {
            precompute::run(arguments, messages).map(|()| Answer::Yes)
        }
        Command::Cache(arguments) => cache::run(&arguments.command).map(|()| Answer::Yes),
        Command::Inputs(arguments) => inputs::run(arguments).map(|()| Answer::Yes),
        Command::Inspect(arguments) => inspect::run(arguments).map(|()| Answer::Yes),
        Command::Layout(arguments) => layout::run(&arguments.command).map(|()| Answer::Yes),
        Command::Coverage(arguments) => coverage::coverage(arguments, messages),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Object(arguments) => object::run(arguments),
        Command::Part(arguments) => object::part(arguments).map(|()| Answer::Yes),
    }
}

fn sync(arguments: &SyncArguments, messages: &Messages) -> Result<(), Error> {
    let heartbeat = arguments.heartbeat(messages)?;
    if let Some(cache) = arguments.cache.open()? {
        return cache::sync(cache, arguments, messages, heartbeat);
    }
    let request = arguments.request.request()?;
    let series = &arguments.request.series;
    let output = Output::of(arguments, &request)?;
    let watch = Watch::start(*messages, heartbeat)?;
    if output.is_stdout() {
        watch.end_without_reader(|| {})?;
    }
    let mut batches = SliceBatches::open(&request, &series.read_options()?)?;
    let mut said = 0;
    let mut say_new_warnings = |batches: &SliceBatches| {
        messages.warnings(&batches.warnings()[said..]);
        said = batches.warnings().len();
    };
    let stored = output.storage();
    let mut pending = output.create()?;
    let bar = ProgressBar::start(arguments.progress, messages, batches.progress());
    let options = WriteOptions::new(pending.format()).with_compression(arguments.compression());
    let written = ipc::write(&mut batches, options, pending.writer(), |batches, bytes| {
        if batches.is_at_end() {
            watch.leave_to_writing();
        }
        bar.update(batches.progress(), Some(bytes));
        say_new_warnings(batches);
    });
    bar.finish();
    say_new_warnings(&batches);
    written.map_err(|error| pending.name_target(error))?;
    let target = pending.commit()?;
    drop(watch);
    let report = batches.report();
    let told = messages::with_temporary_bytes(json!(report), report.temporary_bytes);
    let traffic = [
        batches.traffic(),
        stored.and_then(|storage| storage.traffic()),
    ];
    let told = messages::with_traffic(told, traffic.into_iter().flatten());
    messages.report(told, target.as_deref());
    Ok(())
}
