//! Owns the control side of a series: it turns rows into candles that strictly increase in time,
//! from the first of the first chunk to the last of the last, and says which row each came from.
//!
//! The rows come in segments, one after the other in time. A segment that is known to be in order
//! is streamed; any other one is looked through whole, and sorted where it has to be.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::buffer::ScalarBuffer;

use super::clean::{Cleaned, Cleaner};
use super::scan::Scan;
use super::segments::{Order, Segment, first_and_rest, segments};
use super::{PlannedFile, Rows, SeriesRules, SeriesSource};
use crate::data::layout::SeriesFiles;
use crate::data::runs::TimestampRuns;
use crate::data::source::{Pass, RawRows, SourceFile, SourceReader, Span, TimeBounds};
use crate::error::{Code, Error, Result};
use crate::report::{SeriesReport, Warning};
use crate::request::{DuplicatePolicy, PriceType, UnsortedPolicy, format_timestamp};

/// Consecutive candles of a series: when they are, and which rows they came from.
pub(crate) struct CandleTimes {
    pub timestamps: ScalarBuffer<i64>,
    pub rows: Rows,
    /// Where the rows do not ascend: the rows that all of them lie among, and no row of any other
    /// candle does.
    pub shuffled: Option<Range<u64>>,
}

/// The candles of one series, chunk by chunk.
pub(crate) struct TimestampReader {
    rules: Arc<SeriesRules>,
    source: Arc<SeriesSource>,
    cleaner: Cleaner,
    rows: RowStream,
    segments: VecDeque<Segment>,
    /// The candles of a segment that was looked through whole, and how many were handed on.
    whole: Option<(Cleaned, usize)>,
    /// Whether timestamps may repeat from one chunk to the next; then every chunk is held back
    /// until the next one shows whether its last candle is superseded.
    may_repeat: bool,
    held: Option<Cleaned>,
    report: SeriesReport,
    warnings: Vec<Warning>,
}

/// The timestamps of all rows of a series that are decoded, as they stand in the files.
struct RowStream {
    pass: Pass,
    file: usize,
    reader: Option<Box<SourceReader>>,
    /// All timestamps that are left, where an earlier pass could keep them.
    runs: Option<TimestampRuns>,
    /// Rows of the next file that is opened that were handed out before.
    skip: u64,
    /// Decoded, and not handed out yet.
    decoded: Option<RawRows>,
    /// The next row to be handed out.
    position: u64,
}

impl TimestampReader {
    pub(super) fn open(
        series: &SeriesFiles,
        rules: Arc<SeriesRules>,
    ) -> Result<(Arc<SeriesSource>, Self)> {
        let mut files = Vec::with_capacity(series.files.len());
        for path in &series.files {
            files.push(SourceFile::open(path, &rules.columns)?);
        }
        let rows = files.iter().map(SourceFile::rows).sum();
        let cleaner = Cleaner::new(&rules);
        let by_pages = if cleaner.needs_values() {
            None
        } else {
            SegmentPlan::by_pages(&files, &rules)?
        };
        let plan = match by_pages {
            Some(plan) => plan,
            None => SegmentPlan::by_scan(&files, &rules)?,
        };
        let files = files.into_iter().zip(plan.spans);
        let source = Arc::new(SeriesSource {
            symbol: series.symbol.clone(),
            price_type: series.price_type,
            files: files
                .map(|(file, spans)| PlannedFile::new(file, spans))
                .collect(),
        });
        let reader = Self {
            rows: RowStream {
                pass: if cleaner.needs_values() {
                    Pass::Candles
                } else {
                    Pass::Timestamps
                },
                file: 0,
                reader: None,
                runs: plan.runs.filter(|_| !cleaner.needs_values()),
                skip: 0,
                decoded: None,
                position: 0,
            },
            cleaner,
            segments: plan.segments.into(),
            whole: None,
            may_repeat: rules.normalize || plan.may_repeat,
            held: None,
            report: SeriesReport::new(&series.symbol, series.price_type, series.files.len(), rows),
            warnings: Vec::new(),
            rules,
            source: source.clone(),
        };
        Ok((source, reader))
    }

