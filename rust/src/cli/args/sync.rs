//! Parses the arguments of `sync`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use omega_slices::Error;
use omega_slices::ipc::Compression;

use crate::cli::args::{CacheArguments, ProgressMode, RequestArguments};
use crate::cli::messages::Messages;

#[derive(Debug, Args)]
#[command(after_help = SYNC_HELP)]
pub struct SyncArguments {
    #[command(flatten)]
    pub request: RequestArguments,

    /// Progress bar on stderr; auto shows it on a terminal.
    #[arg(long, value_enum, default_value = "auto")]
    pub progress: ProgressMode,

    /// Write to FILE or a URI instead of stdout: x.arrow (Arrow IPC file) or x.arrows (stream).
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Compress the record batches.
    ///
    /// An uncompressed file can be mapped into memory and used without a copy.
    #[arg(long, value_enum, value_name = "lz4|zstd")]
    compression: Option<CompressionName>,

    /// Replace an existing output file.
    #[arg(long, requires = "output")]
    pub force: bool,

    /// Write a line {"kind":"alive"} to stderr every SECONDS (at least 1).
    ///
    /// Programs that start this one can tell a slow run from a stopped one by it. Needs
    /// --error-format json.
    #[arg(long, value_name = "SECONDS")]
    heartbeat: Option<NonZeroU32>,

    #[command(flatten)]
    pub cache: CacheArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressionName {
    Lz4,
    Zstd,
}

const SYNC_HELP: &str = "\
Examples:
  omega-slices sync --data data/parquet --symbols EURUSD,GBPUSD --start 2024-01-02 -o slices.arrow
  omega-slices sync --data stocks --all-symbols --timeframe D1 --price-types trade \\
    --path-template '{root}/{symbol}.parquet' --columns timestamp=date,open=o | reader

Rules apply in this order: --timestamp-unit, --zone, --stamped, --days, the window
(--start, --end), --session or --session-file, --normalize, --unsorted, --duplicates, --timeline;
then --fill, --with-timeframe and --indicators add to the slices. No slice depends on data later
than itself. A complete stream or file ends with a batch without rows.";

impl SyncArguments {
    /// Returns the interval of the heartbeat, if an option sets one.
    pub fn heartbeat(&self, messages: &Messages) -> Result<Option<Duration>, Error> {
        let Some(seconds) = self.heartbeat else {
            return Ok(None);
        };
        if messages.is_text() {
            return Err(
                Error::usage("--heartbeat needs --error-format json").with_hint(
                    "add --error-format json, or use --progress to watch a run in a terminal",
                ),
            );
        }
        Ok(Some(Duration::from_secs(seconds.get().into())))
    }

    pub fn compression(&self) -> Option<Compression> {
        self.compression.map(|name| match name {
            CompressionName::Lz4 => Compression::Lz4,
            CompressionName::Zstd => Compression::Zstd,
        })
    }
}
