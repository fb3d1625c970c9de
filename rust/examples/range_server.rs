//! Serves the files of a folder over HTTP, with ranges and strong ETags, each answer after a stated
//! delay: a bucket for benchmarks. It costs little, so that the reader is measured.
//!
//! `range_server FOLDER [DELAY_MS]` listens on a free port of this machine and prints it. `GET /:counts`
//! answers with the numbers of requests and bytes so far, and resets them. It ends with its stdin.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::sendfile;

/// Where the counts are.
const COUNTS: &str = "/:counts";

struct Server {
    folder: PathBuf,
    delay: Duration,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// What a request asks for.
#[derive(Default)]
struct Asked {
    method: String,
    path: String,
    range: Option<String>,
    if_match: Option<String>,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = || io::Error::other("usage: range_server FOLDER [DELAY_MS]");
    let folder = arguments.next().ok_or_else(usage)?;
    let delay_ms = arguments.next().map_or(Ok(0), |text| text.parse());
    let server = Arc::new(Server {
        folder: fs::canonicalize(folder)?,
        delay: Duration::from_millis(delay_ms.map_err(io::Error::other)?),
        requests: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?.port())?;
    stdout.flush()?;
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let server = server.clone();
            // A reader that went away is no fault of the server.
            thread::spawn(move || server.serve(&connection).ok());
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}

impl Server {
    /// Answers the requests of a connection, one after the other.
    fn serve(&self, connection: &TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut input = BufReader::new(connection);
        while let Some(asked) = read_request(&mut input)? {
            if asked.path == COUNTS {
                let (requests, bytes) = (&self.requests, &self.bytes);
                let counts = [requests, bytes].map(|count| count.swap(0, Ordering::Relaxed));
                let text = format!(r#"{{"requests":{},"bytes":{}}}"#, counts[0], counts[1]);
                head(
                    connection,
                    "200 OK",
                    &[("Content-Length", text.len().to_string())],
                )?;
                (&*connection).write_all(text.as_bytes())?;
                continue;
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            thread::sleep(self.delay);
            self.answer(connection, &asked)?;
        }
        Ok(())
    }

    fn answer(&self, connection: &TcpStream, asked: &Asked) -> io::Result<()> {
        let nothing = [("Content-Length", "0".to_owned())];
        let path = Path::new(asked.path.trim_start_matches('/'));
        let is_plain = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let Some(file) = is_plain
            .then(|| File::open(self.folder.join(path)).ok())
            .flatten()
        else {
            return head(connection, "404 Not Found", &nothing);
        };
        let metadata = file.metadata()?;
        let tag = format!(
            "\"{:x}-{:x}-{:x}-{:x}\"",
            metadata.ino(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec()
        );
        if asked.if_match.as_ref().is_some_and(|wanted| *wanted != tag) {
            return head(connection, "412 Precondition Failed", &nothing);
        }
        let all = metadata.len();
        let range = match &asked.range {
            None => 0..all,
            Some(text) => match range_of(text, all) {
                Some(range) => range,
                None => return head(connection, "416 Range Not Satisfiable", &nothing),
            },
        };
        let bytes = range.end - range.start;
        let mut headers = vec![
            ("Content-Length", bytes.to_string()),
            ("ETag", tag),
            ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT".to_owned()),
            ("Accept-Ranges", "bytes".to_owned()),
        ];
        let status = if asked.range.is_some() {
            let last = range.end - 1;
            headers.push((
                "Content-Range",
                format!("bytes {}-{last}/{all}", range.start),
            ));
            "206 Partial Content"
        } else {
            "200 OK"
        };
        head(connection, status, &headers)?;
        if asked.method == "HEAD" {
            return Ok(());
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut offset = range.start;
        while offset < range.end {
            let left = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
            if sendfile(connection, &file, Some(&mut offset), left.min(1 << 20))? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// Reads the next request; `None` at the end of the connection.
fn read_request(input: &mut impl BufRead) -> io::Result<Option<Asked>> {
    let mut line = String::new();
    if input.take(8 << 10).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut asked = Asked {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        ..Asked::default()
    };
    loop {
        line.clear();
        input.take(8 << 10).read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(Some(asked));
        };
        let value = Some(value.trim().to_owned());
        match name.to_ascii_lowercase().as_str() {
            "range" => asked.range = value,
            "if-match" => asked.if_match = value,
            _ => {}
        }
    }
}

/// The bytes that a header asks for: `bytes=A-B`, `bytes=A-` or `bytes=-N`.
fn range_of(text: &str, all: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", count) => all.saturating_sub(count.parse().ok()?)..all,
        (first, "") => first.parse().ok()?..all,
        (first, last) => first.parse().ok()?..all.min(last.parse::<u64>().ok()? + 1),
    };
    (!range.is_empty()).then_some(range)
}

fn head(connection: &TcpStream, status: &str, headers: &[(&str, String)]) -> io::Result<()> {
    let headers = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    let text = format!("HTTP/1.1 {status}\r\n{}\r\n", headers.collect::<String>());
    (&*connection).write_all(text.as_bytes())
}
