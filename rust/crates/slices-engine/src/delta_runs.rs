//! Stores timestamps as runs of equal steps, in a few bytes per gap. A second pass over a column
//! reads them from here instead of decoding again.

use slices_core::units::greatest_common_divisor;

/// Maximum number of runs; bounds the memory of a series.
const MAX_RUNS: usize = 8_192;

/// `count` timestamps, each `step_ns` after the previous one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start_ns: i64,
    step_ns: i64,
    count: usize,
}

impl Run {
    fn at(&self, index: usize) -> i64 {
        // Wrapping undoes the wrapping difference, so the sum is exact.
        self.start_ns
            .wrapping_add(self.step_ns.wrapping_mul(index as i64))
    }
}

/// A sequence of timestamps, read once from its start.
#[derive(Debug, Default)]
pub struct DeltaRuns {
    runs: Vec<Run>,
    /// The read position: a run, and the number of its timestamps already read.
    next_run: usize,
    read_of_run: usize,
}

impl DeltaRuns {
    /// Appends timestamps. `false` if they are too irregular; the whole sequence is then invalid.
    #[must_use]
    pub fn extend(&mut self, timestamps: &[i64]) -> bool {
        let mut rest = timestamps;
        while let Some((&first, _)) = rest.split_first() {
            let taken = match self.runs.last_mut() {
                Some(run) if run.count == 1 => {
                    run.step_ns = first.wrapping_sub(run.start_ns);
                    steps_taken(run, rest)
                }
                Some(run) => steps_taken(run, rest),
                None => 0,
            };
            rest = &rest[taken..];
            if taken == 0 {
                if self.runs.len() == MAX_RUNS {
                    return false;
                }
                self.runs.push(Run {
                    start_ns: first,
                    step_ns: 0,
                    count: 1,
                });
                rest = &rest[1..];
            }
        }
        true
    }

    /// Number of runs.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Number of bytes that the runs take.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.runs[..])
    }

    /// All timestamps.
    pub fn timestamps(&self) -> impl Iterator<Item = i64> + '_ {
        let of_run = |run: &Run| {
            let run = *run;
            (0..run.count).map(move |index| run.at(index))
        };
        self.runs.iter().flat_map(of_run)
    }

    /// The first and last timestamp, and the greatest step that leads to all; `None` if they do not
    /// strictly increase.
    pub fn grid(&self) -> Option<(i64, i64, i64)> {
        let (first, last) = (self.runs.first()?, self.runs.last()?);
        let last_ns = last.at(last.count - 1);
        let mut step_ns = 0;
        let mut previous_ns = None;
        for run in &self.runs {
            let gap_ns = match previous_ns {
                None => 0,
                Some(previous_ns) => run
                    .start_ns
                    .checked_sub(previous_ns)
                    .filter(|&gap| gap > 0)?,
            };
            let inside_ns = if run.count > 1 { run.step_ns } else { 0 };
            if run.count > 1 && inside_ns <= 0 {
                return None;
            }
            for part_ns in [gap_ns, inside_ns] {
                if part_ns != 0 && (step_ns == 0 || part_ns % step_ns != 0) {
                    step_ns = greatest_common_divisor(part_ns, step_ns);
                }
            }
            previous_ns = Some(run.at(run.count - 1));
        }
        (step_ns > 0).then_some((first.start_ns, last_ns, step_ns))
    }

    /// The next `count` timestamps; fewer at the end.
    pub fn read(&mut self, count: usize) -> Vec<i64> {
        let mut timestamps = Vec::with_capacity(count);
        while let Some(run) = self.runs.get(self.next_run)
            && timestamps.len() < count
        {
            let end = run.count.min(self.read_of_run + count - timestamps.len());
            timestamps.extend((self.read_of_run..end).map(|index| run.at(index)));
            self.read_of_run = end;
            if end == run.count {
                self.next_run += 1;
                self.read_of_run = 0;
            }
        }
        timestamps
    }
}

/// Extends a run by the leading `timestamps` that follow its step.
fn steps_taken(run: &mut Run, timestamps: &[i64]) -> usize {
    let taken = timestamps
        .iter()
        .zip(run.count..)
        .take_while(|&(&timestamp, index)| timestamp == run.at(index))
        .count();
    run.count += taken;
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_is_what_was_appended(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<i64>(), 0..5),
                    (any::<i64>(), -3..100_i64, 0..50_i64).prop_map(|(start, step, count)| {
                        (0..count).map(|index| start.wrapping_add(step.wrapping_mul(index))).collect()
                    }),
                ],
                0..20,
            ),
            reads in prop::collection::vec(0..40_usize, 0..100),
        ) {
            let mut runs = DeltaRuns::default();
            for part in &parts {
                prop_assert!(runs.extend(part));
            }
            let all: Vec<i64> = parts.concat();
            let mut read = Vec::new();
            for count in reads {
                let part = runs.read(count);
                prop_assert_eq!(part.len(), count.min(all.len() - read.len()));
                read.extend(part);
            }
            read.extend(runs.read(all.len() + 1));
            prop_assert_eq!(read, all);
        }
    }

    #[test]
    fn minutes_with_gaps_take_one_run_a_gap() {
        let minutes: Vec<i64> = (0..10_000).filter(|minute| minute % 1_000 != 500).collect();
        let mut runs = DeltaRuns::default();
        assert!(runs.extend(&minutes));
        assert_eq!(runs.runs.len(), 11);
    }

    #[test]
    fn irregular_timestamps_are_given_up() {
        let squares: Vec<i64> = (0..20_000).map(|number| number * number).collect();
        assert!(!DeltaRuns::default().extend(&squares));
    }
}
