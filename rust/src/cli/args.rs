//! Owns the arguments: text to plain values by clap, plain values to a checked request.

use std::ffi::OsString;
use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use omega_slices::{
    ColumnNames, Error, FurtherTimeframe, PathTemplate, PriceType, ReadOptions, Request,
    parse_timestamp,
};

/// Walk through the synchronised candles of many symbols: Parquet in, Arrow slices out.
#[derive(Debug, Parser)]
#[command(name = "omega-slices", version, max_term_width = 100, after_help = EXIT_STATUS_HELP)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_STATUS_HELP: &str = "\
Exit status:
  0  done, or the reader closed the pipe
  2  the request cannot be understood or contradicts itself
  3  the input is missing, malformed or contradictory
  4  the output or the system failed (disk full, …)";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Synchronise candles and write slices: to stdout as an Arrow IPC stream, or to a file.
    Sync(Box<SyncArguments>),
}

#[derive(Debug, Args)]
#[command(after_help = SYNC_HELP)]
pub struct SyncArguments {
    /// Root folder of the candle files.
    #[arg(
        long,
        value_name = "ROOT",
        env = "OMEGA_DATA_PARQUET_ROOT",
        hide_env_values = true,
        default_value = "data/parquet"
    )]
    pub data: PathBuf,

    #[command(flatten)]
    symbols: SymbolArguments,

    /// Length of the candles in the files (nothing is resampled): S, M, H, D or W and a number.
    #[arg(long, value_name = "TIMEFRAME", default_value = "M1")]
    timeframe: String,

    /// Price types, any of bid, ask and trade.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "bid,ask"
    )]
    price_types: Vec<String>,

    /// First timestamp to keep (RFC 3339 or a date; without a zone UTC).
    #[arg(long, value_name = "TIME")]
    start: Option<String>,

    /// Last timestamp to keep, inclusive; a date means its midnight.
    #[arg(long, value_name = "TIME")]
    end: Option<String>,

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

    /// Trading hours: keep all rows (none), or the FX week, Monday 07:00 (included) to Saturday 07:00
    /// (excluded) in Sydney (fx). For timeframes of a day or more fx drops rows stamped Saturday or
    /// Sunday UTC and placeholders (volume 0, open = high = low = close).
    #[arg(long, value_name = "none|fx", default_value = "none")]
    session: String,

    /// Trading hours from a file: Parquet or CSV with the columns open,close, such as
    /// 2024-01-02T14:30:00Z,2024-01-02T21:00:00Z (without a zone UTC). Rows with open <= timestamp < close
    /// are kept, of every timeframe.
    #[arg(long, value_name = "FILE")]
    session_file: Option<PathBuf>,

    /// What the stream's metadata call the sessions of that file, instead of its name.
    #[arg(long, value_name = "NAME", hide = true, requires = "session_file")]
    session_name: Option<String>,

    /// Floor timestamps to the timeframe (weeks from Monday). Rows that then share a timestamp are
    /// duplicates; nothing is aggregated.
    #[arg(long)]
    normalize: bool,

    /// What to do with a series that is not in time order.
    #[arg(long, value_name = "sort|error", default_value = "sort")]
    unsorted: String,

    /// Which row wins where several rows of a series share a timestamp.
    #[arg(long, value_name = "last|first|error", default_value = "last")]
    duplicates: String,

    /// Where the files lie: fields {root} {symbol} {timeframe} {side} {SIDE}, and `*` for any text within
    /// a name: all files that match are one series, in name order.
    /// [default: {root}/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet]
    #[arg(long, value_name = "TEMPLATE")]
    path_template: Option<String>,

    /// Names of the input columns, where they are not UTC time, Open, High, Low, Close, Volume:
    /// timestamp=ts,open=o,…
    #[arg(long, value_name = "FIELD=COLUMN", value_delimiter = ',')]
    columns: Vec<String>,

    /// Decoding threads; never shows in the output. [default: number of cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Rows of a series that are decoded at a time; never shows in the output.
    #[arg(long, value_name = "N", hide = true)]
    chunk_rows: Option<NonZeroUsize>,

    /// Progress bar on stderr; auto shows it on a terminal.
    #[arg(long, value_enum, default_value = "auto")]
    pub progress: ProgressMode,

    /// Write to FILE instead of stdout: x.arrow (Arrow IPC file) or x.arrows (stream).
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Replace an existing output file.
    #[arg(long, requires = "output")]
    pub force: bool,

    /// How errors, warnings and the final report are written to stderr.
    #[arg(long, value_enum, default_value = "text")]
    error_format: ErrorFormat,
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

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SymbolArguments {
    /// Symbols, in the order of the rows of a slice.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    symbols: Option<Vec<String>>,

    /// File with one symbol per line; blank lines and lines that begin with # are passed over.
    #[arg(long, value_name = "FILE")]
    symbols_file: Option<PathBuf>,

    /// Every symbol that has a file of the timeframe and of any requested price type, in name order.
    #[arg(long)]
    all_symbols: bool,
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

impl Arguments {
    pub fn error_format(&self) -> ErrorFormat {
        match &self.command {
            Command::Sync(arguments) => arguments.error_format,
        }
    }
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

impl SyncArguments {
    /// The checked request. Opens nothing but a file of symbols.
    pub fn request(&self) -> Result<Request, Error> {
        let builder = Request::builder(&self.data);
        let builder = match &self.symbols {
            SymbolArguments {
                symbols: Some(symbols),
                ..
            } => builder.symbols(symbols.iter().map(|symbol| symbol.trim())),
            SymbolArguments {
                symbols_file: Some(file),
                ..
            } => builder.symbols(symbols_in_file(file)?),
            _ => builder.all_symbols(),
        };
        let price_types = self
            .price_types
            .iter()
            .map(|text| text.trim().parse())
            .collect::<Result<Vec<PriceType>, Error>>()?;
        let mut columns = ColumnNames::default();
        for renaming in &self.columns {
            let (field, column) = renaming.split_once('=').ok_or_else(|| {
                Error::usage(format!("--columns {renaming:?} has no '='"))
                    .with_hint("write FIELD=COLUMN: timestamp=ts,open=o")
            })?;
            columns.rename(field.trim(), column)?;
        }
        let further = self
            .with_timeframe
            .iter()
            .map(|text| text.parse())
            .collect::<Result<Vec<FurtherTimeframe>, Error>>()?;
        builder
            .timeframe(self.timeframe.parse()?)
            .price_types(price_types)
            .start_ns(self.start.as_deref().map(parse_timestamp).transpose()?)
            .end_ns(self.end.as_deref().map(parse_timestamp).transpose()?)
            .timeline(self.timeline.parse()?)
            .session(self.session.parse().map_err(|error: Error| {
                let hint = error.hint().unwrap_or_default().to_owned();
                error.with_hint(format!("{hint}; other hours come from --session-file"))
            })?)
            .normalize(self.normalize)
            .unsorted(self.unsorted.parse()?)
            .duplicates(self.duplicates.parse()?)
            .path_template(
                self.path_template
                    .as_deref()
                    .map(PathTemplate::parse)
                    .transpose()?,
            )
            .columns(columns)
            .fill(self.fill.parse()?)
            .max_age(self.max_age.as_deref().map(str::parse).transpose()?)
            .further_timeframes(further)
            .known_at(self.known_at.parse()?)
            .session_file(self.session_file.clone())
            .session_name(self.session_name.clone())
            .indicators(&self.indicators)
            .indicator_template(
                self.indicator_template
                    .as_deref()
                    .map(PathTemplate::parse)
                    .transpose()?,
            )
            .build()
    }

    pub fn read_options(&self) -> ReadOptions {
        let mut options = ReadOptions::new();
        if let Some(threads) = self.threads {
            options = options.with_threads(threads);
        }
        if let Some(chunk_rows) = self.chunk_rows {
            options = options.with_chunk_rows(chunk_rows);
        }
        options
    }
}

fn symbols_in_file(file: &PathBuf) -> Result<Vec<String>, Error> {
    let text = fs::read_to_string(file).map_err(|error| {
        Error::usage(format!("the file of symbols cannot be read: {error}"))
            .at_file(file)
            .with_source(error)
    })?;
    // Some editors begin a file with a mark that nobody sees.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}
