//! Formats the coverage report as text: first why slices are missing, then tables.

use console::measure_text_width;
use omega_slices::{Coverage, Gap, PriceType, SeriesCoverage, SymbolCoverage, short_timestamp};

use crate::cli::messages::printable;

/// Maximum number of symbols to name in the first lines.
const NAMED: usize = 5;

/// The title of the only text column, which comes last.
const LONGEST_GAP: &str = "longest gap";

/// Formats the whole report, with control characters in names escaped.
pub fn report(coverage: &Coverage) -> String {
    let mut text = answer(coverage);
    text.push_str(&table(
        &[
            "series",
            "has",
            "misses",
            "share",
            "alone",
            "gaps",
            "bars",
            LONGEST_GAP,
        ],
        coverage.series.iter().map(timestamps_of),
    ));
    text.push_str(&table(
        &[
            "series",
            "files",
            "rows",
            "outside window",
            "outside session",
            "duplicates",
            "conflicting",
            "candles",
            "first candle",
            "last candle",
        ],
        coverage.series.iter().map(rows_of),
    ));
    text.push_str(&faults(coverage));
    text
}

/// Explains in sentences why slices are missing.
pub fn answer(coverage: &Coverage) -> String {
    let union = coverage.union_timestamps;
    let both = coverage.intersection_timestamps;
    let series = grouped(coverage.series.len() as u64);
    let (Some(first_ns), Some(last_ns)) = (coverage.first_timestamp_ns, coverage.last_timestamp_ns)
    else {
        return format!(
            "There is no timestamp: none of the {series} series has a candle within window and session.\n"
        );
    };
    let span = format!(
        "from {} to {}",
        short_timestamp(first_ns),
        short_timestamp(last_ns)
    );
    if both == union {
        return format!(
            "All {} timestamps {span} are in the intersection: each of the {series} series has a candle at \
             every one.\n",
            grouped(union)
        );
    }
    let lost = union - both;
    let mut text = format!(
        "{} of {} timestamps ({}) {span} are in the intersection; {} are lost, since not every one of the \
         {series} series has a candle there.\n",
        grouped(both),
        grouped(union),
        percent(both, union),
        grouped(lost)
    );
    let alone = || coverage.symbols.iter().filter(|one| one.alone > 0);
    let costs: Vec<_> = alone()
        .take(NAMED)
        .map(|one| {
            format!(
                "{} {}{}",
                printable(&one.symbol),
                grouped(one.alone),
                sides(coverage, one)
            )
        })
        .collect();
    if !costs.is_empty() {
        text.push_str(&format!("Missing in one symbol only: {}", costs.join(", ")));
        let others = alone().skip(NAMED);
        let (count, sum) = others.fold((0, 0), |(count, sum), one| (count + 1, sum + one.alone));
        if count > 0 {
            text.push_str(&format!(", {count} others {} together", grouped(sum)));
        }
        text.push_str(".\n");
    }
    let together = lost - coverage.symbols.iter().map(|one| one.alone).sum::<u64>();
    if together > 0 {
        let incomplete = |one: &SymbolCoverage| one.one_sided + one.missing;
        let mut worst: Vec<_> = coverage
            .symbols
            .iter()
            .filter(|one| incomplete(one) > one.alone)
            .collect();
        worst.sort_by_key(|one| std::cmp::Reverse(incomplete(one) - one.alone));
        let worst: Vec<_> = worst
            .into_iter()
            .take(NAMED)
            .map(|one| {
                let shared = incomplete(one) - one.alone;
                format!("{} at {}", printable(&one.symbol), grouped(shared))
            })
            .collect();
        text.push_str(&format!(
            "At {} timestamps, two or more symbols lack a candle, most often: {}.\n",
            grouped(together),
            worst.join(", ")
        ));
    }
    text
}

/// For the timestamps that a symbol alone costs: how many each of its price types costs.
fn sides(coverage: &Coverage, symbol: &SymbolCoverage) -> String {
    if coverage.price_types.len() == 1 {
        return String::new();
    }
    let series = coverage.series.iter();
    let mut own: Vec<_> = series
        .filter(|one| one.report.symbol == symbol.symbol && one.alone > 0)
        .map(|one| (one.report.price_type, one.alone))
        .collect();
    own.sort_unstable();
    let together = symbol.alone - own.iter().map(|(_, alone)| alone).sum::<u64>();
    let mut parts: Vec<_> = own
        .into_iter()
        .map(|(price_type, alone)| {
            format!(
                "{} {}",
                price_type.map_or("", PriceType::as_str),
                grouped(alone)
            )
        })
        .collect();
    if together > 0 {
        let several = if coverage.price_types.len() == 2 {
            "both"
        } else {
            "several"
        };
        parts.push(format!("{several} {}", grouped(together)));
    }
    format!(" ({})", parts.join(", "))
}

