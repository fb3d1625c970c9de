//! Owns the way from rows to a series: window, session, flooring, order, duplicates, in this order,
//! over all files of the series as if they were one. What comes out are chunks whose timestamps
//! strictly increase from the first row of the first chunk to the last row of the last.
//!
//! A first pass over the timestamps alone finds the rows inside the window and whether they are in
//! order, and keeps them where they are regular enough to be written down in little. A series in
//! order is then streamed; only one that is not in order, or that is no larger
//! than a chunk anyway, is held whole.

mod clean;
mod scan;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::clean::{Cleaned, Cleaner};
use self::scan::Scan;
use crate::data::candle::CandleChunk;
use crate::data::layout::SeriesFiles;
use crate::data::runs::TimestampRuns;
use crate::data::source::{Pass, SourceFile, SourceReader, Span};
use crate::error::{Code, Error, Result};
use crate::report::{SeriesReport, Warning};
use crate::request::{
    ColumnNames, DuplicatePolicy, PriceType, Request, Session, Timeframe, UnsortedPolicy,
    format_timestamp,
};

/// A series of at most this many chunks is loaded at once, without a pass over its timestamps.
const SMALL_SERIES_CHUNKS: u64 = 2;

/// The rules that turn rows into a series: the same for every series of a request.
#[derive(Debug)]
pub(crate) struct SeriesRules {
    columns: ColumnNames,
    start_ns: i64,
    end_ns: i64,
    session: Session,
    timeframe: Timeframe,
    normalize: bool,
    unsorted: UnsortedPolicy,
    duplicates: DuplicatePolicy,
    chunk_rows: usize,
}

impl SeriesRules {
    pub fn new(request: &Request, chunk_rows: usize) -> Self {
        Self {
            columns: request.columns().clone(),
            start_ns: request.start_ns().unwrap_or(i64::MIN),
            end_ns: request.end_ns().unwrap_or(i64::MAX),
            session: request.session(),
            timeframe: request.timeframe().clone(),
            normalize: request.normalize(),
            unsorted: request.unsorted(),
            duplicates: request.duplicates(),
            chunk_rows,
        }
    }

    fn has_window(&self) -> bool {
        (self.start_ns, self.end_ns) != (i64::MIN, i64::MAX)
    }

    fn in_window(&self, timestamp_ns: i64) -> bool {
        (self.start_ns..=self.end_ns).contains(&timestamp_ns)
    }
}

/// One series, ready to be read chunk by chunk.
pub(crate) struct SeriesReader {
    rules: Arc<SeriesRules>,
    sources: Vec<PlannedSource>,
    cleaner: Cleaner,
    state: State,
    /// Whether timestamps may repeat; then every chunk is held back until the next one shows
    /// whether its last row is superseded.
    may_repeat: bool,
    held: Option<Cleaned>,
    report: SeriesReport,
    warnings: Vec<Warning>,
}

/// A file of the series and the rows of it that lie between the window's first and last row.
struct PlannedSource {
    file: SourceFile,
    spans: Vec<Span>,
}

enum State {
    /// In time order: read on from here.
    Streaming {
        source: usize,
        reader: Option<Box<SourceReader>>,
        /// The timestamps of all rows that are left, where the first pass could keep them.
        runs: Option<TimestampRuns>,
    },
    /// Held whole: what is left to hand out.
    Loaded(CandleChunk),
}

impl SeriesReader {
    /// Opens all files of a series and looks through its timestamps.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the files ([`SourceFile::open`]), and where the rules make it one,
    /// [`Code::UnsortedInput`].
    pub fn open(series: &SeriesFiles, rules: Arc<SeriesRules>) -> Result<Self> {
        Self::open_unnamed(series, rules)
            .map_err(|error| error.at_series(&series.symbol, series.price_type))
    }

    fn open_unnamed(series: &SeriesFiles, rules: Arc<SeriesRules>) -> Result<Self> {
        let mut files = Vec::with_capacity(series.files.len());
        for path in &series.files {
            files.push(SourceFile::open(path, &rules.columns)?);
        }
        let rows = files.iter().map(SourceFile::rows).sum();
        let small = rows <= SMALL_SERIES_CHUNKS * rules.chunk_rows as u64;
        let mut scan = Scan::new(&rules);
        let mut sources = Vec::with_capacity(files.len());
        for file in files {
            // Small or not, the window decides alike what is decoded, and so what can fail.
            let spans = if small && !rules.has_window() {
                file.all_rows()
            } else {
                scan.file(&file)?
            };
            sources.push(PlannedSource { file, spans });
        }
        let Scan {
            in_order,
            repeats,
            runs,
            ..
        } = scan;
        let whole = small || !in_order;
        let mut reader = Self {
            cleaner: Cleaner::new(&rules),
            state: State::Streaming {
                source: 0,
                reader: None,
                runs: runs.filter(|_| !whole),
            },
            may_repeat: rules.normalize || repeats,
            held: None,
            report: SeriesReport::new(&series.symbol, series.price_type, series.files.len(), rows),
            warnings: Vec::new(),
            rules,
            sources,
        };
        if whole {
            reader.load(series.price_type)?;
        }
        Ok(reader)
    }

