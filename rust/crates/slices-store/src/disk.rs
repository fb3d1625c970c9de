//! Says how much of a disk temporary files may take.

use std::fs::File;

use rustix::fs::fstatvfs;

/// The share of the free disk that a temporary file may take by default: nine tenths.
const FREE_TENTHS: u64 = 9;

/// The free space of a file system.
#[derive(Debug, Clone, Copy)]
pub struct FreeDisk {
    /// Number of free bytes. The largest number if the file system does not say.
    pub bytes: u64,
}

impl FreeDisk {
    /// The free space where a file lies.
    #[must_use]
    pub fn below(file: &File) -> Self {
        // Some file systems do not say how large they are.
        let disk = fstatvfs(file).ok().filter(|disk| disk.f_blocks > 0);
        let bytes = disk.map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        Self { bytes }
    }

    /// Number of bytes that a temporary file may take by default.
    #[must_use]
    pub fn usable(self) -> u64 {
        self.bytes / 10 * FREE_TENTHS
    }
}
