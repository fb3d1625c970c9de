//! Parses the arguments that select series, and the rules that select their rows.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytesize::ByteSize;
use clap::Args;
use omega_slices::{
    Error, Fields, Hint, PriceType, ReadOptions, Request, RequestBuilder, Setting, parse_timestamp,
};

use super::cache::parse_size;
use super::files::FileArguments;
use super::storage::StorageArguments;

/// Names the root of the input files if no argument does.
const DATA_VARIABLE: &str = "OMEGA_DATA_PARQUET_ROOT";
const DEFAULT_DATA: &str = "data/parquet";

#[derive(Debug, Args)]
pub struct SeriesArguments {
    /// Root folder or URI of the candle files. [default: the environment variable
    /// OMEGA_DATA_PARQUET_ROOT, else data/parquet]
    #[arg(long, value_name = "ROOT", conflicts_with = "inputs")]
    data: Option<PathBuf>,

    /// Read exactly the files that a JSON document lists.
    ///
    /// `omega-slices inputs` prints such a document. Paths in it are relative to its folder.
    #[arg(long, value_name = "FILE.json", conflicts_with = "path_template")]
    inputs: Option<PathBuf>,

    #[command(flatten)]
    symbols: SymbolArguments,

    #[command(flatten)]
    files: FileArguments,

    /// Length of the candles in the files: M1, H4, D1, or 1m, 4h, 1d.
    ///
    /// Candles are not resampled.
    #[arg(long, value_name = "TIMEFRAME", default_value = "M1")]
    timeframe: String,

    /// Price types to read, any of bid, ask and trade. [default: bid,ask, or those of the layout]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    price_types: Option<Vec<String>>,

    /// Fields of the candles to read, any of open, high, low, close and volume. [default: all]
    ///
    /// Only these are decoded and written, in every timeframe, unless a rule needs others.
    #[arg(long, value_name = "LIST")]
    fields: Option<String>,

    /// First timestamp to keep: RFC 3339 or a date, UTC unless it names a zone.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,

    /// Last timestamp to keep, inclusive; a date means its midnight.
    #[arg(long, value_name = "TIME")]
    end: Option<String>,

    /// Exclusive end, in place of --end: timestamps before it are kept.
    #[arg(long, value_name = "TIME")]
    before: Option<String>,

    /// Trading hours: all rows (none) or the FX week (fx).
    ///
    /// The FX week lasts from Monday 07:00 (included) to Saturday 07:00 (excluded) in Sydney. For
    /// timeframes of a day or more, fx drops rows stamped Saturday or Sunday UTC. It also drops
    /// placeholders there (volume 0 and open = high = low = close).
    #[arg(long, value_name = "none|fx", default_value = "none")]
    session: String,

    /// Trading hours from a Parquet or CSV file with the columns open,close.
    ///
    /// A row reads 2024-01-02T14:30:00Z,2024-01-02T21:00:00Z; times without a zone are UTC. Rows of
    /// every timeframe are kept where open <= timestamp < close.
    #[arg(long, value_name = "FILE")]
    session_file: Option<PathBuf>,

    /// Name of the sessions in the stream metadata, instead of the file name.
    #[arg(long, value_name = "NAME", hide = true, requires = "session_file")]
    session_name: Option<String>,

    /// Floor timestamps to the timeframe (weeks start on Monday).
    ///
    /// Rows that then share a timestamp are duplicates. Nothing is aggregated.
    #[arg(long)]
    normalize: bool,

    /// What to do with a series that is not in time order.
    #[arg(long, value_name = "sort|error", default_value = "sort")]
    unsorted: String,

    /// Which row to keep if rows of a series share a timestamp. [default: last, with a warning
    /// where rows differ]
    ///
    /// last and first choose by file name and row. identical accepts equal rows and fails for rows
    /// that differ. error fails for every duplicate.
    #[arg(long, value_name = "last|first|identical|error")]
    duplicates: Option<String>,

    /// Turn warnings into errors: exit status 3 and the name of the warning.
    #[arg(long)]
    pub strict: bool,

    /// Follow links that lead out of ROOT.
    ///
    /// Without it, the files that a symbol, a field or a `*` adds to a path must stay in one
    /// folder. That is the folder before it in the template, with links resolved.
    #[arg(long)]
    follow_links: bool,

    /// Number of decoding threads, at most 512. [default: number of cores]
    ///
    /// It never changes the output.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Memory that the run may use, such as 2GB or 1500MiB. [default: half of the machine's]
    ///
    /// Columns that do not fit go through a temporary file. If even that is not enough, the run
    /// fails before the first slice and says what it needs. It never changes the output.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<ByteSize>,