    /// The next candles of the series; `None` after the last ones. Never an empty chunk.
    pub fn next_chunk(&mut self) -> Result<Option<CandleTimes>> {
        let chunk = self
            .next_unnamed()
            .map_err(|error| self.source.named(error))?;
        Ok(chunk.map(|chunk| {
            self.report.add_candles(&chunk.timestamps);
            CandleTimes {
                timestamps: chunk.timestamps,
                rows: chunk.rows,
                shuffled: chunk.shuffled,
            }
        }))
    }

    /// What has been read so far, and dropped by which rule.
    pub fn report(&self) -> &SeriesReport {
        &self.report
    }

    /// What a person should know about this series, as far as it has been read; each once.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    fn next_unnamed(&mut self) -> Result<Option<Cleaned>> {
        loop {
            let after = self.next_cleaned()?;
            // Asked afterwards: a segment may have turned out to be such a one.
            if !self.may_repeat {
                return Ok(after);
            }
            let Some(after) = after else {
                return Ok(self.held.take());
            };
            let Some(before) = self.held.take() else {
                self.held = Some(self.unique(after)?);
                continue;
            };
            self.check_border(&before, &after)?;
            let after = self.unique(after)?;
            let (before, after) = self.resolve_border(before, after);
            if after.is_empty() {
                self.held = Some(before);
                continue;
            }
            self.held = Some(after);
            if !before.is_empty() {
                return Ok(Some(before));
            }
        }
    }

    /// Window, session, flooring and order: the next candles, if need be with repeated timestamps.
    fn next_cleaned(&mut self) -> Result<Option<Cleaned>> {
        loop {
            if let Some((candles, used)) = &mut self.whole {
                let len = (candles.len() - *used).min(self.rules.chunk_rows);
                if len > 0 {
                    let chunk = candles.slice(*used, len);
                    *used += len;
                    return Ok(Some(chunk));
                }
                self.whole = None;
            }
            let Some(segment) = self.segments.front_mut() else {
                return Ok(None);
            };
            match segment.order {
                Order::Ascending => {}
                Order::LookAtAll => {
                    let segment = *segment;
                    self.segments.pop_front();
                    self.load(&segment)?;
                    continue;
                }
                Order::Scan => {
                    let segment = *segment;
                    let scanned = self.scan(&segment)?;
                    self.segments[0] = scanned;
                    continue;
                }
            }
            let first_row = self.rows.position;
            let Some(raw) = self.rows.next(&self.source, &self.rules, segment.rows)? else {
                self.segments.pop_front();
                continue;
            };
            segment.rows -= raw.timestamps.len() as u64;
            let cleaned = self
                .cleaner
                .clean(&raw, first_row, &self.source, &mut self.report)?;
            if !cleaned.is_empty() {
                return Ok(Some(cleaned));
            }
        }
    }

    /// Looks through a long segment in a pass that keeps little of it, and goes back to its start.
    fn scan(&mut self, segment: &Segment) -> Result<Segment> {
        let start = self.rows.position;
        let mut scan = Scan::new(&self.rules);
        while self.rows.position < start + segment.rows {
            let first_row = self.rows.position;
            let left = start + segment.rows - first_row;
            let Some(raw) = self.rows.next(&self.source, &self.rules, left)? else {
                break;
            };
            self.check_bounds(segment, first_row, &raw.timestamps)?;
            scan.rows(&raw.timestamps);
        }
        self.may_repeat |= scan.repeats;
        let order = scan.order();
        let runs = scan.runs;
        self.rows.go_to(start, &self.source, runs);
        Ok(Segment {
            order,
            bounds: None,
            ..*segment
        })
    }

    /// Looks through a whole segment and sorts it where it has to be.
    fn load(&mut self, segment: &Segment) -> Result<()> {
        let all_rows = self.rows.position..self.rows.position + segment.rows;
        let mut parts = Vec::new();
        while self.rows.position < all_rows.end {
            let first_row = self.rows.position;
            let left = all_rows.end - first_row;
            let Some(raw) = self.rows.next(&self.source, &self.rules, left)? else {
                break;
            };
            self.check_bounds(segment, first_row, &raw.timestamps)?;
            parts.push(
                self.cleaner
                    .clean(&raw, first_row, &self.source, &mut self.report)?,
            );
        }
        let mut all = Cleaned::concat(&parts);
        drop(parts);
        if let Some(earlier) = all.timestamps.windows(2).position(|pair| pair[0] > pair[1]) {
            let row = all.rows.row(earlier + 1);
            if self.rules.unsorted == UnsortedPolicy::Error {
                let error = unsorted(&all.timestamps[earlier..=earlier + 1]);
                return Err(self.source.at_row(error, row));
            }
            if self.report.sorted {
                let (path, row) = self.source.place(row);
                let (symbol, price_type) = (&self.report.symbol, self.report.price_type);
                self.warnings
                    .push(sorted_in_memory(symbol, price_type, path, row));
            }
            self.report.sorted = false;
            let mut order: Vec<u32> = (0..row_index(all.len())?).collect();
            order.sort_by_key(|&at| all.timestamps[at as usize]);
            all = all.take(&order);
            all.shuffled = Some(all_rows);
        }
        self.whole = Some((self.unique(all)?, 0));
        Ok(())
    }

    /// Order was planned, and pages were left out, by what the file says of its pages: fails where
    /// that turns out to be wrong.
    fn check_bounds(&self, segment: &Segment, first_row: u64, timestamps: &[i64]) -> Result<()> {
        let Some((min_ns, max_ns)) = segment.bounds else {
            return Ok(());
        };
        let is_outside = |at: &i64| *at < min_ns || *at > max_ns;
        let Some(outside) = timestamps.iter().position(is_outside) else {
            return Ok(());
        };
        let error = contradiction(timestamps[outside], (min_ns, max_ns), &self.rules);
        Err(self.source.at_row(error, first_row + outside as u64))
    }

    /// Drops all but one row of every run of equal timestamps; the candles are in order.
    fn unique(&mut self, cleaned: Cleaned) -> Result<Cleaned> {
        let timestamps = &cleaned.timestamps;
        if timestamps.windows(2).all(|pair| pair[0] < pair[1]) {
            return Ok(cleaned);
        }
        let end = timestamps.len();
        let mut kept = Vec::with_capacity(end);
        for at in 0..end {
            let stays = match self.rules.duplicates {
                DuplicatePolicy::Last => at + 1 == end || timestamps[at] != timestamps[at + 1],
                DuplicatePolicy::First => at == 0 || timestamps[at - 1] != timestamps[at],
                DuplicatePolicy::Error if at > 0 && timestamps[at - 1] == timestamps[at] => {
                    return Err(self.repeated(timestamps[at], cleaned.rows.row(at)));
                }
                DuplicatePolicy::Error => true,
            };
            if stays {
                kept.push(at as u32);
            }
        }
        self.report.duplicates += (end - kept.len()) as u64;
        Ok(cleaned.take(&kept))
    }

    /// Fails where a chunk may not follow another. Comes before anything is said about the rows of
    /// the later chunk: the first row at fault is the one to be named.
    fn check_border(&self, before: &Cleaned, after: &Cleaned) -> Result<()> {
        match before.border(after) {
            Some((last, first)) if last > first => {
                // The pass over the timestamps saw them in order.
                let message = "the file changed while it was being read";
                let error = Error::input(Code::CorruptInput, message);
                Err(self.source.at_row(error, after.rows.row(0)))
            }
            Some((last, first))
                if last == first && self.rules.duplicates == DuplicatePolicy::Error =>
            {
                Err(self.repeated(first, after.rows.row(0)))
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
            let len = after.len() - 1;
            (before, after.slice(1, len))
        } else {
            let len = before.len() - 1;
            (before.slice(0, len), after)
        }
    }

    fn repeated(&self, timestamp_ns: i64, row: u64) -> Error {
        let error = Error::input(
            Code::DuplicateTimestamp,
            format!(
                "the timestamp {} occurs twice in the series",
                format_timestamp(timestamp_ns)
            ),
        );
        self.source
            .at_row(error, row)
            .with_hint("remove one of the rows, or choose --duplicates last or first")
    }
}

