//! How names of files spell symbols and timeframes.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Serialize;

use super::Timeframe;
use crate::error::{Error, Result};

/// What writers of `key=value` folders leave as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What no name of a file contains.
const OUTSIDE: [char; 2] = ['/', '\0'];

/// How names of files spell symbols and timeframes that users write differently. The default spells
/// both as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Naming {
    /// The text that stands for the `/` of a symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol_separator: Option<String>,
    /// Rules, of which the first that fits counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rewrite: Vec<Rewrite>,
    /// Texts by timeframe.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    spell: BTreeMap<String, String>,
}

impl Naming {
    /// Sets the text that stands for the `/` of a symbol in names.
    ///
    /// # Errors
    ///
    /// A usage error if it cannot stand in a name.
    pub fn set_separator(&mut self, separator: &str) -> Result<()> {
        if separator.is_empty() || separator.contains(OUTSIDE) {
            return Err(
                Error::usage(format!("invalid separator of symbols {separator:?}"))
                    .with_hint("write a text such as _ or -, without a slash"),
            );
        }
        self.symbol_separator = Some(separator.to_owned());
        Ok(())
    }

    /// Adds a rule such as `{a}_{b} = {a}/{b}`: what a name spells, and the symbol that it means.
    ///
    /// # Errors
    ///
    /// A usage error for a rule of another form.
    pub fn add_rewrite(&mut self, rule: &str) -> Result<()> {
        self.rewrite.push(Rewrite::parse(rule)?);
        Ok(())
    }

    /// Sets how names spell a timeframe.
    ///
    /// # Errors
    ///
    /// A usage error for a text that cannot stand in a name, and for a timeframe or text that is
    /// set before.
    pub fn spell(&mut self, timeframe: &Timeframe, text: &str) -> Result<()> {
        let wrong = |what: String| Err(Error::usage(what).with_hint("write it as M1=1m,H1=1h"));
        if !is_name_part(text) {
            return wrong(format!(
                "invalid spelling {text:?} of the timeframe {timeframe}"
            ));
        }
        if let Some((other, _)) = self.spell.iter().find(|(_, known)| *known == text) {
            return wrong(format!(
                "the timeframes {other} and {timeframe} have the same spelling {text:?}"
            ));
        }
        if self.spell.contains_key(timeframe.as_str()) {
            return wrong(format!("the timeframe {timeframe} is spelled twice"));
        }
        self.spell
            .insert(timeframe.as_str().to_owned(), text.to_owned());
        Ok(())
    }

    /// Forgets how names spell timeframes.
    pub fn forget_timeframes(&mut self) {
        self.spell.clear();
    }

    /// Whether a symbol may contain `/`.
    pub fn spells_symbols(&self) -> bool {
        self.symbol_separator.is_some() || !self.rewrite.is_empty()
    }

    /// The text of a timeframe in names.
    pub fn timeframe<'a>(&'a self, timeframe: &'a str) -> &'a str {
        self.spell.get(timeframe).map_or(timeframe, String::as_str)
    }

    /// The symbol that a text in a name means.
    pub fn symbol(&self, text: &str) -> String {
        let rewritten = self.rewrite.iter().find_map(|rule| rule.symbol(text));
        rewritten.unwrap_or_else(|| match &self.symbol_separator {
            Some(separator) => text.replace(separator, "/"),
            None => text.to_owned(),
        })
    }

    /// The texts that mean a symbol in names, each once. Usually one; none if no text does.
    pub fn texts(&self, symbol: &str) -> Vec<String> {
        let plain = match &self.symbol_separator {
            Some(separator) => symbol.replace('/', separator),
            None => symbol.to_owned(),
        };
        let all = self.rewrite.iter().filter_map(|rule| rule.text(symbol));
        let mut texts: Vec<String> = Vec::new();
        for text in all.chain([plain]) {
            let is_new = !texts.contains(&text);
            if is_new && is_name_part(&text) && self.symbol(&text) == symbol {
                texts.push(text);
            }
        }
        texts
    }
}

/// Whether a text can stand in a name of a file. Dots alone would lead to another folder.
fn is_name_part(text: &str) -> bool {
    !text.is_empty() && !text.contains(OUTSIDE) && text != "." && text != ".."
}

