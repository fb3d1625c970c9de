//! Defines the words and rules of synchronised candles: requests, symbols, time, alignment, errors
//! and hints, and the schema of the stream.
//!
//! Imports no other crate of the project. Opens no file, starts no thread, builds no Arrow array.

pub mod alignment;
pub mod candle;
pub mod error;
pub mod hint;
pub mod metadata;
pub mod panic_guard;
pub mod price_type;
pub mod report;
pub mod request;
pub mod session;
pub mod text;
pub mod units;

pub use error::{Code, Error, ErrorKind, Location, Result};
