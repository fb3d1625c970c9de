//! Turns the rows of a series into candles in strictly increasing time order, and keeps the row
//! number of each.
//!
//! The rows come in segments, one after the other in time. A segment that is known to be in order
//! is streamed. Any other segment is read as a whole, and sorted if needed.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::duplicates::Duplicates;
use super::open::OpenedFiles;
use super::row_filter::{RowFilter, left_out};
use super::row_stream::RowStream;
use super::scan::Scan;
use super::segmentation::{Segmentation, contradiction};
use super::segments::{Order, Segment, SegmentBounds, as_whole};
use super::stats::SeriesStats;
use super::{CandleTimes, OpenSeries, SelectedFile, SeriesObserver, SeriesRules};
use crate::memory::Reservation;
use crate::series_files::SeriesFiles;
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::report::{SeriesName, SeriesReport, Warning};
use slices_core::request::{UnsortedPolicy, format_timestamp};
use slices_parquet::{FileRanges, Projection};

/// What an open series takes beside its footers and columns.
const SERIES_BYTES: u64 = 8 << 10;

/// What small files of a series take while they are read, if there are several.
const SMALL_FILES_BYTES: u64 = 128 << 10;

/// What kept timestamps take at most.
const KEPT_BYTES_MAX: u64 = 200 << 10;

/// What a row of a long segment takes while it is sorted, without its values.
const SORTED_ROW_BYTES: u64 = 80;

/// The candles of one series, chunk by chunk.
pub struct TimestampReader {
    rules: Arc<SeriesRules>,
    series: Arc<OpenSeries>,
    filter: RowFilter,
    rows: RowStream,
    segments: VecDeque<Segment>,
    bounds: SegmentBounds,
    /// The candles of a segment that was read as a whole, and how many were returned.
    whole: Option<(CandleTimes, usize)>,
    /// Whether a timestamp may end one chunk and start the next. If so, a chunk waits in `pending`
    /// until the next one shows whether its last candle is superseded.
    may_repeat: bool,
    pending: Option<CandleTimes>,
    duplicates: Duplicates,
    stats: SeriesStats,
    ended: bool,
    warnings: Vec<Warning>,
    /// The memory of kept timestamps.
    _kept: Reservation,
    /// The memory of a long segment that is read as a whole.
    held_segment: Option<Reservation>,
}

impl TimestampReader {
    pub(super) fn open(
        found: &SeriesFiles,
        opened: OpenedFiles,
        rules: Arc<SeriesRules>,
        observer: Box<dyn SeriesObserver>,
    ) -> Result<(Arc<OpenSeries>, Self)> {
        let OpenedFiles {
            files,
            places,
            empty,
            units,
            columns,
        } = opened;
        let rows = files.iter().map(|file| file.file().rows()).sum();
        let filter = RowFilter::new(&rules);
        let by_pages = if filter.candle_places().is_some() || rules.time.needs_begins() {
            None
        } else {
            Segmentation::by_pages(&files, &rules)?
        };
        let is_scanned = by_pages.is_none();
        let mut segmentation = match by_pages {
            Some(segmentation) => segmentation,
            None => Segmentation::by_scan(&files, &rules)?,
        };
        // Rows of one date are resolved together; they are few.
        let is_whole = rules.time.needs_begins();
        if is_whole {
            segmentation.segments = as_whole(&segmentation.segments).into_iter().collect();
        }
        let files = places.into_iter().zip(files).zip(segmentation.ranges);
        let files: Vec<_> = files
            .map(|(file, ranges)| SelectedFile::new(file, ranges))
            .collect();
        for selected in &files {
            selected.file.file().announce(&selected.ranges)?;
        }
        let footers = files.iter().map(|file| file.file.file().metadata_bytes());
        let opened_bytes = if files.len() > 1 {
            SMALL_FILES_BYTES
        } else {
            0
        };
        let footer_bytes = SERIES_BYTES + opened_bytes + footers.sum::<u64>();
        let ranges = files.iter().flat_map(SelectedFile::file_ranges);
        let series = Arc::new(OpenSeries {
            name: found.name.clone(),
            ranges: FileRanges::new(ranges),
            files,
            empty,
            first_path: found.files[0].path.clone(),
            decodes_twice: is_scanned && segmentation.runs.is_none(),
            _footers: rules.memory.reserve(footer_bytes, "the footers")?,
        });
        let kept_bytes = match &segmentation.runs {
            Some(kept) => kept.bytes() as u64,
            // Later segments may keep theirs. A bit for each bar, and as many gaps.
            None => KEPT_BYTES_MAX.min(series.rows() / 4),
        };
        let mut stats = SeriesStats::new(&found.name, found.files.len(), rows, &rules, observer);
        stats.report.timestamp_units = units;
        stats.report.columns = columns;
        let reader = Self {
            rows: if let Some(places) = filter.candle_places() {
                RowStream::new(Projection::Candles(places), None, series.rows())
            } else {
                // Ends after the first segment. The rest starts much later, by `go_to`.
                let first = segmentation
                    .segments
                    .first()
                    .map_or(0, |segment| segment.rows);
                RowStream::new(Projection::Timestamps, segmentation.runs, first)
            },
            filter,
            segments: segmentation.segments.into(),
            bounds: segmentation.bounds,
            whole: None,
            may_repeat: (rules.normalize || segmentation.may_repeat) && !is_whole,
            pending: None,
            duplicates: Duplicates::new(&rules),
            stats,
            ended: false,
            warnings: Vec::new(),
            _kept: rules.memory.reserve(kept_bytes, "the timestamps")?,
            held_segment: None,
            rules,
            series: series.clone(),
        };
        Ok((series, reader))
    }

