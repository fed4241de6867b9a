//! One address is asked.

use super::Answer;
use crate::{
    KeyPin,
    secured::{NodeTls, Standing},
    transport::{self, GreetingError, HelloError},
};
use bytes::Bytes;
use std::{io::ErrorKind, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const STRANGER: &str = "the other side is no node of Oribi";
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Answered(Answer),
    /// Nobody is there now.
    Nobody(String),
    /// Somebody is there who will never understand.
    Stranger(String),
}

/// Asks who listens at `address` (`HOST:PORT`). What it answers is believed where it proves that it
/// belongs to the cluster, or has a key that this node `trusts`; else only that it refuses.
pub(crate) async fn ask(
    address: &str,
    tls: &NodeTls,
    body: Bytes,
    trusts: impl Fn(KeyPin) -> bool,
) -> Asked {
    let connecting = timeout(CONNECT_WAIT, TcpStream::connect(address)).await;
    let stream = match connecting {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Asked::Nobody(format!("cannot connect: {error}")),
        Err(_) => return Asked::Nobody("nobody answered in time".into()),
    };
    // Some serve one connection at a time: it ends before another one begins.
    let asked = match timeout(CONNECT_WAIT, tls.connect(stream)).await {
        Ok(Ok((mut stream, peer))) => {
            let asked = transport::ask(&mut stream, tls, &peer, body).await;
            asked.map(|(body, standing)| (body, standing, peer.pin()))
        }
        Ok(Err(error)) if error.kind() == ErrorKind::InvalidData => Err(HelloError::NoNode.into()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(GreetingError::Late),
    };
    match asked {
        Ok((body, standing, pin)) => match (Answer::decode(&body), standing) {
            (Some(answer), Standing::Proven) => Asked::Answered(answer),
            (Some(answer), _) if answer.is_harmless() || trusts(pin) => Asked::Answered(answer),
            (Some(_), Standing::Unproven(reason)) => Asked::Stranger(reason.into_owned()),
            (Some(_), Standing::Undecided(reason)) => Asked::Nobody(reason.into()),
            (None, _) => Asked::Stranger("its answer cannot be read".into()),
        },
        Err(_) if speaks_http(address).await => {
            Asked::Stranger(format!("{STRANGER}: it speaks HTTP; expected the address for nodes"))
        }
        Err(GreetingError::Hello(HelloError::NoNode)) => Asked::Stranger(STRANGER.into()),
        // A node that stops does not answer either.
        Err(GreetingError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => {
            Asked::Nobody("it closed the connection without a word".into())
        }
        Err(error) => Asked::Nobody(error.to_string()),
    }
}

/// Whether a server of HTTP listens there, which some know only by its own words.
async fn speaks_http(address: &str) -> bool {
    const QUESTION: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/";
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(QUESTION).await?;
        let mut answer = [0; ANSWER.len()];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer == ANSWER)
    };
    matches!(timeout(CONNECT_WAIT, asking).await, Ok(Ok(true)))
}
