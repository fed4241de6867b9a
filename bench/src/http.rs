//! A small blocking HTTP/1.1 client over one keep-alive connection, cheap enough to load a server
//! that runs on the same cores.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

/// How long a server may stay silent before a request counts as failed.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Where a server listens and what to ask of it, from `http://HOST:PORT/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// `HOST:PORT`.
    pub(crate) authority: String,
    /// Path and query, from the slash on.
    pub(crate) path: String,
}

impl std::str::FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> Result<Target> {
        let rest = url.strip_prefix("http://").context("expected http://HOST:PORT/PATH")?;
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        ensure!(authority.contains(':'), "expected a port in `{url}`");
        let path = if path.is_empty() { "/" } else { path };
        Ok(Target { authority: authority.to_owned(), path: path.to_owned() })
    }
}

/// What a request carries.
pub(crate) enum Payload<'a> {
    /// No body.
    Nothing,
    /// So many bytes from where the file stands now.
    FromFile(&'a mut File, u64),
}

/// The head of an answer; its body is in [`Connection::body`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    /// The status code.
    pub(crate) status: u16,
    /// How long to wait before asking again, s.
    pub(crate) retry_after_s: Option<u64>,
    close: bool,
}

/// One connection to a server, opened again when the server closes it after an answer.
pub(crate) struct Connection {
    authority: String,
    stream: Option<BufReader<TcpStream>>,
    body: Vec<u8>,
}

impl Connection {
    /// A connection that opens with its first request.
    pub(crate) fn new(authority: &str) -> Connection {
        Connection { authority: authority.to_owned(), stream: None, body: Vec::new() }
    }

    /// The body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body of the last answer, as text for a message.
    pub(crate) fn body_text(&self) -> String {
        let head = &self.body[..self.body.len().min(400)];
        String::from_utf8_lossy(head).trim_end().to_owned()
    }

    /// Asks and reads the whole answer.
    ///
    /// # Errors
    /// The connection fails, or the answer is not HTTP/1.1.
    pub(crate) fn request(&mut self, method: &str, path: &str, payload: Payload) -> Result<Head> {
        let answered = self.exchange(method, path, payload);
        match &answered {
            Ok(head) if !head.close => {}
            _ => self.stream = None,
        }
        answered.with_context(|| format!("{method} http://{}{}", self.authority, clip(path)))
    }

    /// Asks by GET and expects 200.
    ///
    /// # Errors
    /// As [`Connection::request`], or another status.
    pub(crate) fn get(&mut self, path: &str) -> Result<()> {
        let head = self.request("GET", path, Payload::Nothing)?;
        if head.status != 200 {
            bail!("GET {} answered {}: {}", clip(path), head.status, self.body_text());
        }
        Ok(())
    }

    fn exchange(&mut self, method: &str, path: &str, payload: Payload) -> Result<Head> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.authority)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            stream.set_write_timeout(Some(SILENCE_MAX))?;
            self.stream = Some(BufReader::with_capacity(256 << 10, stream));
        }
        let stream = self.stream.as_mut().context("the connection is closed")?;
        send(stream.get_mut(), &self.authority, method, path, payload)?;
        let (head, length) = read_head(stream)?;
        self.body.clear();
        match length {
            Length::Known(bytes) => {
                stream.take(bytes).read_to_end(&mut self.body)?;
                ensure!(self.body.len() as u64 == bytes, "the answer is cut short");
            }
            Length::Chunked => read_chunks(stream, &mut self.body)?,
            Length::ToTheEnd => {
                stream.read_to_end(&mut self.body)?;
            }
        }
        Ok(head)
    }
}

/// Writes text so that it can stand in a query string.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

enum Length {
    Known(u64),
    Chunked,
    ToTheEnd,
}

fn send(
    stream: &mut TcpStream,
    authority: &str,
    method: &str,
    path: &str,
    payload: Payload,
) -> io::Result<()> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n");
    match payload {
        Payload::Nothing => {
            if method != "GET" {
                head.push_str("Content-Length: 0\r\n");
            }
            head.push_str("\r\n");
            stream.write_all(head.as_bytes())
        }
        Payload::FromFile(file, bytes) => {
            let kind = "Content-Type: text/plain; charset=utf-8";
            head.push_str(&format!("{kind}\r\nContent-Length: {bytes}\r\n\r\n"));
            stream.write_all(head.as_bytes())?;
            // From a file to a socket this is sendfile: no copy through this process.
            let sent = io::copy(&mut Read::take(file, bytes), stream)?;
            if sent == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        }
    }
}

fn read_head(stream: &mut BufReader<TcpStream>) -> Result<(Head, Length)> {
    loop {
        let line = read_line(stream)?;
        let status: u16 = line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .and_then(|digits| digits.parse().ok())
            .with_context(|| format!("not a status line: `{}`", clip(&line)))?;
        let mut head = Head { status, retry_after_s: None, close: line.starts_with("HTTP/1.0") };
        let mut length = Length::ToTheEnd;
        loop {
            let line = read_line(stream)?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Length::Known(value.parse()?),
                "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => {
                    length = Length::Chunked;
                }
                "retry-after" => head.retry_after_s = value.parse().ok(),
                "connection" if value.eq_ignore_ascii_case("close") => head.close = true,
                _ => {}
            }
        }
        if status == 204 || status == 304 {
            length = Length::Known(0);
        }
        head.close |= matches!(length, Length::ToTheEnd);
        if status != 100 {
            return Ok((head, length));
        }
    }
}

fn read_chunks(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let line = read_line(stream)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let bytes = u64::from_str_radix(digits, 16).context("not the length of a chunk")?;
        if bytes == 0 {
            while !read_line(stream)?.is_empty() {}
            return Ok(());
        }
        let before = body.len() as u64;
        stream.by_ref().take(bytes).read_to_end(body)?;
        ensure!(body.len() as u64 == before + bytes, "a chunk is cut short");
        ensure!(read_line(stream)?.is_empty(), "a chunk is longer than it says");
    }
}

fn read_line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    stream.take(64 << 10).read_line(&mut line)?;
    ensure!(line.ends_with('\n'), "the server closed the connection");
    line.truncate(line.trim_end().len());
    Ok(line)
}

fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(200).map_or(text.len(), |(place, _)| place);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn answer_once(answers: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            for answer in answers {
                while !read_line(&mut reader).unwrap().is_empty() {}
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        authority
    }

    #[test]
    fn answers_of_known_and_unknown_length_come_over_one_connection() {
        let authority = answer_once(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1;x=y\r\nf\r\n0\r\n\r\n",
            "HTTP/1.1 503 Busy\r\nRetry-After: 2\r\ncontent-length: 0\r\n\r\n",
        ]);
        let mut connection = Connection::new(&authority);
        connection.get("/a").unwrap();
        assert_eq!(connection.body(), b"abc");
        connection.get("/b").unwrap();
        assert_eq!(connection.body(), b"def");
        let head = connection.request("POST", "/c", Payload::Nothing).unwrap();
        assert_eq!((head.status, head.retry_after_s), (503, Some(2)));
    }

    #[test]
    fn a_target_has_host_port_and_path() {
        let target: Target = "http://127.0.0.1:80/write?db=x".parse().unwrap();
        assert_eq!(target.authority, "127.0.0.1:80");
        assert_eq!(target.path, "/write?db=x");
        assert!("127.0.0.1/x".parse::<Target>().is_err());
        assert!("http://host/x".parse::<Target>().is_err());
    }

    #[test]
    fn encoded_text_holds_no_separator() {
        assert_eq!(encode("a b='ü'&c"), "a%20b%3D%27%C3%BC%27%26c");
    }
}