    /// The next candles of the series; `None` after the last ones. Never an empty chunk.
    pub fn next_chunk(&mut self) -> Result<Option<CandleTimes>> {
        let chunk = self
            .next_unnamed()
            .map_err(|error| self.series.named(error))?;
        if let Some(chunk) = &chunk {
            let before = |&at: &i64| at < self.rules.first_ns;
            let lead_in = chunk.timestamps.partition_point(before);
            let timestamps = &chunk.timestamps[lead_in..];
            if chunk.begins.is_none() {
                self.stats.add_candles(timestamps);
            } else {
                // A date may have several candles, each shown until the next is complete.
                let last = self.stats.report.last_timestamp_ns;
                let mut dates: Vec<_> =
                    last.into_iter().chain(timestamps.iter().copied()).collect();
                dates.dedup();
                self.stats.add_candles(&dates[last.iter().count()..]);
            }
        } else if !self.ended {
            self.ended = true;
            if self.rules.warns_of_conflicts {
                self.warnings.extend(self.duplicates.warning(&self.series));
            }
            self.warnings.extend(self.stats.warnings(&self.series));
        }
        Ok(chunk)
    }

    /// The counts so far: rows read, and rows dropped by each rule.
    pub fn report(&self) -> &SeriesReport {
        &self.stats.report
    }

