//! Writes Parquet files with false sizes, byte by byte: page headers and footers in Thrift's
//! compact protocol, with any number in any place.

use std::fs;
use std::path::Path;

/// Bytes of Thrift's compact protocol, field by field of one struct.
#[derive(Debug, Clone, Default)]
pub struct Thrift {
    bytes: Vec<u8>,
    last: i16,
}

impl Thrift {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn integer(mut self, id: i16, value: i64) -> Self {
        self.head(id, 6);
        self.bytes.extend(zigzag(value));
        self
    }

    pub fn integer32(mut self, id: i16, value: i64) -> Self {
        self.head(id, 5);
        self.bytes.extend(zigzag(value));
        self
    }

    pub fn text(mut self, id: i16, text: &str) -> Self {
        self.head(id, 8);
        self.bytes.extend(string(text));
        self
    }

    pub fn fields(mut self, id: i16, fields: Self) -> Self {
        self.head(id, 12);
        self.bytes.extend(fields.end());
        self
    }

    /// A list of encoded elements of one kind, which declares `count` elements.
    pub fn list(mut self, id: i16, kind: u8, count: u64, elements: &[Vec<u8>]) -> Self {
        self.head(id, 9);
        self.bytes.push(0xf0 | kind);
        self.bytes.extend(varint(count));
        self.bytes.extend(elements.concat());
        self
    }

    /// Raw bytes in place of a field.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    pub fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }

    fn head(&mut self, id: i16, kind: u8) {
        let delta = u8::try_from(id - self.last).expect("fields come in order");
        assert!((1..16).contains(&delta), "a short delta");
        self.bytes.push(delta << 4 | kind);
        self.last = id;
    }
}

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub fn zigzag(value: i64) -> Vec<u8> {
    varint((value << 1 ^ value >> 63) as u64)
}

fn string(text: &str) -> Vec<u8> {
    [varint(text.len() as u64), text.as_bytes().to_vec()].concat()
}

/// Constants of the Parquet format.
pub const INT32: i64 = 1;
pub const INT64: i64 = 2;
pub const DOUBLE: i64 = 5;
pub const PLAIN: i64 = 0;
pub const RLE: i64 = 3;
pub const DELTA_BINARY_PACKED: i64 = 5;
pub const RLE_DICTIONARY: i64 = 8;
pub const UNCOMPRESSED: i64 = 0;
pub const SNAPPY: i64 = 1;
pub const GZIP: i64 = 2;
pub const BROTLI: i64 = 4;
pub const LZ4: i64 = 5;
pub const ZSTD: i64 = 6;
pub const LZ4_RAW: i64 = 7;

/// A page: what its header declares, and its bytes.
#[derive(Debug, Clone)]
pub struct Page {
    pub is_dictionary: bool,
    pub values: i64,
    pub encoding: i64,
    pub uncompressed_bytes: i64,
    pub body: Vec<u8>,
}

impl Page {
    /// A page of plain values of eight bytes.
    pub fn plain(values: impl IntoIterator<Item = i64>) -> Self {
        let body: Vec<u8> = values.into_iter().flat_map(i64::to_le_bytes).collect();
        Self {
            is_dictionary: false,
            values: body.len() as i64 / 8,
            encoding: PLAIN,
            uncompressed_bytes: body.len() as i64,
            body,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let header = Thrift::new()
            .integer32(1, if self.is_dictionary { 2 } else { 0 })
            .integer32(2, self.uncompressed_bytes)
            .integer32(3, self.body.len() as i64);
        let of_values = Thrift::new()
            .integer32(1, self.values)
            .integer32(2, self.encoding);
        let header = if self.is_dictionary {
            header.fields(7, of_values)
        } else {
            header.fields(5, of_values.integer32(3, RLE).integer32(4, RLE))
        };
        [header.end(), self.body.clone()].concat()
    }
}

/// A required column.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub physical_type: i64,
    pub codec: i64,
    pub pages: Vec<Page>,
}