/// Which rows of the files are read, in which segments.
struct SegmentPlan {
    /// Per file.
    spans: Vec<Vec<Span>>,
    segments: Vec<Segment>,
    may_repeat: bool,
    runs: Option<TimestampRuns>,
}

impl SegmentPlan {
    /// By what the files say of their pages, without decoding any. `None` where they do not say
    /// enough, or where the rules are that any disorder ends the run, however late in the file.
    fn by_pages(files: &[SourceFile], rules: &SeriesRules) -> Result<Option<Self>> {
        if rules.unsorted == UnsortedPolicy::Error || rules.duplicates == DuplicatePolicy::Error {
            return Ok(None);
        }
        let mut spans = Vec::with_capacity(files.len());
        let mut pages = Vec::new();
        for file in files {
            let mut of_file = Vec::new();
            for (row_group, rows) in file.row_group_rows().enumerate() {
                if rows == 0 {
                    continue;
                }
                let Some(of_group) = file.timestamp_pages(row_group)? else {
                    return Ok(None);
                };
                // From the first page that ends after the start to the last that begins before the
                // end; those between are read even where they claim to lie elsewhere.
                let first = of_group
                    .iter()
                    .position(|page| rules.start_ns <= page.max_ns)
                    .unwrap_or(of_group.len());
                let end = of_group
                    .iter()
                    .rposition(|page| page.min_ns <= rules.end_ns)
                    .map_or(0, |last| last + 1);
                check_neighbours(
                    file,
                    row_group,
                    &of_group,
                    first.min(end)..first.max(end),
                    rules,
                )?;
                if first < end {
                    let rows = |pages: &[TimeBounds]| pages.iter().map(|page| page.rows).sum();
                    of_file.push(Span {
                        row_group,
                        skip: rows(&of_group[..first]),
                        rows: rows(&of_group[first..end]),
                    });
                    pages.extend_from_slice(&of_group[first..end]);
                }
            }
            spans.push(of_file);
        }
        let (segments, may_repeat) = segments(&pages);
        let short_enough = |segment: &Segment| segment.rows <= rules.segment_rows as u64;
        Ok(segments.first().is_none_or(short_enough).then(|| Self {
            spans,
            segments: first_and_rest(&segments),
            may_repeat,
            runs: None,
        }))
    }

