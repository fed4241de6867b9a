//! One port for TLS and for clear text: the first byte tells which.

use super::{pieces::Pieces, socket::Socket};
use crate::{posture::Plain, tls::TlsState};
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How every handshake of TLS begins; no method of HTTP does.
const HANDSHAKE: u8 = 0x16;
/// Of a request that is refused so much is read, bytes.
const HEAD_BYTES_MAX: usize = 4_096;

/// Who comes in how.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Who may do without TLS.
    pub(crate) plain: Plain,
    /// TLS, where it is spoken.
    pub(crate) tls: Option<Arc<TlsState>>,
}

impl Entry {
    /// Does the handshake where the client wants one. `None`: it was told that it has to.
    ///
    /// # Errors
    /// What the client does wrong, or the socket.
    pub(super) async fn admit(&self, mut socket: TcpStream) -> io::Result<Option<Socket>> {
        let Some(tls) = &self.tls else { return Ok(Some(Socket::Plain(socket))) };
        let mut first = [0];
        if socket.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[0] == HANDSHAKE {
            let secured = tls.accept(Pieces::of(socket)).await?;
            return Ok(Some(Socket::Tls(Box::new(secured))));
        }
        let is_here = socket.peer_addr()?.ip().to_canonical().is_loopback();
        if is_here || self.plain == Plain::All {
            return Ok(Some(Socket::Plain(socket)));
        }
        let mut head = [0; HEAD_BYTES_MAX];
        let bytes = socket.read(&mut head).await?;
        socket.write_all(answer(&head[..bytes]).as_bytes()).await?;
        // The client may be gone already.
        let _ = socket.shutdown().await;
        Ok(None)
    }
}

/// Points a browser to TLS, and tells others in words.
fn answer(head: &[u8]) -> String {
    const WORDS: &str = "this port speaks TLS to other machines: use https://\n";
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let path = lines.next().and_then(|line| line.strip_prefix("GET ")?.split(' ').next());
    let header = |name: &str| {
        let value = |line: &str| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        head.lines().skip(1).find_map(value)
    };
    let is_browser = header("user-agent").is_some_and(|agent| agent.contains("Mozilla/"));
    let (status, location) = match (path, header("host")) {
        (Some(path), Some(host)) if is_browser && path.starts_with('/') => {
            ("308 Permanent Redirect", format!("Location: https://{host}{path}\r\n"))
        }
        _ => ("400 Bad Request", String::new()),
    };
    format!(
        "HTTP/1.1 {status}\r\n{location}Content-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{WORDS}",
        WORDS.len()
    )
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn browsers_are_pointed_to_tls_and_others_are_told() {
        let browser = "GET /x?y HTTP/1.1\r\nHost: pi.local:8640\r\nUser-Agent: Mozilla/5.0\r\n\r\n";
        let answered = answer(browser.as_bytes());
        assert!(answered.starts_with("HTTP/1.1 308 "), "{answered}");
        assert!(answered.contains("Location: https://pi.local:8640/x?y\r\n"), "{answered}");
        for other in
            ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /write HTTP/1.1\r\n", "", "\0\u{1}"]
        {
            let answered = answer(other.as_bytes());
            assert!(answered.starts_with("HTTP/1.1 400 ") && answered.contains("https://"));
        }
    }
}