/// A file of one row group. Its sizes and counts can be changed before it is written.
#[derive(Debug, Clone)]
pub struct Forged {
    pub rows: i64,
    pub columns: Vec<Column>,
    /// Replaces the list of schema nodes.
    pub schema: Option<Thrift>,
    /// Replaces the list of row groups.
    pub row_groups: Option<(u64, Vec<Vec<u8>>)>,
    /// Fields after those of every footer.
    pub more: Vec<u8>,
    pub footer_bytes: Option<u32>,
}

impl Forged {
    /// A valid file of `rows` minutes with equal prices.
    pub fn sound(rows: i64) -> Self {
        let column = |name: &str, physical_type, page| Column {
            name: name.to_owned(),
            physical_type,
            codec: UNCOMPRESSED,
            pages: vec![page],
        };
        let minutes = Page::plain((0..rows).map(|row| row * 60_000_000));
        let price = i64::from_le_bytes(1.5_f64.to_le_bytes());
        let prices = || Page::plain((0..rows).map(|_| price));
        let names = ["Open", "High", "Low", "Close", "Volume"];
        let mut columns = vec![column("UTC time", INT64, minutes)];
        columns.extend(names.map(|name| column(name, DOUBLE, prices())));
        Self {
            rows,
            columns,
            schema: None,
            row_groups: None,
            more: Vec::new(),
            footer_bytes: None,
        }
    }

    pub fn write(&self, path: &Path) {
        let mut file = b"PAR1".to_vec();
        let mut chunks = Vec::new();
        for column in &self.columns {
            let start = file.len() as i64;
            let mut data_start = None;
            for page in &column.pages {
                if !page.is_dictionary {
                    data_start = data_start.or(Some(file.len() as i64));
                }
                file.extend(page.bytes());
            }
            let bytes = file.len() as i64 - start;
            let data_start = data_start.unwrap_or(start);
            let metadata = Thrift::new()
                .integer32(1, column.physical_type)
                .list(2, 5, 1, &[zigzag(PLAIN)])
                .list(3, 8, 1, &[string(&column.name)])
                .integer32(4, column.codec)
                .integer(5, self.rows)
                .integer(6, bytes)
                .integer(7, bytes)
                .integer(9, data_start);
            let metadata = if data_start > start {
                metadata.integer(11, start)
            } else {
                metadata
            };
            chunks.push(Thrift::new().integer(2, start).fields(3, metadata).end());
        }
        let group = Thrift::new()
            .list(1, 12, chunks.len() as u64, &chunks)
            .integer(2, file.len() as i64)
            .integer(3, self.rows)
            .end();
        let footer = match &self.schema {
            Some(schema) => Thrift::new().integer32(1, 2).raw(&schema.bytes),
            None => self.schema_of_columns(Thrift::new().integer32(1, 2)),
        };
        let mut footer = Thrift { last: 2, ..footer };
        footer = footer.integer(3, self.rows);
        footer = match &self.row_groups {
            Some((count, groups)) => footer.list(4, 12, *count, groups),
            None => footer.list(4, 12, 1, &[group]),
        };
        let footer = footer.raw(&self.more).end();
        let declared = self.footer_bytes.unwrap_or(footer.len() as u32);
        file.extend(footer);
        file.extend(declared.to_le_bytes());
        file.extend(b"PAR1");
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, file).expect("a file");
    }

    fn schema_of_columns(&self, footer: Thrift) -> Thrift {
        const REQUIRED: i64 = 0;
        const TIMESTAMP_MICROS: i64 = 10;
        let root = Thrift::new()
            .text(4, "schema")
            .integer32(5, self.columns.len() as i64);
        let mut nodes = vec![root.end()];
        for column in &self.columns {
            let node = Thrift::new()
                .integer32(1, column.physical_type)
                .integer32(3, REQUIRED)
                .text(4, &column.name);
            nodes.push(match column.name.as_str() {
                "UTC time" => node.integer32(6, TIMESTAMP_MICROS).end(),
                _ => node.end(),
            });
        }
        footer.list(2, 12, nodes.len() as u64, &nodes)
    }
}