    /// By a pass over all timestamps.
    fn by_scan(files: &[SourceFile], rules: &SeriesRules) -> Result<Self> {
        let mut scan = Scan::new(rules);
        let mut spans = Vec::with_capacity(files.len());
        for file in files {
            spans.push(scan.file(file)?);
        }
        let rows = spans.iter().flatten().map(|span| span.rows as u64).sum();
        Ok(Self {
            spans,
            segments: vec![Segment {
                rows,
                order: scan.order(),
                bounds: None,
            }],
            may_repeat: scan.repeats,
            runs: scan.runs,
        })
    }
}

/// Fails where a page beside those that are read contradicts its statistics. In a file in order no
/// other page can hide rows of the window.
fn check_neighbours(
    file: &SourceFile,
    row_group: usize,
    pages: &[TimeBounds],
    read: Range<usize>,
    rules: &SeriesRules,
) -> Result<()> {
    // A short window is read from one neighbour to the other: what the decoder needs to begin with
    // costs more than the pages between.
    const SHORT: usize = 8;
    let (before, after) = (read.start.saturating_sub(1), pages.len().min(read.end + 1));
    let looked_at = if (before, after) == (read.start, read.end) {
        [0..0, 0..0]
    } else if read.len() <= SHORT {
        [before..after, 0..0]
    } else {
        [before..read.start, read.end..after]
    };
    for looked_at in looked_at {
        let rows = |pages: &[TimeBounds]| pages.iter().map(|page| page.rows).sum();
        let span = Span {
            row_group,
            skip: rows(&pages[..looked_at.start]),
            rows: rows(&pages[looked_at.clone()]),
        };
        if span.rows == 0 {
            continue;
        }
        let mut reader = file.read(Pass::Timestamps, &[span], rules.chunk_rows.max(8_192))?;
        let of_page = pages[looked_at]
            .iter()
            .flat_map(|page| std::iter::repeat_n(page, page.rows));
        let mut expected = of_page.enumerate();
        let before: usize = file.row_group_rows().take(row_group).sum();
        while let Some(raw) = reader.next_rows(file)? {
            for (&timestamp_ns, (row, page)) in raw.timestamps.iter().zip(&mut expected) {
                if !(page.min_ns..=page.max_ns).contains(&timestamp_ns) {
                    let row = (before + span.skip + row) as u64;
                    return Err(
                        contradiction(timestamp_ns, (page.min_ns, page.max_ns), rules)
                            .at_file(file.path())
                            .at_row(row),
                    );
                }
            }
        }
    }
    Ok(())
}

