//! Long answers of tokens that are taken back meanwhile.

use crate::auth::Keyring;
use axum::{body::Body, response::Response};
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use oribi_access::{Access, Doorkeeper};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// The same answer, which breaks off once `access` would no longer be let in. One that is there as a
/// whole goes out as it is.
pub(super) fn watched(answer: Response, keyring: &Arc<Keyring>, access: Access) -> Response {
    if answer.body().size_hint().exact().is_some() {
        return answer;
    }
    let (keyring, epoch) = (keyring.clone(), keyring.epoch());
    answer.map(|body| Body::new(Watched { body, keyring, access, epoch }))
}

struct Watched {
    body: Body,
    keyring: Arc<Keyring>,
    access: Access,
    /// The tokens as of the last look.
    epoch: u64,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let epoch = self.keyring.epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            if !self.keyring.still(&self.access) {
                let ended = io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "the token was taken back, changed or has expired",
                );
                return Poll::Ready(Some(Err(axum::Error::new(ended))));
            }
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::Audit, auth::AdminFile, config::TokenMode};
    use futures::stream;
    use http_body_util::BodyExt;
    use oribi_access::{Presented, Rights, Secret, Token};
    use oribi_cluster::{Change, Node, NodeOptions};
    use oribi_model::SystemClock;
    use oribi_store::disk::sim::SimDisk;

    #[tokio::test]
    async fn an_answer_breaks_off_when_its_token_is_revoked() {
        let (disk, clock) = (Arc::new(SimDisk::default()), Arc::new(SystemClock));
        let node = Node::open("/data".into(), NodeOptions::default(), disk, clock.clone()).await;
        let node = node.unwrap();
        let secret = Secret::make().unwrap();
        let token = Token {
            id: 0,
            version: 0,
            name: "t".into(),
            digest: Some(secret.digest()),
            previous: None,
            rights: Rights::everything(),
            expires_ns: None,
            created_ns: 0,
            created_by: String::new(),
            note: String::new(),
        };
        node.change(Change::CreateTokens { tokens: vec![token] }).await.unwrap();
        let file = AdminFile::open(None).unwrap();
        let keyring = Arc::new(Keyring::new(
            TokenMode::On,
            node.clone(),
            clock.clone(),
            file,
            Audit::none(clock),
            None,
        ));
        let access = keyring.admit(Presented::Secret(secret.as_str().as_bytes())).unwrap();
        let pieces = (0..3).map(|_| Ok::<_, io::Error>(Bytes::from_static(b"rows")));
        let answer = Response::new(Body::from_stream(stream::iter(pieces)));
        let mut body = watched(answer, &keyring, access.clone()).into_body();
        assert!(body.frame().await.unwrap().is_ok());
        node.change(Change::RevokeToken { name: "t".into() }).await.unwrap();
        assert!(body.frame().await.unwrap().is_err());
        let whole = watched(Response::new(Body::from("rows")), &keyring, access).into_body();
        assert!(whole.collect().await.is_ok());
    }
}
