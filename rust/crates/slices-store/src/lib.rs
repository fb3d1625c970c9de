//! Reads and writes objects in buckets and on web servers as if they were local files.
//!
//! An object is read in few large ranges, many at a time. They go into one temporary file of the
//! run, so a run takes the memory that it takes for local files. All ranges are of one version of
//! the object. An upload appears only when it is complete.
//!
//! May import `slices-core`. The only crate that names the library of object stores and its
//! asynchronous runtime. Errors and debug output never contain credentials.

mod disk;
mod fault;
mod list;
mod object;
mod options;
mod ranges;
mod spool;
mod storage;
mod stores;
mod traffic;
mod upload;
mod uri;

pub use self::disk::FreeDisk;
pub use self::list::ListedObject;
pub use self::object::{Readable, Step, StoredObject};
pub use self::options::StorageOptions;
pub use self::storage::Storage;
pub use self::stores::StorageSettings;
pub use self::traffic::Traffic;
pub use self::upload::{Upload, abort_uploads};
