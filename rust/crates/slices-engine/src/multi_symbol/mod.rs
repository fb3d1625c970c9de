//! Iterates over slices of many symbols, by batch or by slice.
//!
//! * [`SliceBatches`] yields [`SliceBatch`]es: whole slices in Arrow columns.
//! * [`SliceBatch::slices`] lends [`MultiSymbolSliceRef`]s: nothing is allocated per step.
//! * [`MultiSymbolDataIterator`] yields owned [`MultiSymbolSlice`]s, one per timestamp.

mod batches;
mod column_sources;
mod columns;
mod inputs;
mod iterator;
mod options;
mod slice;
mod warnings;

pub use batches::{Progress, SliceBatches};
pub use inputs::Inputs;
pub use inputs::input_files;
pub use iterator::MultiSymbolDataIterator;
pub use options::ReadOptions;
pub use slice::{
    HigherTimeframeCandles, MultiSymbolSlice, MultiSymbolSliceRef, SliceBatch, SymbolSnapshot,
};
