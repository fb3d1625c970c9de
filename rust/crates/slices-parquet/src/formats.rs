//! Recognises other file formats by their first bytes.

/// The name of an encrypted Parquet file, which cannot be read without its keys.
pub(super) const ENCRYPTED: &str = "an encrypted Parquet file";

/// The first bytes of known formats, and their names.
const FORMATS: [(&[u8], &str); 17] = [
    (b"ARROW1", "an Arrow (Feather) file"),
    (b"FEA1", "an Arrow (Feather) file"),
    (b"\xff\xff\xff\xff", "an Arrow stream"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a zip file"),
    (b"PK\x05\x06", "a zip file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"SQLite format 3\0", "a SQLite database"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"\x04\x22\x4d\x18", "an LZ4 file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"PARE", ENCRYPTED),
];

/// Number of bytes needed to recognise a format.
pub(super) const TELLING_BYTES: usize = 512;

/// The format of a file by its first bytes; `None` if it may be Parquet or is unknown.
pub(super) fn format_of(first: &[u8]) -> Option<&'static str> {
    if first.is_empty() || first.starts_with(b"PAR1") {
        return None;
    }
    let known = FORMATS.iter().find(|(magic, _)| first.starts_with(magic));
    if let Some((_, format)) = known {
        return Some(format);
    }
    let text = text(first)?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    Some(match text.chars().next() {
        Some('{' | '[') => "a JSON file",
        _ => "CSV or other text",
    })
}

/// The bytes as text, if they are text; the last character may be incomplete.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_text = |one: char| !one.is_control() || matches!(one, '\n' | '\r' | '\t');
    text.chars().all(is_text).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_their_first_bytes_say() {
        let formats: [(&[u8], Option<&str>); 10] = [
            (b"ARROW1\0\0", Some("an Arrow (Feather) file")),
            (b"PK\x03\x04\x14", Some("a zip file")),
            (b"  \n[{\"a\": 1}]", Some("a JSON file")),
            (b"{\"a\": 1}", Some("a JSON file")),
            (b"ts,open\n1,2\n", Some("CSV or other text")),
            ("\u{feff}ts;öffnung".as_bytes(), Some("CSV or other text")),
            (b"PARE....", Some("an encrypted Parquet file")),
            (b"PAR1....", None),
            (b"", None),
            (b"\x00\x01\x02\x03", None),
        ];
        for (first, expected) in formats {
            assert_eq!(format_of(first), expected, "{first:?}");
        }
        // A character of two bytes, cut in half.
        assert_eq!(format_of(&"é".as_bytes()[..1]), Some("CSV or other text"));
    }
}
