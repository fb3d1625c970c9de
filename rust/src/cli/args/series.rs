//! Owns the arguments that say which series a command reads, and what each rule keeps of them.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use omega_slices::{
    ColumnNames, Error, PathTemplate, PriceType, ReadOptions, Request, RequestBuilder, Zone,
    parse_timestamp,
};

/// Names the root of the input files where no argument does.
const DATA_VARIABLE: &str = "OMEGA_DATA_PARQUET_ROOT";
const DEFAULT_DATA: &str = "data/parquet";

#[derive(Debug, Args)]
pub struct SeriesArguments {
    /// Root folder of the candle files.
    /// [default: the environment variable OMEGA_DATA_PARQUET_ROOT, else data/parquet]
    #[arg(long, value_name = "ROOT", conflicts_with = "inputs")]
    data: Option<PathBuf>,

    /// Read exactly the files that this JSON document lists, as `omega-slices inputs` prints it. Paths are
    /// relative to its folder.
    #[arg(long, value_name = "FILE.json", conflicts_with = "path_template")]
    inputs: Option<PathBuf>,

    #[command(flatten)]
    symbols: SymbolArguments,

    /// Length of the candles in the files (nothing is resampled): M1, H4, D1, or 1m, 4h, 1d.
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

    /// Which row wins where several rows of a series share a timestamp: the last or the first by name and
    /// row; any of them if they are identical, else an error; or always an error. [default: last, with a
    /// warning where rows differ]
    #[arg(long, value_name = "last|first|identical|error")]
    duplicates: Option<String>,

    /// Unit of timestamps that are integers since 1970: s, ms, us, ns, or magnitude, the one under which
    /// all values of a file lie from 1990 to 2100.
    #[arg(long, value_name = "UNIT")]
    timestamp_unit: Option<String>,

    /// Zone (IANA name) of timestamps that are wall-clock times without a zone. For columns of UTC instants
    /// it says in which zone their days are.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,

    /// What a wall-clock time is that the clocks showed twice: an error, told by the order of the rows
    /// (infer), or the earlier or later instant.
    #[arg(
        long,
        value_name = "error|infer|earlier|later",
        default_value = "error"
    )]
    ambiguous: String,

    /// Which side of a candle its timestamp is. Those of closes are moved one timeframe back first.
    #[arg(long, value_name = "open|close", default_value = "open")]
    stamped: String,

    /// What candles of days and weeks are stamped with: instants (utc), or the date on which their middle
    /// lies in the zone of their column (local).
    #[arg(long, value_name = "utc|local")]
    days: Option<String>,

    /// Regular expression that a symbol matches as a whole, where names of files can be read in several
    /// ways.
    #[arg(long, value_name = "REGEX")]
    symbol_pattern: Option<String>,

    /// Allow a column of instruments with several values, such as ids that change at a roll.
    #[arg(long)]
    one_instrument: bool,

    /// Fail where a run would warn, with exit status 3 and the warning's name.
    #[arg(long)]
    pub strict: bool,

    /// Where the files lie: fields {root} {symbol} {timeframe} {side} {SIDE}, and `*` for any text within
    /// a name: all files that match are one series.
    /// [default: {root}/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet]
    #[arg(long, value_name = "TEMPLATE")]
    path_template: Option<String>,

    /// Names of the input columns, where they are not UTC time, Open, High, Low, Close, Volume:
    /// timestamp=ts,open=o,…
    #[arg(long, value_name = "FIELD=COLUMN", value_delimiter = ',')]
    columns: Vec<String>,

    /// Let links lead out of ROOT. Otherwise what a symbol's name, a field or a `*` adds to a path has to
    /// stay, links followed, in the folder that stands before it in the template.
    #[arg(long)]
    follow_links: bool,

    /// Decoding threads, at most 512; never shows in the output. [default: number of cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Rows of a series that are decoded at a time; never shows in the output.
    #[arg(long, value_name = "N", hide = true)]
    chunk_rows: Option<NonZeroUsize>,
}

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

impl SeriesArguments {
    /// What is asked for, for further options to be added. Opens nothing but a file of symbols.
    pub fn builder(&self) -> Result<RequestBuilder, Error> {
        let builder = Request::builder(self.data()).inputs(self.inputs.clone());
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
        Ok(builder
            .timeframe(self.timeframe.parse()?)
            .price_types(price_types)
            .start_ns(self.start.as_deref().map(parse_timestamp).transpose()?)
            .end_ns(self.end.as_deref().map(parse_timestamp).transpose()?)
            .session(self.session.parse().map_err(|error: Error| {
                let hint = error.hint().map(ToString::to_string).unwrap_or_default();
                error.with_hint(format!("{hint}; other hours come from --session-file"))
            })?)
            .normalize(self.normalize)
            .unsorted(self.unsorted.parse()?)
            .duplicates(parsed(self.duplicates.as_deref())?)
            .timestamp_unit(parsed(self.timestamp_unit.as_deref())?)
            .zone(self.zone.as_deref().map(Zone::named).transpose()?)
            .ambiguous(self.ambiguous.parse()?)
            .stamped(self.stamped.parse()?)
            .days(parsed(self.days.as_deref())?)
            .symbol_pattern(parsed(self.symbol_pattern.as_deref())?)
            .one_instrument(self.one_instrument)
            .path_template(
                self.path_template
                    .as_deref()
                    .map(PathTemplate::parse)
                    .transpose()?,
            )
            .columns(columns)
            .session_file(self.session_file.clone())
            .session_name(self.session_name.clone()))
    }

    /// The root of the input files; empty where they are listed.
    fn data(&self) -> PathBuf {
        if self.inputs.is_some() {
            return PathBuf::new();
        }
        let variable = || std::env::var_os(DATA_VARIABLE).map(PathBuf::from);
        let given = self.data.clone().or_else(variable);
        given.unwrap_or_else(|| DEFAULT_DATA.into())
    }

    /// The file with the symbols, where one was named.
    pub fn symbols_file(&self) -> Option<&Path> {
        self.symbols.symbols_file.as_deref()
    }

    pub fn read_options(&self) -> ReadOptions {
        let mut options = ReadOptions::new()
            .with_follow_links(self.follow_links)
            .with_strict(self.strict);
        if let Some(threads) = self.threads {
            options = options.with_threads(threads);
        }
        if let Some(chunk_rows) = self.chunk_rows {
            options = options.with_chunk_rows(chunk_rows);
        }
        options
    }
}

/// A word of the request, where it was given.
fn parsed<T: FromStr<Err = Error>>(text: Option<&str>) -> Result<Option<T>, Error> {
    text.map(str::parse).transpose()
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
