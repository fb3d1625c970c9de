//! Parses the command line: clap turns text into plain values, and these become a checked request.

mod cache;
mod coverage;
mod diff;
mod files;
mod inputs;
mod inspect;
mod layout;
mod object;
mod precompute;
mod request;
mod series;
mod storage;
mod sync;

use std::ffi::OsString;
use std::sync::LazyLock;

use clap::{Parser, Subcommand, ValueEnum};
use omega_slices::zone_rules_release;

pub use self::cache::{CacheArguments, CacheCommand, CacheCommandArguments};
pub use self::coverage::CoverageArguments;
pub use self::diff::DiffArguments;
pub use self::inputs::InputsArguments;
pub use self::inspect::InspectArguments;
pub use self::layout::{LayoutArguments, LayoutCommand};
pub use self::object::{ObjectArguments, ObjectCommand, PartArguments};
pub use self::precompute::PrecomputeArguments;
pub use self::request::RequestArguments;
pub use self::series::SeriesArguments;
pub use self::storage::StorageArguments;
pub use self::sync::SyncArguments;

/// Synchronise the candles of many symbols: Parquet in, Arrow slices out.
#[derive(Debug, Parser)]
#[command(
    name = "omega-slices",
    version = VERSION.as_str(),
    max_term_width = 100,
    after_help = EXIT_STATUS_HELP
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,

    /// Format of errors, warnings and the final report on stderr.
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub error_format: ErrorFormat,
}

/// The version, and the release of the built-in time zone rules.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    format!("{version} (time zones {})", zone_rules_release())
});

const EXIT_STATUS_HELP: &str = "\
Exit status:
  0  done, or the reader closed the pipe
  1  the answer is no: diff found a difference, or a series is below the coverage threshold
  2  the request is invalid or contradicts itself
  3  the input is missing, malformed or contradictory
  4  the output or the system failed (disk full, …)";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Synchronise candles and write slices: to stdout as an Arrow IPC stream, or to a file.
    Sync(Box<SyncArguments>),
    /// Precompute slices in parts: a file for each, in a folder, and the list of them.
    Precompute(Box<PrecomputeArguments>),
    /// List the files, columns, units and zones that a request reads.
    Inputs(Box<InputsArguments>),
    /// List and show the built-in layouts of files.
    Layout(LayoutArguments),
    /// Show what a file or stream of slices contains, and whether it is complete.
    Inspect(InspectArguments),
    /// Show how much of the timeline each series covers, and how many slices it costs.
    Coverage(Box<CoverageArguments>),
    /// Compare two files or streams of slices, and show the first difference.
    Diff(DiffArguments),
    /// List or remove the files that sync --cache keeps.
    Cache(CacheCommandArguments),
    /// Read or write an object as it is, for the Python package.
    #[command(hide = true)]
    Object(ObjectArguments),
    /// Make one part of a precomputed request, for the Python package.
    #[command(hide = true)]
    Part(Box<PartArguments>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ErrorFormat {
    Text,
    Json,
}

/// Finds the error format in arguments that clap cannot parse.
pub fn error_format_of(arguments: impl Iterator<Item = OsString>) -> ErrorFormat {
    let arguments: Vec<_> = arguments.collect();
    let asked = arguments
        .iter()
        .any(|argument| argument == "--error-format=json")
        || arguments
            .windows(2)
            .any(|pair| pair[0] == "--error-format" && pair[1] == "json");
    if asked {
        ErrorFormat::Json
    } else {
        ErrorFormat::Text
    }
}
