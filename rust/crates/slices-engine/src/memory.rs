//! Accounts for the memory of a run, so that it stays within a budget.
//!
//! The budget covers the whole process. Every part states what it takes before it takes it. So the
//! result depends on request and inputs alone, never on what happens to be resident.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytesize::ByteSize;
use slices_core::error::{Error, Result};
use slices_core::hint::{Setting, hint};

/// A budget of memory in bytes, and how much of it is taken.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: u64,
    /// What a run may take that cannot do with less.
    most: u64,
    taken: AtomicU64,
}

impl MemoryBudget {
    /// A budget that is never exceeded.
    pub fn new(limit: u64) -> Arc<Self> {
        Self::up_to(limit, limit)
    }

    /// Half of the machine's memory. A run that cannot do with less may take all of it.
    pub fn of_machine() -> Arc<Self> {
        let machine = machine_bytes().unwrap_or(u64::MAX);
        Self::up_to(machine / 2, machine)
    }

    fn up_to(limit: u64, most: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            most,
            taken: AtomicU64::new(0),
        })
    }

    /// The budget in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Number of bytes that nothing has taken.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.taken())
    }

    /// Number of bytes that are taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Number of bytes left of all that a run may take that cannot do with less.
    pub fn left_at_most(&self) -> u64 {
        self.most.saturating_sub(self.taken())
    }

    /// Takes bytes for as long as the reservation lives.
    ///
    /// # Errors
    ///
    /// A system error that says what would be needed, if fewer are left.
    pub fn reserve(self: &Arc<Self>, bytes: u64, what: impl fmt::Display) -> Result<Reservation> {
        let add = |taken: u64| {
            let taken = taken.saturating_add(bytes);
            (taken <= self.most).then_some(taken)
        };
        let before = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        match before {
            Ok(_) => Ok(Reservation {
                budget: self.clone(),
                bytes,
            }),
            Err(taken) => {
                let needed = size_up(taken.saturating_add(bytes));
                Err(self.refusal(what, format_args!("at least {needed} are needed")))
            }
        }
    }

    /// The error for a run for which `enough` bytes are enough.
    pub fn too_small(&self, enough: u64, what: impl fmt::Display) -> Error {
        self.refusal(what, format_args!("{} are enough", size_up(enough)))
    }

    fn refusal(&self, what: impl fmt::Display, needed: fmt::Arguments<'_>) -> Error {
        let limit = ByteSize(self.most).display().si();
        let message = format!("the memory of {limit} is too small for {what}: {needed}");
        Error::system(message).with_hint(hint![
            "allow more with ",
            Setting::Memory,
            ", or request fewer symbols, price types or fields"
        ])
    }
}

/// Memory that a part of the run takes.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A number of bytes, rounded up to whole megabytes.
pub fn whole_megabytes(bytes: u64) -> u64 {
    const MEGABYTE: u64 = 1_000_000;
    bytes.div_ceil(MEGABYTE).saturating_mul(MEGABYTE)
}

/// A number of bytes for people, rounded up so that it is enough.
pub fn size_up(bytes: u64) -> impl fmt::Display {
    ByteSize(whole_megabytes(bytes)).display().si()
}

/// The memory of the machine, or of its control group if that may use less. `None` if the system
/// does not say.
fn machine_bytes() -> Option<u64> {
    machine_bytes_below(Path::new("/"))
}

fn machine_bytes_below(root: &Path) -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(root.join(path)).ok();
    let number = |text: String| text.trim().parse::<u64>().ok();
    let total = read(Path::new("proc/meminfo")).and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kibibytes.checked_mul(1_024)
    });
    let groups = read(Path::new("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let (mount, file) = if controllers.is_empty() {
            ("sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|one| one == "memory") {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            return Vec::new();
        };
        // Each group around it may have a limit too. In a container, a group's name may be that of
        // the host; then the root of the mount is the container's own group.
        let groups = Path::new(group.trim_start_matches('/')).ancestors();
        groups
            .filter_map(|group| number(read(&Path::new(mount).join(group).join(file))?))
            .collect()
    });
    limits.chain(total).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_left_again_when_it_is_dropped() {
        let budget = MemoryBudget::new(1_000_000_000);
        let first = budget.reserve(600_000_000, "one").expect("enough");
        let refused = budget.reserve(600_000_001, "two").expect_err("too much");
        assert_eq!(
            refused.to_string(),
            "the memory of 1.0 GB is too small for two: at least 1.2 GB are needed"
        );
        drop(first);
        assert_eq!(budget.left(), 1_000_000_000);
        assert!(budget.reserve(1_000_000_000, "two").is_ok());
    }

    #[test]
    fn without_a_choice_a_run_may_take_more_than_half() {
        let budget = MemoryBudget::up_to(500, 1_000);
        let held = budget.reserve(700, "one").expect("less than all");
        assert_eq!((budget.left(), budget.left_at_most()), (0, 300));
        assert!(budget.reserve(301, "two").is_err());
        drop(held);
        assert_eq!(budget.left(), 500);
    }

    #[test]
    fn the_smallest_limit_counts() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            std::fs::write(path, text).expect("room for a line");
        };
        let machine = || machine_bytes_below(root.path());
        assert_eq!(machine(), None);
        write("proc/meminfo", "MemTotal:       2000 kB\nMemFree:  1 kB\n");
        assert_eq!(machine(), Some(2_048_000));
        write("proc/self/cgroup", "4:cpu,memory:/a/b\n0::/c/d\n");
        write("sys/fs/cgroup/c/d/memory.max", "max\n");
        assert_eq!(machine(), Some(2_048_000));
        write("sys/fs/cgroup/c/memory.max", "1000000\n");
        assert_eq!(machine(), Some(1_000_000));
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "900000\n");
        assert_eq!(machine(), Some(900_000));
    }
}
