//! Says which bytes of a file hold which rows. So those of an object are fetched before they are
//! read, in few requests, and pages outside the window are not fetched at all.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use parquet::basic::Type as PhysicalType;
use parquet::file::page_index::index_reader::decode_offset_index;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::Length;

use super::file::PositionedFile;
use super::limits::chunk_bytes;
use super::page_index::{Pages, index_bytes, read_index};
use super::parquet_file::{ParquetFile, RowRange};
use slices_core::error::Result;
use slices_store::Step;

/// Row groups are fetched together until they take this much.
const STEP_BYTES: u64 = 4 << 20;

impl ParquetFile {
    /// Announces the rows that will be read, in this order, if the file is an object.
    ///
    /// # Errors
    ///
    /// A system error if the temporary file cannot hold more.
    pub fn announce(&self, ranges: &[RowRange]) -> Result<()> {
        self.announce_rows(ranges, true)
    }

    fn announce_rows(&self, ranges: &[RowRange], all: bool) -> Result<()> {
        if !self.is_stored() {
            return Ok(());
        }
        let file = self.opened()?;
        let step = |range: &RowRange| {
            let values = self.values.iter();
            let bytes = |leaf| self.bytes_of(&file, leaf, *range);
            Step {
                once: values.flat_map(|column| bytes(column.leaf)).collect(),
                shared: bytes(self.timestamp.leaf),
            }
        };
        let mut steps: Vec<Step> = Vec::new();
        for step in ranges.iter().map(step) {
            // Small row groups are fetched together.
            match steps.last_mut().filter(|last| last.bytes() < STEP_BYTES) {
                Some(last) => last.add(step),
                None => steps.push(step),
            }
        }
        file.plan(steps, all)
    }

    /// The bytes of a column that hold some rows of a row group.
    pub(super) fn bytes_of(
        &self,
        file: &PositionedFile,
        leaf: usize,
        range: RowRange,
    ) -> Vec<Range<u64>> {
        let group = self.metadata.metadata().row_group(range.row_group);
        let Ok((start, end)) = chunk_bytes(group.column(leaf)) else {
            // Whoever reads it fails.
            return Vec::new();
        };
        let end = end.min(file.len());
        let Some(pages) = self.pages_of(file, leaf, range) else {
            return std::iter::once(start..end).collect();
        };
        let begins = |page: &PageLocation| page.first_row_index as usize;
        let last_row = range.skip + range.rows;
        let first = pages.partition_point(|page| begins(page) <= range.skip);
        let after = pages.partition_point(|page| begins(page) < last_row);
        let from = pages[first.saturating_sub(1)].offset as u64;
        let to = pages.get(after).map_or(end, |page| page.offset as u64);
        // A dictionary comes before the first page.
        vec![start..pages[0].offset as u64, from..to]
    }

    /// The pages of a column chunk, if only some of them are to be fetched, and can be.
    pub(super) fn pages_of(&self, file: &PositionedFile, leaf: usize, range: RowRange) -> Pages {
        let group = self.metadata.metadata().row_group(range.row_group);
        let rows = group.num_rows() as usize;
        let is_read_by_pages = match self.physical_type(leaf) {
            PhysicalType::INT64 => leaf == self.timestamp.leaf,
            PhysicalType::DOUBLE => leaf != self.timestamp.leaf,
            _ => false,
        };
        if !file.is_stored() || range.rows >= rows || !is_read_by_pages {
            return None;
        }
        let key = (range.row_group, leaf);
        let mut known = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = known.entry(key).or_insert_with(|| {
            let chunk = group.column(leaf);
            let place = index_bytes(chunk.offset_index_offset(), chunk.offset_index_length())?;
            // A damaged index does not fail the run: the whole chunk is read then.
            let index = file.guarded(|| decode_offset_index(&read_index(file, place)?));
            let pages: Arc<[_]> = index.ok()?.page_locations().as_slice().into();
            let (start, end) = chunk_bytes(chunk).ok()?;
            are_sound(&pages, rows, start..end).then_some(pages)
        });
        pages.clone()
    }

    /// Announces the row groups within reach, before it is known which of their rows are read.
    /// Leaves out those of which only some pages may be needed.
    pub(super) fn announce_groups(&self, may_be_read: impl Fn(usize) -> bool) -> Result<()> {
        if !self.is_stored() {
            return Ok(());
        }
        let groups = self.all_rows().into_iter();
        let wanted = groups.filter(|group| group.rows > 0 && may_be_read(group.row_group));
        self.announce_rows(&wanted.collect::<Vec<_>>(), false)
    }

    /// Whether a page index says where the rows of a row group are.
    pub(super) fn has_page_index(&self, row_group: usize) -> bool {
        let group = self.metadata.metadata().row_group(row_group);
        let chunk = group.column(self.timestamp.leaf);
        chunk.offset_index_offset().is_some() && chunk.column_index_offset().is_some()
    }
}

/// Whether the pages follow each other, in a chunk of `rows` rows.
fn are_sound(pages: &[PageLocation], rows: usize, chunk: Range<u64>) -> bool {
    let bytes = |page: &PageLocation| {
        let start = u64::try_from(page.offset).ok()?;
        Some(start..start.checked_add(u64::try_from(page.compressed_page_size).ok()?)?)
    };
    let mut before = (chunk.start, -1);
    let follow = pages.iter().all(|page| {
        let Some(range) = bytes(page) else {
            return false;
        };
        let is_next = (range.start == before.0 || before.1 < 0 && range.start >= before.0)
            && page.first_row_index > before.1;
        before = (range.end, page.first_row_index);
        is_next
    });
    follow
        && before.0 == chunk.end
        && pages
            .first()
            .is_some_and(|first| first.first_row_index == 0)
        && usize::try_from(before.1).is_ok_and(|last| last < rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(offset: i64, compressed_page_size: i32, first_row_index: i64) -> PageLocation {
        PageLocation {
            offset,
            compressed_page_size,
            first_row_index,
        }
    }

    #[test]
    fn an_index_that_contradicts_itself_is_not_used() {
        let good = [page(10, 5, 0), page(15, 5, 3), page(20, 10, 7)];
        assert!(are_sound(&good, 8, 4..30));
        assert!(!are_sound(&[], 8, 4..30));
        assert!(!are_sound(&good, 7, 4..30), "more rows than there are");
        assert!(!are_sound(&good, 8, 11..30), "before the chunk");
        assert!(!are_sound(&good, 8, 4..29), "behind the chunk");
        assert!(!are_sound(&good, 8, 4..31), "a page is left out");
        for (at, other) in [
            (0, page(10, 5, 1)),
            (1, page(14, 5, 3)),
            (1, page(16, 4, 3)),
            (1, page(15, 6, 3)),
            (1, page(15, 5, 0)),
            (2, page(20, -1, 7)),
            (2, page(-20, 10, 7)),
        ] {
            let mut pages = good.clone();
            pages[at] = other;
            assert!(!are_sound(&pages, 8, 4..30), "{at}");
        }
    }
}
