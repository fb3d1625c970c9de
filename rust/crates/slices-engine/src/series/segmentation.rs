//! Decides which rows of a series are read, and in which segments. Uses the bounds of pages, or a
//! pass over all timestamps.

use std::ops::Range;

use super::SeriesRules;
use super::scan::Scan;
use super::segments::{Segment, SegmentBounds, first_and_rest, segments};
use crate::kept_timestamps::KeptTimestamps;
use slices_core::error::{Code, Error, Result};
use slices_core::request::{UnsortedPolicy, format_timestamp};
use slices_parquet::{PageBounds, RowRange, SeriesFile};

/// A selection of at most this many chunks is scanned at once, without segments.
const SCANNED_AT_ONCE_CHUNKS: u64 = 12;

/// Which rows of the files are read, and in which segments.
pub(super) struct Segmentation {
    /// The row ranges of each file.
    pub ranges: Vec<Vec<RowRange>>,
    pub segments: Vec<Segment>,
    /// The bounds that the plan relies on; the rows are checked against them.
    pub bounds: SegmentBounds,
    pub may_repeat: bool,
    pub runs: Option<KeptTimestamps>,
}

impl Segmentation {
    /// Plans by the bounds of pages. Scans a small selection at once. Of a large one, decodes only
    /// the pages at the ends of the window.
    ///
    /// `None` if the files do not state enough, or if any disorder ends the run, however late in
    /// the file.
    pub fn by_pages(files: &[SeriesFile], rules: &SeriesRules) -> Result<Option<Self>> {
        if rules.unsorted == UnsortedPolicy::Error || rules.fails_on_duplicates() {
            return Ok(None);
        }
        let mut selected = Vec::with_capacity(files.len());
        for file in files {
            match selected_pages(file, rules)? {
                Some(of_file) => selected.push(of_file),
                None => return Ok(None),
            }
        }
        let rows: usize = selected.iter().flatten().map(PagesOfGroup::rows).sum();
        if rows as u64 <= SCANNED_AT_ONCE_CHUNKS * rules.chunk_rows as u64 {
            return Self::by_scan_of_pages(files, &selected, rules).map(Some);
        }
        let mut ranges = Vec::with_capacity(files.len());
        let mut pages = Vec::new();
        for (file, of_file) in files.iter().zip(&selected) {
            for (place, group) in of_file.iter().enumerate() {
                if may_hide_rows(file, of_file, place) {
                    check_neighbours(file, group, rules)?;
                }
                pages.extend_from_slice(&group.pages[group.read.clone()]);
            }
            let of_file = of_file.iter().map(|group| group.range(group.read.clone()));
            ranges.push(of_file.filter(|range| range.rows > 0).collect());
        }
        let (segments, may_repeat) = segments(&pages);
        let short_enough = |segment: &Segment| segment.rows <= rules.segment_rows as u64;
        if !segments.first().is_none_or(short_enough) {
            return Ok(None);
        }
        Ok(Some(Self {
            ranges,
            segments: first_and_rest(&segments),
            bounds: SegmentBounds::new(&pages),
            may_repeat,
            runs: None,
        }))
    }

    /// Plans by a scan of the selected pages and those beside them.
    fn by_scan_of_pages(
        files: &[SeriesFile],
        selected: &[Vec<PagesOfGroup>],
        rules: &SeriesRules,
    ) -> Result<Self> {
        let mut scan = Scan::new(rules);
        let mut ranges = Vec::with_capacity(files.len());
        for (file, of_file) in files.iter().zip(selected) {
            let mut of_rows = Vec::new();
            for (place, group) in of_file.iter().enumerate() {
                if !may_hide_rows(file, of_file, place) {
                    continue;
                }
                let part = group.with_neighbours();
                of_rows.extend(group.scan(file, part, &mut scan, rules)?);
            }
            ranges.push(of_rows);
        }
        Ok(Self::of_scan(ranges, scan))
    }

    /// Plans by a scan of all timestamps.
    pub fn by_scan(files: &[SeriesFile], rules: &SeriesRules) -> Result<Self> {
        let mut scan = Scan::new(rules);
        let mut ranges = Vec::with_capacity(files.len());
        for file in files {
            ranges.push(scan.file(file)?);
        }
        Ok(Self::of_scan(ranges, scan))
    }

    fn of_scan(ranges: Vec<Vec<RowRange>>, scan: Scan<'_>) -> Self {
        let rows = ranges.iter().flatten().map(|range| range.rows as u64).sum();
        Self {
            ranges,
            segments: vec![Segment {
                rows,
                order: scan.order(),
            }],
            bounds: SegmentBounds::default(),
            may_repeat: scan.repeats,
            runs: scan.runs,
        }
    }
}

