// The cluster as the node that serves this page sees it.

import { cluster, tablets } from "./api.js";
import { byId, make, say } from "./dom.js";
import { bytes, count, moment } from "./format.js";
import { Poller } from "./poller.js";

const CLUSTER_MS = 1_000;
const UNWELL_MAX = 50;
const SEEN_MAX = 50;

let before = null;

function note(text) {
  const seen = byId("seen");
  seen.prepend(make("li", { textContent: `${new Date().toLocaleTimeString()}  ${text}` }));
  while (seen.children.length > SEEN_MAX) seen.lastChild.remove();
}

/** Says what is other than it was a moment ago. */
function compare(now) {
  if (before) {
    const states = new Map(before.nodes.map((node) => [node.id, node.state]));
    for (const { id, state } of now.nodes) {
      const was = states.get(id);
      if (was === undefined) note(`node ${id} joined`);
      else if (was !== state) note(`node ${id} was ${was} and is ${state}`);
    }
    if (before.catalog.leader !== now.catalog.leader) {
      note(now.catalog.leader === null ? "the catalog has no leader" : `node ${now.catalog.leader} leads the catalog`);
    }
  }
  before = now;
}

function nodeRow(node, self, most) {
  const bar = make("div", { class: "bar-of" });
  bar.style.width = `${(100 * node.leaders) / Math.max(most, 1)}%`;
  const state = make("td", { class: node.state === "up" ? "state" : "state unwell", textContent: node.state });
  state.title = node.failure ?? "";
  return make(
    "tr",
    {},
    make("td", { textContent: node.id === self ? `${node.id} (this one)` : node.id }),
    state,
    make("td", { class: "number", textContent: count(node.leaders) }),
    make("td", { class: "wide" }, bar),
    make("td", { class: "number", textContent: count(node.replicas) }),
    make("td", { class: "number", textContent: typeof node.disk_free_bytes === "number" ? bytes(node.disk_free_bytes) : "" }),
    make("td", { textContent: typeof node.heard_ms === "number" ? `${count(node.heard_ms)} ms ago` : "" }),
    make("td", { textContent: node.http }),
    make("td", { textContent: node.version }),
  );
}

function show(now) {
  byId("cluster-id").textContent = `cluster ${now.cluster_id.slice(0, 8)}`;
  const most = Math.max(0, ...now.nodes.map((node) => node.leaders));
  byId("nodes").replaceChildren(...now.nodes.map((node) => nodeRow(node, now.self, most)));
  const { leader, voters, applied } = now.catalog;
  const led = leader === null ? "is led by nobody" : `is led by node ${leader}`;
  byId("catalog").textContent = `The catalog ${led} (term ${now.epoch}, change ${count(applied)}); nodes ${voters.join(", ")} vote on it.`;
  const words = { total: "in all", healthy: "healthy", under_replicated: "with too few replicas", leaderless: "without a leader", damaged: "damaged" };
  const counts = Object.entries(words).map(([name, word]) =>
    make("div", {}, make("dt", { textContent: word }), make("dd", { textContent: count(now.tablets[name] ?? 0) })),
  );
  byId("counts").replaceChildren(...counts);
  const elected = ({ at, leader: node, tablets: led }) =>
    make("li", { textContent: `${at === null ? "" : moment(Date.parse(at))}  node ${node} has come to lead ${count(led)}` });
  byId("elections").replaceChildren(...now.elections.map(elected).reverse());
}

function showMoves(moves) {
  byId("moves").hidden = moves.length === 0;
  const row = (move) =>
    make(
      "tr",
      {},
      make("td", { textContent: move.tablet }),
      make("td", { textContent: move.from ?? "" }),
      make("td", { textContent: move.to ?? "" }),
      make("td", { textContent: move.phase }),
      make("td", { class: "number", textContent: bytes(move.bytes) }),
      make("td", { class: "number", textContent: bytes(move.bytes_total) }),
    );
  byId("move-rows").replaceChildren(...moves.slice(0, UNWELL_MAX).map(row));
}

function showUnwell(all) {
  const isUnwell = (tablet) => tablet.leader === null || tablet.replicas.some((replica) => replica.state !== "ok");
  const unwell = all.filter(isUnwell).slice(0, UNWELL_MAX);
  byId("unwell").hidden = unwell.length === 0;
  const lag = (replica) => (replica.state === "lagging" && replica.lag ? ` (${count(replica.lag)} entries)` : "");
  const replica = (one) => (one.state === "ok" ? `${one.node}` : `${one.node} ${one.state}${lag(one)}`);
  const rows = unwell.map((tablet) =>
    make(
      "tr",
      {},
      make("td", { textContent: tablet.id }),
      make("td", { textContent: `${tablet.db}.${tablet.table}` }),
      make("td", { textContent: tablet.leader ?? "nobody" }),
      make("td", { textContent: tablet.replicas.map(replica).join(", ") }),
    ),
  );
  byId("unwell-rows").replaceChildren(...rows);
}

async function look(signal) {
  try {
    const now = await cluster(signal);
    compare(now);
    show(now);
    showMoves(now.moves);
    const { total, healthy } = now.tablets;
    showUnwell(healthy < total ? await tablets(signal) : []);
    say(byId("problem"), null);
    return true;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    say(byId("problem"), error.message);
    return false;
  }
}

new Poller(look, CLUSTER_MS).start();