    /// Folder of temporary files, on a disk. [default: $TMPDIR, else /var/tmp]
    #[arg(long, value_name = "DIR")]
    temp_dir: Option<PathBuf>,

    /// Disk that temporary files may take, such as 20GB. [default: nine tenths of what is free]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    temp_limit: Option<ByteSize>,

    #[command(flatten)]
    storage: StorageArguments,

    /// Rows of a series to decode at a time; never changes the output.
    #[arg(long, value_name = "N", hide = true)]
    chunk_rows: Option<NonZeroUsize>,

    /// Each N-th column goes through the temporary file; never changes the output.
    #[arg(long, value_name = "N", hide = true)]
    spill_every: Option<NonZeroUsize>,
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

    /// File with one symbol per line; skips blank lines and lines that start with #.
    #[arg(long, value_name = "FILE")]
    symbols_file: Option<PathBuf>,

    /// All symbols with a file of the timeframe and of any requested price type, in name order.
    #[arg(long)]
    all_symbols: bool,
}

impl SeriesArguments {
    /// Returns a builder with these options set. Opens no file but that of the symbols.
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
        let (builder, layout) = self
            .files
            .set(builder, &self.storage, self.inputs.is_some())?;
        let price_types = match (&self.price_types, layout.price_types) {
            (Some(texts), _) => texts
                .iter()
                .map(|text| text.trim().parse())
                .collect::<Result<Vec<PriceType>, Error>>()?,
            (None, Some(of_layout)) => of_layout,
            (None, None) => vec![PriceType::Bid, PriceType::Ask],
        };
        Ok(builder
            .timeframe(self.timeframe.parse()?)
            .price_types(price_types)
            .fields(parsed::<Fields>(self.fields.as_deref())?.unwrap_or_default())
            .start_ns(self.start.as_deref().map(parse_timestamp).transpose()?)
            .end_ns(self.end.as_deref().map(parse_timestamp).transpose()?)
            .before_ns(self.before.as_deref().map(parse_timestamp).transpose()?)
            .session(self.session.parse().map_err(|error: Error| {
                let choices = error.hint().map_or(&[][..], Hint::parts);
                let others = ["; for other hours use ".into(), Setting::SessionFile.into()];
                let hint = Hint::new([choices, &others].concat());
                error.with_hint(hint)
            })?)
            .normalize(self.normalize)
            .unsorted(self.unsorted.parse()?)
            .duplicates(parsed(self.duplicates.as_deref())?)
            .session_file(self.session_file.clone())
            .session_name(self.session_name.clone()))
    }

    /// Returns the root of the input files; empty if a list names them.
    fn data(&self) -> PathBuf {
        if self.inputs.is_some() {
            return PathBuf::new();
        }
        let variable = || std::env::var_os(DATA_VARIABLE).map(PathBuf::from);
        let given = self.data.clone().or_else(variable);
        given.unwrap_or_else(|| DEFAULT_DATA.into())
    }

    /// Returns the file of symbols, if an option names one.
    pub fn symbols_file(&self) -> Option<&Path> {
        self.symbols.symbols_file.as_deref()
    }

    /// The options of reading. Checks that the folder of temporary files is there, even if the run
    /// turns out not to need it.
    pub fn read_options(&self) -> Result<ReadOptions, Error> {
        let mut options = ReadOptions::new()
            .with_storage(self.storage.options()?)
            .with_follow_links(self.follow_links)
            .with_strict(self.strict);
        if let Some(threads) = self.threads {
            options = options.with_threads(threads);
        }
        if let Some(chunk_rows) = self.chunk_rows {
            options = options.with_chunk_rows(chunk_rows);
        }
        if let Some(every) = self.spill_every {
            options = options.with_spill_every(every);
        }
        if let Some(memory) = self.memory {
            options = options.with_memory(memory.as_u64());
        }
        if let Some(folder) = &self.temp_dir {
            if !folder.is_dir() {
                return Err(Error::usage("the folder of temporary files does not exist")
                    .at_file(folder)
                    .with_hint("create it, or name another one with --temp-dir"));
            }
            options = options.with_temp_dir(folder);
        }
        if let Some(limit) = self.temp_limit {
            options = options.with_temp_limit(limit.as_u64());
        }
        Ok(options)
    }
}

/// Parses an optional value.
pub(super) fn parsed<T: FromStr<Err = Error>>(text: Option<&str>) -> Result<Option<T>, Error> {
    text.map(str::parse).transpose()
}

fn symbols_in_file(file: &PathBuf) -> Result<Vec<String>, Error> {
    let text = fs::read_to_string(file).map_err(|error| {
        Error::usage(format!("cannot read the file of symbols: {error}"))
            .at_file(file)
            .with_source(error)
            .with_hint("name a text file with one symbol per line")
    })?;
    // Some editors start a file with an invisible byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}
