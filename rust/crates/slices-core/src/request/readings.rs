//! Decides which symbol a file belongs to if a `*` leaves the end of the symbol open. Does no I/O.

/// One way to read a file name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The symbol.
    pub symbol: String,
    /// The text that the `*` after the symbol stands for; `None` without a `*` in the same name.
    pub rest: Option<String>,
}

/// Picks the reading that counts. The shortest symbol wins whose following text starts with a digit
/// and is not two dates. That text belongs to a dated future, two dates to a range of days.
/// Otherwise the shortest symbol wins. `None` without readings.
pub fn owner(readings: &[Reading]) -> Option<&Reading> {
    let is_dated = |reading: &&Reading| {
        let rest = reading.rest.as_deref().unwrap_or_default();
        rest.starts_with(|first: char| first.is_ascii_digit()) && !are_two_dates(rest)
    };
    let shortest = |reading: &&Reading| reading.symbol.len();
    let dated = readings.iter().filter(is_dated).min_by_key(shortest);
    dated.or_else(|| readings.iter().min_by_key(shortest))
}

/// Whether a text is one date, a separator, and another date.
fn are_two_dates(text: &str) -> bool {
    let separators = text.char_indices().filter(|(_, one)| is_separator(*one));
    separators
        .into_iter()
        .any(|(at, _)| is_date(&text[..at]) && is_date(&text[at + 1..]))
}

fn is_separator(one: char) -> bool {
    matches!(one, '-' | '_' | '.')
}

/// Whether a text is a date: a year, optionally with month and day, with or without separators, or
/// the six digits `YYMMDD`.
fn is_date(text: &str) -> bool {
    let parts: Vec<_> = text.split(is_separator).collect();
    let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !parts.iter().all(is_number) {
        return false;
    }
    let year = |text: &str| text.starts_with("19") || text.starts_with("20");
    let number = |text: &str, most: u32| {
        let value = text.parse().unwrap_or(0);
        text.len() == 2 && (1..=most).contains(&value)
    };
    let (month, day) = (|text: &str| number(text, 12), |text: &str| number(text, 31));
    match parts[..] {
        [only] => match only.len() {
            4 => year(only),
            6 => year(only) && month(&only[4..]) || month(&only[2..4]) && day(&only[4..]),
            8 => year(only) && month(&only[4..6]) && day(&only[6..]),
            _ => false,
        },
        [first, second] => first.len() == 4 && year(first) && month(second),
        [first, second, third] => first.len() == 4 && year(first) && month(second) && day(third),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner_of(readings: &[(&str, &str)]) -> String {
        let readings: Vec<_> = readings
            .iter()
            .map(|(symbol, rest)| Reading {
                symbol: (*symbol).to_owned(),
                rest: Some((*rest).to_owned()),
            })
            .collect();
        owner(&readings).expect("a reading").symbol.clone()
    }

    #[test]
    fn a_file_is_that_of_the_shortest_symbol_before_a_number() {
        assert_eq!(
            owner_of(&[("ES", "MICRO_2023"), ("ES_MICRO", "2023")]),
            "ES_MICRO"
        );
        assert_eq!(
            owner_of(&[("BTC", "230331_2023-01"), ("BTC_230331", "2023-01")]),
            "BTC_230331"
        );
        assert_eq!(
            owner_of(&[("BTCUSDT", "2024-01"), ("BTCUSDT-2024", "01")]),
            "BTCUSDT"
        );
        assert_eq!(owner_of(&[("A", "B_C"), ("A_B", "C")]), "A");
    }

    #[test]
    fn two_dates_are_a_contract_and_the_time_of_a_file() {
        for text in [
            "230331_2023-01",
            "20230331-2024",
            "2023-01_2023-02-01",
            "202301.202302",
            "2023-01-01_2023-02-01",
        ] {
            assert!(are_two_dates(text), "{text}");
        }
        for text in [
            "2024-01",
            "2024-01-02",
            "2024",
            "20240102",
            "1m",
            "01",
            "2024-13",
            "230331_x",
            "230331_2023-01_x",
            "230331__2023",
            "",
        ] {
            assert!(!are_two_dates(text), "{text}");
        }
    }
}