/// Decodes the text of a symbol in a `key=value` folder. `None` for invalid UTF-8.
pub fn decoded(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// The usual text of a symbol in a `key=value` folder.
pub fn encoded(symbol: &str) -> String {
    utf8_percent_encode(symbol, PLAIN).to_string()
}

/// A rule that turns the text of a name into a symbol, and back.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rewrite {
    rule: String,
    text: Shape,
    symbol: Shape,
}

impl Serialize for Rewrite {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rule)
    }
}

impl Rewrite {
    fn parse(rule: &str) -> Result<Self> {
        let parsed = rule.split_once(" = ").and_then(|(text, symbol)| {
            let (text, symbol) = (Shape::parse(text.trim())?, Shape::parse(symbol.trim())?);
            let same = text.fields() == symbol.fields();
            let is_name = text.texts().all(|text| !text.contains(OUTSIDE));
            (same && is_name).then_some((text, symbol))
        });
        let Some((text, symbol)) = parsed else {
            return Err(Error::usage(format!("invalid rule for symbols {rule:?}")).with_hint(
                "write it as \"{a}_{b} = {a}/{b}\": both sides have the same fields, each once, with \
                 text between them",
            ));
        };
        Ok(Self {
            rule: rule.to_owned(),
            text,
            symbol,
        })
    }

    fn symbol(&self, text: &str) -> Option<String> {
        Some(self.symbol.filled(&self.text.fields_in(text)?))
    }

    fn text(&self, symbol: &str) -> Option<String> {
        Some(self.text.filled(&self.symbol.fields_in(symbol)?))
    }
}

/// Fields with literal texts around them: before the first, and after each.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shape {
    first: String,
    parts: Vec<(String, String)>,
}

impl Shape {
    fn parse(shape: &str) -> Option<Self> {
        let mut pieces = shape.split('{');
        let first = pieces.next()?.to_owned();
        let mut parts = Vec::new();
        for piece in pieces {
            let (name, text) = piece.split_once('}')?;
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
            is_name.then_some(())?;
            parts.push((name.to_owned(), text.to_owned()));
        }
        let is_whole = std::iter::once(&first)
            .chain(parts.iter().map(|(_, text)| text))
            .all(|text| !text.contains('}'));
        // Fields that touch cannot be told apart.
        let between = &parts[..parts.len().saturating_sub(1)];
        let are_apart = between.iter().all(|(_, text)| !text.is_empty());
        let shape = Self { first, parts };
        let is_each_once = shape.fields().len() == shape.parts.len();
        (is_whole && are_apart && is_each_once && !shape.parts.is_empty()).then_some(shape)
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let after = self.parts.iter().map(|(_, text)| text.as_str());
        std::iter::once(self.first.as_str()).chain(after)
    }

    fn fields(&self) -> std::collections::BTreeSet<&str> {
        self.parts.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The fields of a text of this shape. A field contains none of the texts between fields.
    fn fields_in<'a>(&'a self, text: &'a str) -> Option<BTreeMap<&'a str, &'a str>> {
        let mut rest = text.strip_prefix(self.first.as_str())?;
        let mut fields = BTreeMap::new();
        for (number, (name, after)) in self.parts.iter().enumerate() {
            let (value, behind) = if number + 1 < self.parts.len() {
                rest.split_once(after.as_str())?
            } else {
                (rest.strip_suffix(after.as_str())?, "")
            };
            let between = &self.parts[..self.parts.len() - 1];
            let is_plain = between
                .iter()
                .all(|(_, text)| !value.contains(text.as_str()));
            (is_plain && !value.is_empty()).then_some(())?;
            fields.insert(name.as_str(), value);
            rest = behind;
        }
        Some(fields)
    }