fn contradiction(timestamp_ns: i64, (min_ns, max_ns): (i64, i64), rules: &SeriesRules) -> Error {
    Error::input(
        Code::CorruptInput,
        format!(
            "the timestamp {} contradicts the statistics of its page, {} to {}",
            format_timestamp(timestamp_ns),
            format_timestamp(min_ns),
            format_timestamp(max_ns)
        ),
    )
    .at_column(&rules.columns.timestamp)
    .with_hint("the file is damaged, or its writer is; write it again")
}

impl RowStream {
    /// At most `limit` of the next rows; `None` after the last ones. Never an empty chunk.
    fn next(
        &mut self,
        source: &SeriesSource,
        rules: &SeriesRules,
        limit: u64,
    ) -> Result<Option<RawRows>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if limit == 0 {
            return Ok(None);
        }
        if let Some(runs) = &mut self.runs {
            let timestamps = runs.read(rules.chunk_rows.min(limit));
            self.position += timestamps.len() as u64;
            return Ok((!timestamps.is_empty()).then(|| RawRows {
                timestamps: timestamps.into(),
                values: None,
            }));
        }
        while self.decoded.is_none() {
            let Some(planned) = source.files.get(self.file) else {
                return Ok(None);
            };
            if self.reader.is_none() && planned.rows > 0 {
                let spans = planned.spans_after(std::mem::take(&mut self.skip));
                let reader = planned.file.read(self.pass, &spans, rules.chunk_rows)?;
                self.reader = Some(Box::new(reader));
            }
            self.decoded = match &mut self.reader {
                Some(reader) => reader.next_rows(&planned.file)?,
                None => None,
            };
            if self.decoded.is_none() {
                self.reader = None;
                self.file += 1;
            }
        }
        let Some(decoded) = self.decoded.take() else {
            return Ok(None);
        };
        let len = limit.min(decoded.timestamps.len());
        if len < decoded.timestamps.len() {
            self.decoded = Some(decoded.slice(len, decoded.timestamps.len() - len));
        }
        self.position += len as u64;
        Ok(Some(decoded.slice(0, len)))
    }
}

impl RowStream {
    /// Goes back to a row that was handed out before, and on from there: by the timestamps of all
    /// rows from it on, where these were kept.
    fn go_to(&mut self, row: u64, source: &SeriesSource, runs: Option<TimestampRuns>) {
        *self = Self {
            pass: self.pass,
            file: 0,
            reader: None,
            runs,
            skip: row,
            decoded: None,
            position: row,
        };
        while let Some(planned) = source.files.get(self.file)
            && self.skip >= planned.rows
        {
            self.skip -= planned.rows;
            self.file += 1;
        }
    }
}

fn unsorted(pair: &[i64]) -> Error {
    Error::input(
        Code::UnsortedInput,
        format!(
            "the series is not in time order: {} comes after {}",
            format_timestamp(pair[1]),
            format_timestamp(pair[0])
        ),
    )
    .with_hint("sort the file, or choose --unsorted sort")
}

fn sorted_in_memory(symbol: &str, price_type: PriceType, file: &Path, row: u64) -> Warning {
    Warning {
        name: Code::UnsortedInput.name(),
        message: format!(
            "{symbol} {price_type} is not in time order (first at row {row} of {}); it was sorted \
             in memory",
            file.display()
        ),
        file: Some(PathBuf::from(file)),
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
