//! Owns the decision which rows of the files of a series are read, and in which segments: by what the
//! files say of their pages, or by a pass over all timestamps.

use std::ops::Range;

use super::SeriesRules;
use super::scan::Scan;
use super::segments::{Segment, SegmentBounds, as_one, first_and_rest, segments};
use crate::data::delta_runs::DeltaRuns;
use crate::data::source::{PageBounds, Projection, RowRange, SourceFile};
use crate::error::{Code, Error, Result};
use crate::request::{UnsortedPolicy, format_timestamp};

/// So few chunks are looked through at once, without segments.
const SCANNED_AT_ONCE_CHUNKS: u64 = 12;

/// Which rows of the files are read, in which segments.
pub(super) struct SegmentPlan {
    /// Per file.
    pub ranges: Vec<Vec<RowRange>>,
    pub segments: Vec<Segment>,
    /// What was relied on, where it was.
    pub bounds: SegmentBounds,
    pub may_repeat: bool,
    pub runs: Option<DeltaRuns>,
}

impl SegmentPlan {
    /// By what the files say of their pages, without decoding any. `None` where they do not say
    /// enough, or where the rules are that any disorder ends the run, however late in the file.
    pub fn by_pages(files: &[SourceFile], rules: &SeriesRules) -> Result<Option<Self>> {
        if rules.unsorted == UnsortedPolicy::Error || rules.fails_on_duplicates() {
            return Ok(None);
        }
        let mut ranges = Vec::with_capacity(files.len());
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
                    of_file.push(range_of(row_group, &of_group, first..end));
                    pages.extend_from_slice(&of_group[first..end]);
                }
            }
            ranges.push(of_file);
        }
        let (segments, may_repeat) = segments(&pages);
        let short_enough = |segment: &Segment| segment.rows <= rules.segment_rows as u64;
        let rows: u64 = segments.iter().map(|segment| segment.rows).sum();
        let segments = if rows <= SCANNED_AT_ONCE_CHUNKS * rules.chunk_rows as u64 {
            as_one(&segments).into_iter().collect()
        } else if segments.first().is_none_or(short_enough) {
            first_and_rest(&segments)
        } else {
            return Ok(None);
        };
        Ok(Some(Self {
            ranges,
            segments,
            bounds: SegmentBounds::new(&pages),
            may_repeat,
            runs: None,
        }))
    }

    /// By a pass over all timestamps.
    pub fn by_scan(files: &[SourceFile], rules: &SeriesRules) -> Result<Self> {
        let mut scan = Scan::new(rules);
        let mut ranges = Vec::with_capacity(files.len());
        for file in files {
            ranges.push(scan.file(file)?);
        }
        let rows = ranges.iter().flatten().map(|range| range.rows as u64).sum();
        Ok(Self {
            ranges,
            segments: vec![Segment {
                rows,
                order: scan.order(),
            }],
            bounds: SegmentBounds::default(),
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
    pages: &[PageBounds],
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
        let range = range_of(row_group, pages, looked_at.clone());
        if range.rows == 0 {
            continue;
        }
        let mut reader = file.read(
            Projection::Timestamps,
            &[range],
            rules.chunk_rows.max(8_192),
        )?;
        let of_page = pages[looked_at]
            .iter()
            .flat_map(|page| std::iter::repeat_n(page, page.rows));
        let mut expected = of_page.enumerate();
        let before: usize = file.row_group_rows().take(row_group).sum();
        while let Some(raw) = reader.next_rows(file)? {
            for (&timestamp_ns, (row, page)) in raw.timestamps.iter().zip(&mut expected) {
                if !(page.min_ns..=page.max_ns).contains(&timestamp_ns) {
                    let row = (before + range.skip + row) as u64;
                    return Err(contradiction(timestamp_ns, page, rules)
                        .at_file(file.path())
                        .at_row(row));
                }
            }
        }
    }
    Ok(())
}

/// The rows of some pages of a row group.
fn range_of(row_group: usize, pages: &[PageBounds], part: Range<usize>) -> RowRange {
    let rows = |pages: &[PageBounds]| pages.iter().map(|page| page.rows).sum();
    RowRange {
        row_group,
        skip: rows(&pages[..part.start]),
        rows: rows(&pages[part]),
    }
}

/// The error for a timestamp outside the bounds that the file gives for it.
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
    .at_column(&rules.timestamp)
    .with_hint("the file is damaged, or its writer is; write it again")
}
