//! Writes lists and instants for people.

use crate::request::format_timestamp;

/// The first `shown` names, and the number of the others: `A, B and 3 more`.
#[must_use]
pub fn listed(names: impl IntoIterator<Item = String>, shown: usize) -> String {
    let mut names = names.into_iter();
    let mut text = names.by_ref().take(shown).collect::<Vec<_>>().join(", ");
    let more = names.count();
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// An instant, without the fraction of the second if that is zero.
#[must_use]
pub fn short_timestamp(timestamp_ns: i64) -> String {
    format_timestamp(timestamp_ns).replace(".000000000Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_counts_what_it_leaves_out() {
        let names = || ["A", "B", "C"].map(str::to_owned);
        assert_eq!(listed(names(), 3), "A, B, C");
        assert_eq!(listed(names(), 1), "A and 2 more");
        assert_eq!(listed([], 1), "");
    }

    #[test]
    fn whole_seconds_have_no_fraction() {
        assert_eq!(short_timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(short_timestamp(1), "1970-01-01T00:00:00.000000001Z");
    }
}