    /// The next candles of the series; `None` after the last ones. Never an empty chunk.
    pub fn next_chunk(&mut self) -> Result<Option<CandleChunk>> {
        let chunk = self
            .next_unnamed()
            .map_err(|error| error.at_series(&self.report.symbol, self.report.price_type))?;
        if let Some(chunk) = &chunk {
            self.report.add_candles(&chunk.timestamps);
        }
        Ok(chunk)
    }

    /// What has been read so far, and dropped by which rule.
    pub fn report(&self) -> &SeriesReport {
        &self.report
    }

    /// What a person should know about this series, all of it known once it is open.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// How many rows the window holds at most, as far as is known.
    pub fn planned_rows(&self) -> u64 {
        match &self.state {
            State::Loaded(left) => left.len() as u64,
            State::Streaming { .. } => self
                .sources
                .iter()
                .flat_map(|source| &source.spans)
                .map(|span| span.rows as u64)
                .sum(),
        }
    }

    fn next_unnamed(&mut self) -> Result<Option<CandleChunk>> {
        if let State::Loaded(left) = &mut self.state {
            let len = left.len().min(self.rules.chunk_rows);
            let chunk = left.slice(0, len);
            *left = left.slice(len, left.len() - len);
            return Ok((!chunk.is_empty()).then_some(chunk));
        }
        if !self.may_repeat {
            return Ok(self.next_cleaned()?.map(|cleaned| cleaned.chunk));
        }
        loop {
            let Some(after) = self.next_cleaned()? else {
                return Ok(self.held.take().map(|before| before.chunk));
            };
            let Some(before) = self.held.take() else {
                self.held = Some(self.unique(after)?);
                continue;
            };
            self.check_border(&before, &after)?;
            let after = self.unique(after)?;
            let (before, after) = self.resolve_border(before, after);
            if after.chunk.is_empty() {
                self.held = Some(before);
                continue;
            }
            self.held = Some(after);
            if !before.chunk.is_empty() {
                return Ok(Some(before.chunk));
            }
        }
    }

    /// Applies window, session and flooring to the next rows of the files that leave any.
    fn next_cleaned(&mut self) -> Result<Option<Cleaned>> {
        loop {
            let State::Streaming {
                source,
                reader,
                runs,
            } = &mut self.state
            else {
                unreachable!("only called while streaming");
            };
            let Some(planned) = self.sources.get(*source) else {
                return Ok(None);
            };
            if reader.is_none() && !planned.spans.is_empty() {
                let pass = if runs.is_some() {
                    Pass::Values
                } else {
                    Pass::Candles
                };
                let opened = planned
                    .file
                    .read(pass, &planned.spans, self.rules.chunk_rows)?;
                *reader = Some(Box::new(opened));
            }
            let raw = match reader {
                Some(reader) => reader.next_rows(&planned.file)?,
                None => None,
            };
            let Some(mut raw) = raw else {
                *reader = None;
                *source += 1;
                continue;
            };
            if let Some(runs) = runs {
                raw.timestamps = Some(runs.read(raw.len).into());
            }
            let cleaned = self
                .cleaner
                .clean(raw, *source, &planned.file, &mut self.report)?;
            if !cleaned.chunk.is_empty() {
                return Ok(Some(cleaned));
            }
        }
    }

    /// Drops all but one row of every run of equal timestamps; the chunk is in order.
    fn unique(&mut self, cleaned: Cleaned) -> Result<Cleaned> {
        let timestamps = &cleaned.chunk.timestamps;
        if timestamps.windows(2).all(|pair| pair[0] < pair[1]) {
            return Ok(cleaned);
        }
        let order: Vec<u32> = (0..row_index(timestamps.len())?).collect();
        let kept = self.without_repeats(timestamps, &order, |position| {
            (cleaned.source, cleaned.row(position))
        })?;
        Ok(cleaned.take(&kept))
    }

    /// The rows of `order` that stay where timestamps repeat; `order` sorts `timestamps` stably.
    fn without_repeats(
        &mut self,
        timestamps: &[i64],
        order: &[u32],
        place: impl Fn(usize) -> (usize, u64),
    ) -> Result<Vec<u32>> {
        let timestamp = |at: usize| timestamps[order[at] as usize];
        let mut kept = Vec::with_capacity(order.len());
        for at in 0..order.len() {
            let stays = match self.rules.duplicates {
                DuplicatePolicy::Last => {
                    at + 1 == order.len() || timestamp(at) != timestamp(at + 1)
                }
                DuplicatePolicy::First => at == 0 || timestamp(at - 1) != timestamp(at),
                DuplicatePolicy::Error if at > 0 && timestamp(at - 1) == timestamp(at) => {
                    let (source, row) = place(order[at] as usize);
                    return Err(self.repeated(timestamp(at), source, row));
                }
                DuplicatePolicy::Error => true,
            };
            if stays {
                kept.push(order[at]);
            }
        }
        self.report.duplicates += (order.len() - kept.len()) as u64;
        Ok(kept)
    }