fn name(series: &SeriesCoverage) -> String {
    let report = &series.report;
    let price_type = report.price_type.map_or("", PriceType::as_str);
    format!("{} {price_type}", printable(&report.symbol))
}

fn timestamps_of(series: &SeriesCoverage) -> Vec<String> {
    let candles = series.report.candles;
    let longest = |gap: Gap| {
        let (before, after) = (
            short_timestamp(gap.last_before_ns),
            short_timestamp(gap.first_after_ns),
        );
        format!("{} between {before} and {after}", grouped(gap.bars))
    };
    vec![
        name(series),
        grouped(candles),
        grouped(series.misses),
        percent(candles, candles + series.misses),
        grouped(series.alone),
        grouped(series.gaps.count),
        grouped(series.gaps.bars),
        series.gaps.longest.map_or("-".to_owned(), longest),
    ]
}

fn rows_of(series: &SeriesCoverage) -> Vec<String> {
    let report = &series.report;
    let moment = |at: Option<i64>| at.map_or("-".to_owned(), short_timestamp);
    vec![
        name(series),
        grouped(report.files as u64),
        grouped(report.rows),
        grouped(report.outside_window()),
        grouped(report.outside_session),
        grouped(report.duplicates),
        grouped(report.conflicting_duplicates),
        grouped(report.candles),
        moment(report.first_timestamp_ns),
        moment(report.last_timestamp_ns),
    ]
}

/// Lists candles that contradict themselves or each other.
fn faults(coverage: &Coverage) -> String {
    let faulty = || {
        coverage
            .series
            .iter()
            .filter(|one| !one.inconsistent.is_empty())
    };
    let crossed = || coverage.symbols.iter().filter(|one| one.crossed > 0);
    let mut text = String::new();
    if faulty().next().is_some() {
        text.push_str(&table(
            &[
                "inconsistent",
                "high < low",
                "open or close outside",
                "volume < 0",
                "not finite",
            ],
            faulty().map(|one| {
                let counts = &one.inconsistent;
                let counts = [
                    counts.high_below_low,
                    counts.outside_range,
                    counts.negative_volume,
                    counts.not_finite,
                ];
                [name(one)].into_iter().chain(counts.map(grouped)).collect()
            }),
        ));
    }
    if crossed().next().is_some() {
        text.push_str(&table(
            &["crossed", "bid closes above ask"],
            crossed().map(|one| vec![printable(&one.symbol), grouped(one.crossed)]),
        ));
    }
    if text.is_empty() {
        text.push_str("\nNo candle contradicts itself, and no bid closes above its ask.\n");
    }
    text
}

/// A blank line and a table: text is left-aligned, numbers are right-aligned.
fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let titles = header.iter().map(|&title| title.to_owned()).collect();
    let lines: Vec<Vec<String>> = [titles].into_iter().chain(rows).collect();
    let widths: Vec<_> = (0..lines[0].len())
        .map(|column| {
            lines
                .iter()
                .map(|line| measure_text_width(&line[column]))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in &lines {
        text.push('\n');
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let blanks = " ".repeat(width - measure_text_width(cell));
            match column {
                0 => text.push_str(&format!("{cell}{blanks}")),
                _ if header[column] == LONGEST_GAP => text.push_str(&format!("  {cell}")),
                _ => text.push_str(&format!("  {blanks}{cell}")),
            }
        }
    }
    text.push('\n');
    text
}

/// A share in per cent, rounded down: only all is 100 %.
pub fn percent(part: u64, all: u64) -> String {
    let hundredths = (u128::from(part) * 10_000).checked_div(u128::from(all));
    hundredths.map_or("-".to_owned(), |hundredths| {
        format!("{}.{:02} %", hundredths / 100, hundredths % 100)
    })
}

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_thousands_and_shares_never_rounded_up() {
        let all = [0, 12, 123, 1_234, 12_345_678, u64::MAX].map(grouped);
        assert_eq!(
            all,
            [
                "0",
                "12",
                "123",
                "1,234",
                "12,345,678",
                "18,446,744,073,709,551,615"
            ]
        );
        assert_eq!(percent(99_999, 100_000), "99.99 %");
        assert_eq!(percent(u64::MAX, u64::MAX), "100.00 %");
        assert_eq!(percent(1, 16), "6.25 %");
        assert_eq!(percent(0, 0), "-");
    }

    #[test]
    fn columns_line_up_whatever_the_width_of_a_name() {
        let rows = [
            vec!["a".to_owned(), "1,000".to_owned()],
            vec!["日本".to_owned(), "2".to_owned()],
        ];
        assert_eq!(
            table(&["x", "n"], rows.into_iter()),
            "\nx         n\na     1,000\n日本      2\n"
        );
    }

    #[test]
    fn fractions_of_a_second_are_shown_where_there_are_some() {
        assert_eq!(short_timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(short_timestamp(1), "1970-01-01T00:00:00.000000001Z");
    }
}