    fn filled(&self, fields: &BTreeMap<&str, &str>) -> String {
        let parts = self.parts.iter().map(|(name, text)| {
            let value = fields.get(name.as_str()).copied().unwrap_or_default();
            format!("{value}{text}")
        });
        self.first.clone() + &parts.collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naming(rules: &[&str], separator: Option<&str>) -> Naming {
        let mut naming = Naming::default();
        for rule in rules {
            naming.add_rewrite(rule).expect(rule);
        }
        if let Some(separator) = separator {
            naming.set_separator(separator).expect(separator);
        }
        naming
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = ["{a}_{b}_{c} = {a}/{b}:{c}", "{a}_{b} = {a}/{b}"];
        let naming = naming(&rules, None);
        for (text, symbol) in [
            ("BTC_USDT_USDT", "BTC/USDT:USDT"),
            ("BTC_USDT", "BTC/USDT"),
            ("AAPL", "AAPL"),
            ("A_B_C_D", "A_B_C_D"),
            ("_B", "_B"),
        ] {
            assert_eq!(naming.symbol(text), symbol);
            assert_eq!(naming.texts(symbol)[0], text);
        }
        assert!(naming.texts("A_B").is_empty(), "its name would mean A/B");
        assert!(naming.texts("A/B/C").is_empty(), "no rule spells it");
    }

    #[test]
    fn a_symbol_may_have_several_texts() {
        let rules = ["{a}-{b} = {a}/{b}", "{a}_{b} = {a}/{b}"];
        assert_eq!(naming(&rules, None).texts("A/B"), ["A-B", "A_B"]);
    }

    #[test]
    fn no_symbol_is_spelled_by_dots_alone() {
        for (naming, symbol) in [
            (naming(&["{a}. = {a}/"], None), "./"),
            (naming(&[], Some(".")), "//"),
        ] {
            assert!(!naming.texts(symbol).iter().any(|text| text == ".."));
        }
        assert!(naming(&["{a}. = {a}/"], None).texts("./").is_empty());
        assert!(Naming::default().texts("..").is_empty());
    }

    #[test]
    fn a_separator_stands_for_each_slash() {
        let naming = naming(&[], Some("_"));
        assert_eq!(naming.symbol("BTC_USDT"), "BTC/USDT");
        assert_eq!(naming.texts("BTC/USDT"), ["BTC_USDT"]);
        assert!(naming.texts("BTC_USDT").is_empty());
    }

    #[test]
    fn rules_that_do_not_tell_fields_apart_are_refused() {
        for rule in [
            "",
            "{a}_{b}",
            "{a}{b} = {a}/{b}",
            "{a}_{b} = {a}/{c}",
            "{a}_{a} = {a}/{a}",
            "{a}_{b} = {a}{b}",
            "a = b",
            "{a}/{b} = {a}_{b}",
            "{A} = {A}",
            "{a = {a}",
            "a} = {a}",
        ] {
            assert!(Naming::default().add_rewrite(rule).is_err(), "{rule}");
        }
        for separator in ["", "/", "\0"] {
            assert!(Naming::default().set_separator(separator).is_err());
        }
    }

    #[test]
    fn timeframes_are_spelled_once() {
        let mut naming = Naming::default();
        let timeframe = |text: &str| text.parse::<Timeframe>().expect(text);
        naming.spell(&timeframe("M1"), "1m").expect("a spelling");
        assert_eq!(naming.timeframe("M1"), "1m");
        assert_eq!(naming.timeframe("H1"), "H1");
        for (again, text) in [("M1", "x"), ("H1", "1m"), ("H1", ""), ("H1", "a/b")] {
            assert!(
                naming.spell(&timeframe(again), text).is_err(),
                "{again}={text}"
            );
        }
    }

    proptest! {
        /// What is spelled is read back, whatever the symbol.
        #[test]
        fn texts_mean_their_symbols(symbol in "[A-Z/:_.]{1,8}") {
            for naming in [
                naming(&["{a}_{b}_{c} = {a}/{b}:{c}", "{a}_{b} = {a}/{b}"], None),
                naming(&["{a}.{b} = {b}:{a}"], Some("_")),
                naming(&[], Some("--")),
            ] {
                for text in naming.texts(&symbol) {
                    prop_assert!(!text.contains('/'));
                    prop_assert_eq!(naming.symbol(&text), symbol.clone());
                }
            }
            prop_assert_eq!(decoded(&encoded(&symbol)), Some(symbol));
        }
    }
}
