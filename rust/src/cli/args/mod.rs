//! Owns the arguments: text to plain values by clap, plain values to a checked request.

mod cache;
mod coverage;
mod diff;
mod inputs;
mod inspect;
mod request;
mod series;
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
pub use self::request::RequestArguments;
pub use self::series::SeriesArguments;
pub use self::sync::SyncArguments;

/// Walk through the synchronised candles of many symbols: Parquet in, Arrow slices out.
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

    /// How errors, warnings and the final report are written to stderr.
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub error_format: ErrorFormat,
}

/// The version, and the release of the zone rules that are compiled in.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    format!("{version} (time zones {})", zone_rules_release())
});

const EXIT_STATUS_HELP: &str = "\
Exit status:
  0  done, or the reader closed the pipe
  1  the answer is no: diff found a difference, a series is under the threshold of coverage
  2  the request cannot be understood or contradicts itself
  3  the input is missing, malformed or contradictory
  4  the output or the system failed (disk full, …)";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Synchronise candles and write slices: to stdout as an Arrow IPC stream, or to a file.
    Sync(Box<SyncArguments>),
    /// List exactly the files, columns, units and zones that a request would read.
    Inputs(Box<InputsArguments>),
    /// Show what a file or stream of slices holds, and whether it is complete.
    Inspect(InspectArguments),
    /// Say how much of the timeline each series covers, and which ones cost how many slices.
    Coverage(Box<CoverageArguments>),
    /// Compare two files or streams of slices, and name the first difference.
    Diff(DiffArguments),
    /// Look after the files that sync --cache keeps.
    Cache(CacheCommandArguments),
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

/// The error format that arguments ask for which clap could not make sense of.
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
