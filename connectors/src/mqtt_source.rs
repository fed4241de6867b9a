//! Takes in what an MQTT broker has. Acks go out only after the rows are stored, in the order of
//! the messages.
//!
//! One task polls the client, and waits only where the open batch is full until the other one, which writes
//! batch after batch, takes it; nothing is read and no ping goes out meanwhile. Each
//! connection is one run: what was not acked when it ends, the broker sends again on the next one,
//! and no ack can reach another connection than its own.

mod client;
mod inbox;
mod relay;
mod spec;

use crate::{
    Error, Result,
    connector::{Common, RunContext, State},
};
pub(crate) use spec::MqttSource;

use client::{Connection, Event};
use inbox::Inbox;
use oribi_decode::{mapping::Decoder, sparkplug::rebirth_command};
use relay::Relay;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::task::{JoinError, JoinHandle};
use xxhash_rust::xxh3::xxh3_64;

/// How long a connection that is given up may take to send what is left.
const FAREWELL: Duration = Duration::from_secs(2);
/// What is remembered of the filters that the broker's session has.
const SUBSCRIPTION: &str = "subscription";
/// The options of a subscription beside its quality of service; a session whose subscriptions have
/// others is subscribed anew.
const SUBSCRIPTION_OPTIONS: &str = "retain-cleared";

/// Why a connection is no longer polled, where nothing is wrong with the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Stopped,
    /// A packet came that the client cannot read, and will come again.
    Unreadable,
}

/// Runs one connection until it ends or the context says stop; another one by a relay where the
/// client cannot read what comes.
async fn run(spec: &MqttSource, common: &Common, context: &RunContext) -> Result<()> {
    if connect(spec, common, context, None).await? == Ended::Stopped {
        return Ok(());
    }
    tracing::warn!(connector = %context.name, "a message came that MQTT does not allow; it goes aside");
    let relay = Relay::open(common, spec.protocol()).await?;
    match connect(spec, common, context, Some(&relay)).await? {
        Ended::Stopped => Ok(()),
        Ended::Unreadable => Err(Error::Broker {
            action: "stay connected to",
            target: common.url.clone(),
            reason: "it sends packets that are none of MQTT".to_owned(),
        }),
    }
}

async fn connect(
    spec: &MqttSource,
    common: &Common,
    context: &RunContext,
    relay: Option<&Relay>,
) -> Result<Ended> {
    let mut connection = Connection::open(spec, common, relay)?;
    let inbox = Arc::new(Inbox::new(spec, common, context)?);
    if spec.routes.iter().any(|route| route.decoder == Decoder::SparkplugB) {
        let read = context.parts.feed.clone();
        context.nodes.load(read, &context.name).await?;
    }
    let mut writing = tokio::spawn(inbox.clone().write(
        context.parts.ingest.clone(),
        connection.acks(),
        context.stop.clone(),
    ));
    let outcome = tokio::select! {
        biased;
        outcome = poll(spec, common, context, &mut connection, &inbox) => outcome,
        // It ends by itself only where the node stops or it has panicked.
        ended = &mut writing => return unwritten(common, context, ended),
    };
    inbox.close();
    let is_open = matches!(outcome, Ok(Ended::Stopped));
    finish(is_open.then_some(connection), writing, context).await;
    outcome
}

/// What it means that the writer has ended before the connection.
fn unwritten(
    common: &Common,
    context: &RunContext,
    ended: std::result::Result<(), JoinError>,
) -> Result<Ended> {
    if context.stop.is_cancelled() {
        return Ok(Ended::Stopped);
    }
    let reason = match ended {
        Ok(()) => "the writer has ended".to_owned(),
        Err(wrong) => format!("the writer ended abnormally: {wrong}"),
    };
    Err(Error::Broker { action: "store messages of", target: common.url.clone(), reason })
}

/// Waits for the writer. Acks of what it still writes go out on the connection, if that holds; one
/// that is gone takes none, so that the writer does not wait for it.
async fn finish(
    mut connection: Option<Connection>,
    mut writing: JoinHandle<()>,
    context: &RunContext,
) {
    let ended = loop {
        let Some(open) = &mut connection else { break (&mut writing).await };
        tokio::select! {
            ended = &mut writing => break ended,
            event = open.next() => if event.is_err() { connection = None },
        }
    };
    if let Err(wrong) = ended {
        tracing::error!(connector = %context.name, %wrong, "a writer ended abnormally");
    }
    if let Some(mut open) = connection {
        open.disconnect();
        let farewell = async { while open.next().await.is_ok() {} };
        // The broker may close first; what it has not got it sends again.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

async fn poll(
    spec: &MqttSource,
    common: &Common,
    context: &RunContext,
    connection: &mut Connection,
    inbox: &Inbox,
) -> Result<Ended> {
    let mut stopped = std::pin::pin!(context.stop.cancelled());
    loop {
        let event = tokio::select! {
            // What has come is taken in before anything else, which also makes for fewer looks.
            biased;
            event = connection.next() => event?,
            () = &mut stopped => return Ok(Ended::Stopped),
        };
        match event {
            Event::Unreadable => return Ok(Ended::Unreadable),
            Event::Connected { session_present } => {
                let known = context.parts.store.cursors(&context.name);
                let is_known = known.get(SUBSCRIPTION) == Some(&fingerprint(spec));
                if session_present && is_known {
                    context.progress.enter(State::Running);
                } else {
                    connection.subscribe(spec)?;
                }
            }
            Event::Subscribed(refused) => {
                if let Some((filter, reason)) = refused.first() {
                    return Err(Error::Broker {
                        action: "subscribe at",
                        target: common.url.clone(),
                        reason: format!("{filter:?} was refused: {reason}"),
                    });
                }
                let cursors = BTreeMap::from([(SUBSCRIPTION.to_owned(), fingerprint(spec))]);
                let saved = context.save_cursors(cursors).await;
                saved.map_err(Error::Store)?;
                context.progress.enter(State::Running);
            }
            Event::Publish(publish) => {
                // The room that a full batch waits for comes from the writer, not from here.
                let added = tokio::select! {
                    biased;
                    added = inbox.add(&publish) => added?,
                    () = &mut stopped => return Ok(Ended::Stopped),
                };
                for node in added {
                    connection.publish(rebirth_command(&node, context.parts.arrival.now_ns()));
                }
            }
            Event::Other => {}
        }
    }
}

/// Names the filters and how they are subscribed to.
fn fingerprint(spec: &MqttSource) -> u64 {
    let mut text = format!("{} {}", SUBSCRIPTION_OPTIONS, spec.qos());
    for filter in client::filters(spec) {
        text.push('\n');
        text.push_str(filter);
    }
    xxh3_64(text.as_bytes())
}