    /// Takes the warnings so far; each appears once.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    fn next_unnamed(&mut self) -> Result<Option<CandleTimes>> {
        loop {
            let after = self.next_filtered()?;
            // Check this after the read: the segment may have turned out to repeat timestamps.
            if !self.may_repeat {
                return Ok(after);
            }
            let Some(after) = after else {
                return Ok(self.pending.take());
            };
            let Some(before) = self.pending.take() else {
                self.pending = Some(self.unique(after)?);
                continue;
            };
            self.check_border(&before, &after)?;
            let after = self.unique(after)?;
            let (before, after) = self.resolve_border(before, after)?;
            if after.is_empty() {
                self.pending = Some(before);
                continue;
            }
            self.pending = Some(after);
            if !before.is_empty() {
                return Ok(Some(before));
            }
        }
    }

    /// The next candles after window, session, flooring and order. Timestamps may repeat.
    fn next_filtered(&mut self) -> Result<Option<CandleTimes>> {
        loop {
            if let Some((candles, used)) = &mut self.whole {
                let len = (candles.len() - *used).min(self.rules.chunk_rows);
                if len > 0 {
                    let chunk = candles.slice(*used, len);
                    *used += len;
                    return Ok(Some(chunk));
                }
                self.whole = None;
                self.held_segment = None;
            }
            let Some(segment) = self.segments.front_mut() else {
                return Ok(None);
            };
            match segment.order {
                Order::Ascending => {}
                Order::Whole => {
                    let segment = *segment;
                    self.segments.pop_front();
                    self.load(&segment)?;
                    if !self.segments.is_empty() {
                        // The rest is read much later, so keep nothing for it.
                        self.rows.go_to(self.rows.position(), &self.series, None);
                    }
                    continue;
                }
                Order::Scan => {
                    let segment = *segment;
                    let scanned = self.scan(&segment)?;
                    self.segments[0] = scanned;
                    continue;
                }
            }
            let first_row = self.rows.position();
            let Some(raw) = self.rows.next(&self.series, &self.rules, segment.rows)? else {
                self.segments.pop_front();
                continue;
            };
            segment.rows -= raw.timestamps.len() as u64;
            let filtered =
                self.filter
                    .filter_rows(&raw, first_row, &self.series, &mut self.stats)?;
            if !filtered.is_empty() {
                return Ok(Some(filtered));
            }
        }
    }

    /// Scans a long segment in a pass that keeps little memory, and goes back to its start.
    fn scan(&mut self, segment: &Segment) -> Result<Segment> {
        let start = self.rows.position();
        let mut scan = Scan::new(&self.rules);
        while self.rows.position() < start + segment.rows {
            let first_row = self.rows.position();
            let left = start + segment.rows - first_row;
            let Some(raw) = self.rows.next(&self.series, &self.rules, left)? else {
                break;
            };
            self.check_bounds(first_row, &raw.timestamps)?;
            scan.rows(&raw.timestamps);
        }
        self.may_repeat |= scan.repeats;
        let order = scan.order();
        let runs = scan.runs;
        self.rows.go_to(start, &self.series, runs);
        Ok(Segment { order, ..*segment })
    }

    /// Reads a whole segment, and sorts it if needed.
    fn load(&mut self, segment: &Segment) -> Result<()> {
        let all_rows = self.rows.position()..self.rows.position() + segment.rows;
        if segment.rows > self.rules.segment_rows as u64 {
            let row_bytes = SORTED_ROW_BYTES + 8 * self.rules.fields() as u64;
            let what = "a series that is out of order and has to be sorted";
            let held = self.rules.memory.reserve(segment.rows * row_bytes, what)?;
            self.held_segment = Some(held);
        }
        let mut parts = Vec::new();
        while self.rows.position() < all_rows.end {
            let first_row = self.rows.position();
            let left = all_rows.end - first_row;
            let Some(raw) = self.rows.next(&self.series, &self.rules, left)? else {
                break;
            };
            self.check_bounds(first_row, &raw.timestamps)?;
            parts.push(
                self.filter
                    .filter_rows(&raw, first_row, &self.series, &mut self.stats)?,
            );
        }
        let mut all = CandleTimes::concat(&parts);
        drop(parts);
        if let Some(earlier) = all.timestamps.windows(2).position(|pair| pair[0] > pair[1]) {
            let row = all.rows.row(earlier + 1);
            if self.rules.unsorted == UnsortedPolicy::Error {
                let error = unsorted(&all.timestamps[earlier..=earlier + 1]);
                return Err(self.series.at_row(error, row));
            }
            if self.stats.report.sorted {
                let (path, row) = self.series.place(row);
                self.warnings
                    .push(sorted_in_memory(&self.series.name, path, row));
            }
            self.stats.report.sorted = false;
            let mut order: Vec<u32> = (0..row_index(all.len())?).collect();
            order.sort_by_key(|&at| all.timestamps[at as usize]);
            all = all.take(&order);
            all.shuffled = Some(all_rows.clone());
        }
        let mut unique = self.unique(all)?;
        if unique.begins.is_some() {
            // Rows of one date may be in the order of their ends.
            unique.shuffled = Some(all_rows);
        }
        self.whole = Some((unique, 0));
        Ok(())
    }

    /// Fails if a row contradicts the bounds of its page. The order of segments and the skipped
    /// pages rely on them.
    fn check_bounds(&self, first_row: u64, timestamps: &[i64]) -> Result<()> {
        let Some((row, page)) = self.bounds.contradicted(first_row, timestamps) else {
            return Ok(());
        };
        let error = contradiction(timestamps[row], &page, &self.rules);
        Err(self.series.at_row(error, first_row + row as u64))
    }

    /// Keeps one row of each timestamp. The candles must be in order.
    fn unique(&mut self, filtered: CandleTimes) -> Result<CandleTimes> {
        let timestamps = &filtered.timestamps;
        if timestamps.windows(2).all(|pair| pair[0] < pair[1]) {
            return Ok(filtered);
        }
        let end = timestamps.len();
        let kept = self.duplicates.choose(&self.series, &filtered)?;
        self.stats.report.conflicting_duplicates = self.duplicates.conflicts();
        let lead_in = timestamps.partition_point(|&at| at < self.rules.first_ns);
        let kept_of_it = kept.partition_point(|&at| (at as usize) < lead_in);
        let candles = match &filtered.begins {
            None => kept.len() - kept_of_it,
            Some(_) => timestamps[lead_in..].chunk_by(|a, b| a == b).count(),
        };
        let dropped = (end - lead_in) - candles;
        self.stats.report.duplicates += dropped as u64;
        self.stats
            .add_dropped(left_out(timestamps, &kept).filter(|&at| at >= self.rules.first_ns));
        Ok(filtered.take(&kept))
    }

    /// Fails if a chunk may not follow another. Runs before any check of the later chunk, so that
    /// the error names the first wrong row.
    fn check_border(&mut self, before: &CandleTimes, after: &CandleTimes) -> Result<()> {
        match before.border(after) {
            Some((last, first)) if last > first => {
                // The scan saw them in order.
                let message = "the file changed while it was being read";
                let error = Error::input(Code::CorruptInput, message)
                    .with_hint("run again when no process writes there");
                Err(self.series.at_row(error, after.rows.row(0)))
            }
            Some((last, first)) if last == first && self.rules.fails_on_duplicates() => {
                let rows = (before.rows.row(before.len() - 1), after.rows.row(0));
                let kept = self.duplicates.keeps_before(&self.series, first, rows);
                kept.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Keeps one row if a timestamp ends one chunk and starts the next.
    fn resolve_border(
        &mut self,
        before: CandleTimes,
        after: CandleTimes,
    ) -> Result<(CandleTimes, CandleTimes)> {
        let Some((_, shared)) = before.border(&after).filter(|(last, first)| last == first) else {
            return Ok((before, after));
        };
        let rows = (before.rows.row(before.len() - 1), after.rows.row(0));
        let keeps_before = self.duplicates.keeps_before(&self.series, shared, rows)?;
        self.stats.report.conflicting_duplicates = self.duplicates.conflicts();
        let dropped = Some(shared).filter(|&at| at >= self.rules.first_ns);
        self.stats.report.duplicates += u64::from(dropped.is_some());
        self.stats.add_dropped(dropped.into_iter());
        Ok(if keeps_before {
            let len = after.len() - 1;
            (before, after.slice(1, len))
        } else {
            let len = before.len() - 1;
            (before.slice(0, len), after)
        })
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
    .with_hint(hint![
        "sort the file, or choose ",
        Setting::Unsorted.to("sort")
    ])
}

fn sorted_in_memory(series: &SeriesName, file: &Path, row: u64) -> Warning {
    let message = format!(
        "{series} is not in time order (first at row {row} of {}); it was sorted \
             in memory",
        file.display()
    );
    Warning::new(Code::UnsortedInput.name(), message)
        .at_file(file)
        .at_series(series)
}

fn row_index(rows: usize) -> Result<u32> {
    u32::try_from(rows).map_err(|_| {
        Error::system(format!(
            "cannot sort a series of {rows} rows: at most {} can be sorted",
            u32::MAX
        ))
        .with_hint("sort the file, or narrow the window")
    })
}
