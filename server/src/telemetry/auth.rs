//! Who was let in, as figures. No names: they would grow without a bound.

use super::page::Page;
use crate::{auth::Keyring, tls::TlsState};
use oribi_cluster::Node;
use oribi_connectors::mqtt_listener::Counters;
use prometheus_client::encoding::EncodeLabelSet;
use std::{fmt, sync::atomic::Ordering};

/// Tokens that end within this time count as those that end soon, ns.
const SOON_NS: i64 = 14 * 86_400_000_000_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    via: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// Writes the figures of TLS.
pub(super) fn encode_tls(tls: &TlsState, mqtt: &Counters, page: &mut Page<'_>) -> fmt::Result {
    let [done, failed, reload_failures] = tls.counts();
    let done = done + mqtt.handshakes.load(Ordering::Relaxed);
    let failed = failed + mqtt.failed_handshakes.load(Ordering::Relaxed);
    let handshakes = [("done", done), ("failed", failed)].into_iter();
    let handshakes = handshakes.map(|(result, count)| (ResultLabels { result }, count));
    page.counters("oribi_tls_handshakes", "Handshakes of clients", handshakes)?;
    let help = "Certificates that could not be read again";
    page.counter("oribi_tls_reload_failures", help, reload_failures)?;
    let expires_s = tls.expires_s().and_then(|end| u64::try_from(end).ok()).unwrap_or(0);
    let help = "When the certificate ends, seconds since the Unix epoch";
    page.gauge("oribi_tls_certificate_expiry_seconds", help, expires_s)
}

/// Writes the figures of tokens.
pub(super) fn encode(keyring: &Keyring, node: &Node, page: &mut Page<'_>) -> fmt::Result {
    let catalog = node.catalog();
    page.gauge("oribi_tokens", "Tokens", catalog.token_count() as u64)?;
    let soon_ns = keyring.now_ns().saturating_add(SOON_NS);
    let ends = catalog.tokens().filter(|token| token.has_expired(soon_ns)).count() as u64;
    page.gauge("oribi_tokens_expiring", "Tokens that end within 14 days or have ended", ends)?;
    let all = keyring.failures().all();
    let failures = all.map(|(via, reason, count)| (Labels { via, reason }, count));
    page.counters("oribi_auth_failures", "Who was not let in, by way and reason", failures)?;
    let help = "MQTT publishes that were denied";
    page.counter("oribi_mqtt_denied", help, keyring.denied_publishes())
}
