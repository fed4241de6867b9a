// Rates and ack latency on top, from the difference of two readings of the node's figures.

import { metrics } from "./api.js";
import { byId, make } from "./dom.js";
import { count, seconds } from "./format.js";

const TREND_POINTS = 48;
// Writes over HTTP that were acked.
const WRITE = /(?=.*\broute="[^"]*\/write")(?=.*\bstatus="2\d\d")/;
const WRITES = "writes over http";

const trend = [];
let before = null;

/** Sums of a Prometheus text by name, and its cumulative buckets by name and bound. */
export function parse(text) {
  const sums = new Map();
  const buckets = new Map();
  for (const line of text.split("\n")) {
    const parts = /^([A-Za-z_:][A-Za-z0-9_:]*)(\{[^}]*\})? (\S+)/.exec(line);
    if (!parts) continue;
    const [, name, labels, number] = parts;
    if (name === "oribi_http_requests_total" && WRITE.test(labels)) sums.set(WRITES, (sums.get(WRITES) ?? 0) + Number(number));
    const bound = /\ble="([^"]+)"/.exec(labels ?? "")?.[1];
    if (bound === undefined) {
      sums.set(name, (sums.get(name) ?? 0) + Number(number));
      continue;
    }
    const of = buckets.get(name) ?? new Map();
    const upper = bound === "+Inf" ? Infinity : Number(bound);
    of.set(upper, (of.get(upper) ?? 0) + Number(number));
    buckets.set(name, of);
  }
  return { sums, buckets };
}

/** The quantile of what was counted between two readings of a histogram, within its bucket in a straight line. */
export function quantile(now, then, share) {
  const bounds = [...(now?.keys() ?? [])].sort((left, right) => left - right);
  const counts = bounds.map((bound) => now.get(bound) - (then?.get(bound) ?? 0));
  const wanted = share * (counts.at(-1) ?? 0);
  if (wanted <= 0) return null;
  const place = counts.findIndex((number) => number >= wanted);
  const lower = place > 0 ? bounds[place - 1] : 0;
  if (bounds[place] === Infinity) return lower;
  const below = place > 0 ? counts[place - 1] : 0;
  return lower + ((wanted - below) / (counts[place] - below)) * (bounds[place] - lower);
}

/** Reads the figures once and shows what changed since the last time. */
export async function showRates(signal) {
  const now = { at: performance.now(), ...parse(await figures(signal)) };
  const then = before;
  before = now;
  byId("rate-devices").textContent = count(now.sums.get("oribi_mqtt_connections") ?? 0);
  if (!then) return;
  const elapsed = (now.at - then.at) / 1000;
  const rate = (name) => Math.max(0, (now.sums.get(name) ?? 0) - (then.sums.get(name) ?? 0)) / elapsed;
  const rows = rate("oribi_ingest_rows_total");
  byId("rate-rows").textContent = count(rows);
  byId("rate-acks").textContent = count(rate("oribi_mqtt_acks_total") + rate(WRITES));
  latency(now, then);
  trend.push(rows);
  if (trend.length > TREND_POINTS) trend.shift();
  drawTrend();
}

/** Who may not see the figures sees none. */
async function figures(signal) {
  try {
    return await metrics(signal);
  } catch (error) {
    if (error.problem?.status === 403) byId("rates").hidden = true;
    throw error;
  }
}

function latency(now, then) {
  const changed = (name) => (now.sums.get(`${name}_count`) ?? 0) > (then.sums.get(`${name}_count`) ?? 0);
  const name = ["oribi_mqtt_ack_seconds", "oribi_ingest_write_seconds"].find(changed);
  for (const [id, share] of [["rate-p50", 0.5], ["rate-p99", 0.99]]) {
    const took = name && quantile(now.buckets.get(`${name}_bucket`), then.buckets.get(`${name}_bucket`), share);
    const [number, unit] = took ? seconds(took) : ["–", ""];
    byId(id).replaceChildren(number, make("small", { textContent: unit }));
  }
}

function drawTrend() {
  const most = Math.max(...trend, 1);
  const points = trend.map((rows, place) => `${(96 * place) / (TREND_POINTS - 1)},${(21 - (20 * rows) / most).toFixed(1)}`);
  byId("rate-trend").firstElementChild.setAttribute("points", points.join(" "));
}