/// The pages of a row group, and the part of them that is read.
struct PagesOfGroup {
    row_group: usize,
    pages: Vec<PageBounds>,
    read: Range<usize>,
}

/// The pages of each row group of a file that may hold rows within reach. `None` if the file does
/// not state it for certain.
fn selected_pages(file: &SeriesFile, rules: &SeriesRules) -> Result<Option<Vec<PagesOfGroup>>> {
    let mut selected = Vec::new();
    for (row_group, rows) in file.file().row_group_rows().enumerate() {
        if rows == 0 {
            continue;
        }
        let Some(pages) = file.timestamp_pages(row_group)? else {
            return Ok(None);
        };
        // From the first page that ends after the start to the last that begins before the end.
        // Those between are read even if their bounds lie elsewhere.
        let first = pages.iter().position(|page| rules.start_ns <= page.max_ns);
        let first = first.unwrap_or(pages.len());
        let last = pages.iter().rposition(|page| page.min_ns <= rules.end_ns);
        let end = last.map_or(0, |last| last + 1);
        selected.push(PagesOfGroup {
            row_group,
            pages,
            // All pages before the first one end before the window. So the range may be empty, and
            // then says between which pages the window lies. It never ends before it starts.
            read: first..end,
        });
    }
    Ok(Some(selected))
}

impl PagesOfGroup {
    /// Number of rows to read.
    fn rows(&self) -> usize {
        self.range(self.read.clone()).rows
    }

    /// The rows of some of the pages.
    fn range(&self, part: Range<usize>) -> RowRange {
        let rows = |pages: &[PageBounds]| pages.iter().map(|page| page.rows).sum();
        RowRange {
            row_group: self.row_group,
            skip: rows(&self.pages[..part.start]),
            rows: rows(&self.pages[part]),
        }
    }

    /// The pages to read, and one more on each side.
    fn with_neighbours(&self) -> Range<usize> {
        self.read.start.saturating_sub(1)..self.pages.len().min(self.read.end + 1)
    }

    /// Scans the timestamps of some pages. Returns their rows from the first to the last within
    /// reach.
    ///
    /// # Errors
    ///
    /// [`Code::CorruptInput`] if a timestamp contradicts the bounds of its page.
    fn scan(
        &self,
        file: &SeriesFile,
        part: Range<usize>,
        scan: &mut Scan<'_>,
        rules: &SeriesRules,
    ) -> Result<Option<RowRange>> {
        let rows = self.range(part.clone());
        if rows.rows == 0 {
            return Ok(None);
        }
        let bounds = SegmentBounds::new(&self.pages[part]);
        let before: usize = file.file().row_group_rows().take(self.row_group).sum();
        scan.rows_within(file, rows, |first, timestamps| {
            let Some((at, page)) = bounds.contradicted(first as u64, timestamps) else {
                return Ok(());
            };
            let row = (before + rows.skip + first + at) as u64;
            Err(contradiction(timestamps[at], &page, rules)
                .at_file(file.file().path())
                .at_row(row))
        })
    }
}

/// Whether rows of the window may be found in a row group, or beside its selected pages. Those of
/// this machine are always looked at. Of an object, only the pages beside the window are fetched
/// for that: in a file in order, nothing else can hide rows.
fn may_hide_rows(file: &SeriesFile, groups: &[PagesOfGroup], place: usize) -> bool {
    let is_read = |place: usize| groups.get(place).is_some_and(|group| group.rows() > 0);
    let is_beside = || is_read(place + 1) || place.checked_sub(1).is_some_and(is_read);
    // Without an index, a group is one page.
    let has_pages = groups[place].pages.len() > 1;
    !file.file().is_stored() || is_read(place) || has_pages && is_beside()
}

/// Fails if a page beside the selected ones contradicts its bounds. In a file in order, no other
/// page can hide rows of the window.
fn check_neighbours(file: &SeriesFile, group: &PagesOfGroup, rules: &SeriesRules) -> Result<()> {
    let all = group.with_neighbours();
    for beside in [all.start..group.read.start, group.read.end..all.end] {
        // The order of these rows says nothing about the series.
        group.scan(file, beside, &mut Scan::new(rules), rules)?;
    }
    Ok(())
}

/// The error for a timestamp outside the bounds of its page.
pub(super) fn contradiction(timestamp_ns: i64, page: &PageBounds, rules: &SeriesRules) -> Error {
    Error::input(
        Code::CorruptInput,
        format!(
            "the timestamp {} contradicts the statistics of its page, {} to {}",
            format_timestamp(timestamp_ns),
            format_timestamp(page.min_ns),
            format_timestamp(page.max_ns)
        ),
    )
    .at_column(rules.timestamp.first())
    .with_hint("write the file again: its page statistics are wrong")
}
