//! Iterates over slices: one step per timestamp, over batches that it fetches as needed.

use crate::multi_symbol::{
    MultiSymbolSlice, MultiSymbolSliceRef, ReadOptions, SliceBatch, SliceBatches,
};
use slices_core::error::Result;
use slices_core::request::Request;

/// The slices of a request, one per timestamp, in time order.
///
/// As an [`Iterator`] it yields owned slices. [`Self::next_ref`] lends each slice instead and
/// allocates nothing per step. Both move the same position forward. After an error or the last
/// slice there is nothing more.
///
/// ```no_run
/// # mod omega_slices { pub use slices_core::{Error, request::*}; pub use slices_engine::multi_symbol::*; }
/// use omega_slices::{MultiSymbolDataIterator, PriceType, ReadOptions, Request};
///
/// let request = Request::builder("data/parquet").symbols(["EURUSD", "GBPUSD"]).build()?;
/// let mut slices = MultiSymbolDataIterator::open(&request, &ReadOptions::new())?;
/// while let Some(slice) = slices.next_ref()? {
///     let spread = slice.spread("EURUSD");
/// }
/// # Ok::<(), omega_slices::Error>(())
/// ```
pub struct MultiSymbolDataIterator {
    batches: SliceBatches,
    batch: Option<SliceBatch>,
    next_slice: usize,
}

impl MultiSymbolDataIterator {
    /// Opens every series of the request; see [`SliceBatches::open`].
    ///
    /// # Errors
    ///
    /// As [`SliceBatches::open`].
    pub fn open(request: &Request, options: &ReadOptions) -> Result<Self> {
        SliceBatches::open(request, options).map(Self::from)
    }

    /// The underlying batches, with symbols, schema, report and warnings.
    #[must_use]
    pub fn batches(&self) -> &SliceBatches {
        &self.batches
    }

    /// The next slice, lent until the next step. `None` after the last one.
    ///
    /// # Errors
    ///
    /// Any error of the input; see [`slices_core::Code`].
    pub fn next_ref(&mut self) -> Result<Option<MultiSymbolSliceRef<'_>>> {
        if self
            .batch
            .as_ref()
            .is_none_or(|batch| self.next_slice == batch.len())
        {
            // Drop the old batch first, so that only one is in memory.
            self.batch = None;
            self.batch = self.batches.next().transpose()?;
            self.next_slice = 0;
        }
        let slice = self
            .batch
            .as_ref()
            .and_then(|batch| batch.get(self.next_slice));
        self.next_slice += usize::from(slice.is_some());
        Ok(slice)
    }
}

impl From<SliceBatches> for MultiSymbolDataIterator {
    fn from(batches: SliceBatches) -> Self {
        Self {
            batches,
            batch: None,
            next_slice: 0,
        }
    }
}

impl Iterator for MultiSymbolDataIterator {
    type Item = Result<MultiSymbolSlice>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_ref()
            .map(|slice| slice.map(|slice| slice.to_owned()))
            .transpose()
    }
}

impl std::iter::FusedIterator for MultiSymbolDataIterator {}
