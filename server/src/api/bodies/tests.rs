use super::*;
use axum::{Router, http::StatusCode, middleware::from_fn_with_state, routing::post};
use futures::{
    StreamExt,
    future::{Either, select},
    stream,
};
use http_body_util::BodyExt;
use std::convert::Infallible;
use tokio::sync::mpsc;
use tower::Service;

/// Room for two of the bodies that the tests send.
const ROOM_BYTES: usize = 2 * BODY_BYTES;
const BODY_BYTES: usize = 64 * PERMIT_BYTES;

struct Door {
    router: Router,
    pressure: Pressure,
    room: Arc<Semaphore>,
}

impl Door {
    fn new(wait_ms_max: u64) -> Door {
        let options = HttpOptions {
            inflight_bytes_max: ROOM_BYTES,
            body_bytes_max: ROOM_BYTES,
            wait_ms_max,
            ..HttpOptions::default()
        };
        let pressure = Pressure::default();
        let bodies = Bodies::new(&options, pressure.clone());
        let room = bodies.0.room.clone();
        let length = async |body: Body| match body.collect().await {
            Ok(body) => (StatusCode::OK, body.to_bytes().len().to_string()),
            Err(wrong) => (StatusCode::BAD_REQUEST, wrong.to_string()),
        };
        let router =
            Router::new().route("/write", post(length)).layer(from_fn_with_state(bodies, bound));
        Door { router, pressure, room }
    }

    async fn send(&self, body: Body) -> (StatusCode, String) {
        let request = Request::post("/write").body(body).unwrap();
        let answer = self.router.clone().call(request).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn whole(bytes: usize) -> Body {
    Body::from(vec![b'x'; bytes])
}

/// A body that says how long it is, and comes as it is sent.
fn in_pieces(bytes: usize) -> (mpsc::UnboundedSender<usize>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Body::new(Declared(receiver, bytes)))
}

struct Declared(mpsc::UnboundedReceiver<usize>, usize);

impl http_body::Body for Declared {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = ready!(self.0.poll_recv(context));
        Poll::Ready(piece.map(|bytes| Ok(Frame::data(vec![b'x'; bytes].into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.1 as u64)
    }
}

#[tokio::test]
async fn bodies_beyond_the_bound_are_refused_but_one_alone_never() {
    let door = Door::new(1);
    assert_eq!(door.send(whole(ROOM_BYTES)).await.0, StatusCode::OK);
    let endless = stream::iter(vec![Ok::<_, Infallible>(vec![b'x'; BODY_BYTES]); 5]);
    assert_eq!(door.send(Body::from_stream(endless)).await.0, StatusCode::OK);
    let held = door.room.clone().acquire_many_owned(65).await.unwrap();
    let (status, text) = door.send(whole(BODY_BYTES)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("http.inflight_bytes_max") && text.contains("\"not_stored\""), "{text}");
    drop(held);
    assert_eq!(door.send(whole(BODY_BYTES)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn who_waits_holds_nothing_is_counted_and_gets_its_turn_in_order() {
    let door = Door::new(600_000);
    let held = door.room.clone().acquire_many_owned(100).await.unwrap();
    let mut first = std::pin::pin!(door.send(whole(BODY_BYTES)));
    let mut second = std::pin::pin!(door.send(whole(1)));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    assert_eq!(door.pressure.waiting_writes(), 2);
    drop(held);
    assert_eq!(first.await, (StatusCode::OK, BODY_BYTES.to_string()));
    assert_eq!(second.await, (StatusCode::OK, "1".to_owned()));
    assert_eq!(door.pressure.waiting_writes(), 0);
    assert_eq!(door.room.available_permits(), ROOM_BYTES / PERMIT_BYTES);
}

#[tokio::test]
async fn a_body_that_does_not_come_leaves_its_room_to_others() {
    let door = Door::new(600_000);
    let (pieces, slow) = in_pieces(BODY_BYTES);
    pieces.send(PERMIT_BYTES).unwrap();
    let mut slow = std::pin::pin!(door.send(slow));
    assert!(futures::poll!(&mut slow).is_pending());
    assert_eq!(door.room.available_permits(), 64);
    let beside = std::pin::pin!(door.send(whole(ROOM_BYTES - PERMIT_BYTES)));
    let Either::Left((other, _)) = select(beside, &mut slow).await else {
        panic!("it has not come")
    };
    assert_eq!(other.0, StatusCode::OK);
    for _ in 1..64 {
        pieces.send(PERMIT_BYTES).unwrap();
    }
    drop(pieces);
    assert_eq!(slow.await, (StatusCode::OK, BODY_BYTES.to_string()));
    assert_eq!(door.room.available_permits(), ROOM_BYTES / PERMIT_BYTES);
}

#[tokio::test]
async fn a_large_body_that_is_only_announced_keeps_nobody_out() {
    let door = Door::new(600_000);
    let (pieces, announced) = in_pieces(ROOM_BYTES);
    let mut announced = std::pin::pin!(door.send(announced));
    assert!(futures::poll!(&mut announced).is_pending());
    assert_eq!(door.send(whole(BODY_BYTES)).await.0, StatusCode::OK);
    pieces.send(ROOM_BYTES).unwrap();
    drop(pieces);
    assert_eq!(announced.await, (StatusCode::OK, ROOM_BYTES.to_string()));
}

#[tokio::test]
async fn a_client_that_waits_for_leave_to_send_is_not_asked_in_vain() {
    let door = Door::new(1);
    let held = door.room.clone().acquire_many_owned(128).await.unwrap();
    let asked = stream::once(async { panic!("asked for") }).map(|()| Ok::<_, Infallible>(vec![1]));
    let request = Request::post("/write").header(header::EXPECT, "100-continue");
    let request = request.body(Body::from_stream(asked)).unwrap();
    let answer = door.router.clone().call(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(held);
}