    /// Fails where a chunk may not follow another. Comes before anything is said about the rows of
    /// the later chunk: the first row at fault is the one to be named.
    fn check_border(&self, before: &Cleaned, after: &Cleaned) -> Result<()> {
        match before.border(after) {
            Some((last, first)) if last > first => {
                // The pass over the timestamps saw them in order.
                let file = &self.sources[after.source].file;
                let message = "the file changed while it was being read";
                Err(Error::input(Code::CorruptInput, message)
                    .at_file(file.path())
                    .at_row(after.row(0)))
            }
            Some((last, first))
                if last == first && self.rules.duplicates == DuplicatePolicy::Error =>
            {
                Err(self.repeated(first, after.source, after.row(0)))
            }
            _ => Ok(()),
        }
    }

    /// Lets one row win where a timestamp ends one chunk and begins the next.
    fn resolve_border(&mut self, before: Cleaned, after: Cleaned) -> (Cleaned, Cleaned) {
        if before
            .border(&after)
            .is_none_or(|(last, first)| last != first)
        {
            return (before, after);
        }
        self.report.duplicates += 1;
        if self.rules.duplicates == DuplicatePolicy::First {
            let len = after.chunk.len() - 1;
            (before, after.slice(1, len))
        } else {
            let len = before.chunk.len() - 1;
            (before.slice(0, len), after)
        }
    }

    /// Reads the whole series, sorts it where it has to be, and drops repeated timestamps.
    fn load(&mut self, price_type: PriceType) -> Result<()> {
        let mut parts = Vec::new();
        while let Some(cleaned) = self.next_cleaned()? {
            parts.push(cleaned);
        }
        let chunks: Vec<_> = parts.iter().map(|part| part.chunk.clone()).collect();
        let mut all = CandleChunk::concat(&chunks);
        drop(chunks);
        let place = |position: usize| {
            let mut position = position;
            for part in &parts {
                if position < part.chunk.len() {
                    return (part.source, part.row(position));
                }
                position -= part.chunk.len();
            }
            unreachable!("a position within the concatenated parts")
        };
        let mut order: Vec<u32> = (0..row_index(all.len())?).collect();
        if let Some(earlier) = all.timestamps.windows(2).position(|pair| pair[0] > pair[1]) {
            let (source, row) = place(earlier + 1);
            let path = self.sources[source].file.path().to_owned();
            if self.rules.unsorted == UnsortedPolicy::Error {
                return Err(unsorted(&path, row, &all.timestamps[earlier..=earlier + 1]));
            }
            self.report.sorted = false;
            self.warnings.push(sorted_in_memory(
                &self.report.symbol,
                price_type,
                path,
                row,
                all.len(),
            ));
            order.sort_by_key(|&row| all.timestamps[row as usize]);
        }
        let kept = self.without_repeats(&all.timestamps, &order, place)?;
        if !self.report.sorted || kept.len() < all.len() {
            all = all.take(&kept);
        }
        self.state = State::Loaded(all);
        Ok(())
    }

    fn repeated(&self, timestamp_ns: i64, source: usize, row: u64) -> Error {
        Error::input(
            Code::DuplicateTimestamp,
            format!(
                "the timestamp {} occurs twice in the series",
                format_timestamp(timestamp_ns)
            ),
        )
        .at_file(self.sources[source].file.path())
        .at_row(row)
        .with_hint("remove one of the rows, or choose --duplicates last or first")
    }
}

fn unsorted(path: &Path, row: u64, pair: &[i64]) -> Error {
    Error::input(
        Code::UnsortedInput,
        format!(
            "the series is not in time order: {} comes after {}",
            format_timestamp(pair[1]),
            format_timestamp(pair[0])
        ),
    )
    .at_file(path)
    .at_row(row)
    .with_hint("sort the file, or choose --unsorted sort")
}

fn sorted_in_memory(
    symbol: &str,
    price_type: PriceType,
    file: PathBuf,
    row: u64,
    rows: usize,
) -> Warning {
    Warning {
        name: Code::UnsortedInput.name(),
        message: format!(
            "{symbol} {price_type} is not in time order (first at row {row} of {}); its {rows} rows \
             were sorted in memory",
            file.display()
        ),
        file: Some(file),
        symbol: Some(symbol.to_owned()),
        price_type: Some(price_type),
    }
}

fn row_index(rows: usize) -> Result<u32> {
    u32::try_from(rows).map_err(|_| {
        Error::system(format!(
            "a series of {rows} rows that is not in order is too long to sort"
        ))
        .with_hint("sort the file, or narrow the window")
    })
}
