//! Owns the arguments of `sync`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use omega_slices::ipc::Compression;
use omega_slices::{Error, FurtherTimeframe, PathTemplate, Request};

use crate::cli::args::{CacheArguments, ProgressMode, SeriesArguments};
use crate::cli::messages::Messages;

#[derive(Debug, Args)]
#[command(after_help = SYNC_HELP)]
pub struct SyncArguments {
    #[command(flatten)]
    pub series: SeriesArguments,

    /// Which timestamps become slices: those of every series (intersection), of any (union), those at
    /// which one symbol has all its price types (leader:SYMBOL), or at least K symbols have (quorum:K).
    #[arg(
        long,
        value_name = "intersection|union|leader:SYMBOL|quorum:K",
        default_value = "intersection"
    )]
    timeline: String,

    /// Where a series has no candle: nothing (none), or its latest earlier candle (forward), with its own
    /// timestamp in a column of its own. It may come from before --start.
    #[arg(long, value_name = "none|forward", default_value = "none")]
    fill: String,

    /// How old a carried candle may be, counted from its timestamp: 15m, 2h, 3d, 5bars (units s, m, h, d,
    /// w, bars). Required with --fill forward.
    #[arg(long, value_name = "AGE")]
    max_age: Option<String>,

    /// A further, longer timeframe: each slice also shows its latest COMPLETE candles, those that have
    /// ended by the slice's timestamp. Give it once for each of several timeframes.
    #[arg(long, value_name = "TIMEFRAME[:max-age=AGE]")]
    with_timeframe: Vec<String>,

    /// When decisions are made, which says what is complete: as the slice's own candles open (its
    /// timestamp), or as they close (one timeframe later).
    #[arg(long, value_name = "open|close", default_value = "open")]
    known_at: String,

    /// Columns of numbers to read from files with indicators, joined on the exact timestamp (in a column
    /// named as in the files of candles). They never shape the timeline.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    indicators: Vec<String>,

    /// Where the files with indicators lie: fields {root} {symbol} {timeframe}, and `*`.
    /// [default: {root}/{symbol}/{symbol}_{timeframe}_IND.parquet]
    #[arg(long, value_name = "TEMPLATE")]
    indicator_template: Option<String>,

    /// Progress bar on stderr; auto shows it on a terminal.
    #[arg(long, value_enum, default_value = "auto")]
    pub progress: ProgressMode,

    /// Write to FILE instead of stdout: x.arrow (Arrow IPC file) or x.arrows (stream).
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Compress the batches. Without it a file can be used where it lies, by mapping it into memory.
    #[arg(long, value_enum, value_name = "lz4|zstd")]
    compression: Option<CompressionName>,

    /// Replace an existing output file.
    #[arg(long, requires = "output")]
    pub force: bool,

    /// For programs that start this one: every SECONDS (from 1 on) a line {"kind":"alive"} on stderr while
    /// the run lasts, which tells a slow run from a stopped one. Needs --error-format json.
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

Rules are applied in this order: window (--start, --end), --session or --session-file, --normalize,
--unsorted, --duplicates, --timeline; then --fill, --with-timeframe and --indicators add to the slices.
No slice ever depends on anything later than itself. A complete stream or file ends with a batch without
rows.";

impl SyncArguments {
    /// The checked request. Opens nothing but a file of symbols.
    pub fn request(&self) -> Result<Request, Error> {
        let further = self
            .with_timeframe
            .iter()
            .map(|text| text.parse())
            .collect::<Result<Vec<FurtherTimeframe>, Error>>()?;
        self.series
            .builder()?
            .timeline(self.timeline.parse()?)
            .fill(self.fill.parse()?)
            .max_age(self.max_age.as_deref().map(str::parse).transpose()?)
            .further_timeframes(further)
            .known_at(self.known_at.parse()?)
            .indicators(&self.indicators)
            .indicator_template(
                self.indicator_template
                    .as_deref()
                    .map(PathTemplate::parse)
                    .transpose()?,
            )
            .build()
    }

    /// How often a sign of life is asked for.
    pub fn heartbeat(&self, messages: &Messages) -> Result<Option<Duration>, Error> {
        let Some(seconds) = self.heartbeat else {
            return Ok(None);
        };
        if messages.is_text() {
            return Err(Error::usage("--heartbeat is for programs, which read JSON")
                .with_hint("add --error-format json; for people there is --progress"));
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
