// The page: a state, the question it asks, and the answer drawn, again and again while it is live.

import { address, node, query, tables as allTables } from "./api.js";
import { Charts } from "./chart.js";
import { byId, make, say } from "./dom.js";
import { showFirstRow } from "./first-row.js";
import { Form, tableKey } from "./form.js";
import { count } from "./format.js";
import { listen } from "./keys.js";
import { Legend } from "./legend.js";
import { isDark } from "./palette.js";
import { Poller } from "./poller.js";
import { quietly, reported } from "./problem.js";
import { ADDS_UP, question, questionCurl, questionUrl, questionWords } from "./question.js";
import { rangeFor, windowSeconds } from "./ranges.js";
import { showRates } from "./rates.js";
import { clearRows, showRows } from "./rows.js";
import { shape, withoutCutEdges } from "./series.js";
import { copy } from "./share.js";
import { read, write } from "./state.js";
import { likelyTag } from "./suggest.js";

const ANSWER_MS = 1_000;
const ROWS_MS = 2_000;
const RATES_MS = 2_000;
const TABLES_MS = 5_000;
const FIRST_ROW_MS = 1_000;
const ZOOM_S_MIN = 0.01;

let { state, given } = read(location.hash);
let tables = [];
let table = null;

const form = new Form(change);
const charts = new Charts(byId("charts"), {
  onZoom: ([from, to]) => to - from >= ZOOM_S_MIN && change({ range: "custom", from, to }),
  onCursor: (place) => legend.point(place),
});
const legend = new Legend(byId("legend"), { onToggle: toggle, onPoint: (key) => charts.focus(key) });

const answers = new Poller(reported("answer", showAnswer), ANSWER_MS);
const rows = new Poller(reported("rows", showNewest), ROWS_MS);
const rates = new Poller(quietly(showRates), RATES_MS);
const lists = new Poller(reported("tables", readTables), TABLES_MS);

// Takes over what the user changed, and asks anew.
async function change(changes) {
  if ("key" in changes) await choose(tables.find((each) => tableKey(each) === changes.key));
  else Object.assign(state, changes);
  if (changes.range === "custom" && !(state.from < state.to)) {
    const now = Date.now() / 1000;
    Object.assign(state, { from: now - 3_600, to: now });
  }
  present();
}

// Goes to a table and asks for what is likely of use there.
async function choose(next, keep = new Set(), signal = undefined) {
  const tag = keep.has("by") ? undefined : await likelyTag(next, signal);
  table = next;
  state.db = next.db;
  state.table = next.name;
  const of = (kind) => next.columns.filter((column) => column.kind === kind);
  const numbers = of("field").filter(({ type }) => type === "float" || type === "integer");
  const first = numbers.find(({ type }) => type === "float") ?? numbers[0];
  if (!keep.has("fields")) state.fields = first ? [first.name] : of("field").slice(0, 1).map(({ name }) => name);
  if (!keep.has("fn")) state.fn = first ? "mean" : "count";
  if (!keep.has("by")) state.by = tag === undefined ? [] : [tag];
  if (!keep.has("range")) state.range = rangeFor(next);
  if (keep.size === 0) Object.assign(state, { tag: "", is: "", where: "" });
}

// Shows the state everywhere and asks its question.
function present() {
  history.replaceState(null, "", write(state));
  form.show(state, tables, table);
  const asked = question(state, table);
  byId("ask-words").textContent = `${table.name}: ${asked ? questionWords(state, asked) : "choose a field"}`;
  byId("curl").textContent = asked ? questionCurl(asked) : "";
  for (const id of ["copy-url", "copy-curl"]) byId(id).disabled = !asked;
  byId("charts").classList.add("stale");
  for (const poller of [answers, rows]) {
    if (state.live) poller.start();
    else {
      poller.stop();
      poller.now();
    }
  }
}

async function showAnswer(signal) {
  const asked = question(state, table);
  if (!asked) {
    legend.clear();
    say(byId("note"), "");
    say(byId("status"), "");
    charts.clear("Choose a field to see it.");
    byId("charts").classList.remove("stale");
    return;
  }
  const started = performance.now();
  let answer = await query(asked.params, signal);
  const took = performance.now() - started;
  const windowS = windowSeconds(asked.window) ?? 1;
  if (ADDS_UP.has(state.fn) && state.fill === "none") answer = withoutCutEdges(answer, asked.span, windowS);
  draw(asked, shape(answer, { by: state.by, fields: asked.fields, fill: state.fill, windowS }));
  const scanned = answer.stats.rows_scanned === undefined ? "" : ` from ${count(answer.stats.rows_scanned)} rows`;
  say(byId("status"), `${count(answer.stats.rows)} windows${scanned} in ${answer.stats.elapsed_ms.toFixed(1)} ms (${took.toFixed(0)} ms to here), each ${asked.window} long`);
  byId("charts").classList.remove("stale");
  await form.showValues(state, asked, signal);
}

function draw(asked, shaped) {
  const model = {
    ...shaped,
    fields: asked.fields,
    titles: asked.fields.map((field) => `${state.fn}(${field})`),
    span: asked.span,
    dark: isDark(),
    key: JSON.stringify([table.db, table.name, state.by]),
  };
  const hidden = shaped.groups_total - shaped.groups.length;
  say(byId("note"), hidden > 0 ? `${shaped.groups.length} of ${shaped.groups_total} series are shown. Group by fewer tags, or set a condition, to see others.` : "");
  byId("charts").setAttribute("aria-label", `${questionWords(state, asked)}: ${shaped.groups.length} series. Their values are in the table below.`);
  if (shaped.times.length === 0) {
    legend.clear();
    charts.clear("No values in this range.", "Try a longer range, or another condition.");
    return;
  }
  legend.show(model, (key) => charts.isShown(key));
  charts.show(model);
}

function toggle(key) {
  charts.toggle(key);
  answers.now();
}

async function showNewest(signal) {
  const to = state.range === "custom" ? state.to : Infinity;
  await showRows(state, table, to, signal);
}

async function readTables(signal) {
  const user = (each) => (each.name.startsWith("_") ? 1 : 0);
  const found = (await allTables(signal)).filter((each) => each.columns.some(({ kind }) => kind === "field"));
  tables = found.sort((left, right) => user(left) - user(right));
  byId("rate-stored").textContent = count(tables.reduce((sum, each) => sum + each.rows, 0));
  const hasRows = tables.length > 0;
  byId("app").hidden = !hasRows;
  if (!hasRows) {
    if (byId("first-row").hidden) showFirstRow(await node(signal));
    byId("first-row").hidden = false;
    table = null;
    answers.stop();
    rows.stop();
    lists.every(FIRST_ROW_MS);
    return;
  }
  lists.every(TABLES_MS);
  byId("first-row").hidden = true;
  const now = tables.find((each) => each.db === (state.db || "default") && each.name === state.table);
  if (now && table) {
    const columns = JSON.stringify(now.columns);
    const grew = columns !== JSON.stringify(table.columns);
    table = now;
    if (grew) form.show(state, tables, table);
    return;
  }
  await choose(now ?? tables[0], now ? given : new Set(), signal);
  given = new Set();
  present();
}

function setTheme() {
  const root = document.documentElement;
  const order = [undefined, "light", "dark"];
  const next = order[(order.indexOf(root.dataset.theme) + 1) % order.length];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  try {
    if (next) localStorage.setItem("oribi-theme", next);
    else localStorage.removeItem("oribi-theme");
  } catch {
    // Storage may be forbidden; the theme then lasts as long as the page.
  }
  themeChanged();
}

function themeChanged() {
  byId("theme").textContent = `Theme: ${document.documentElement.dataset.theme ?? "system"}`;
  charts.repaint();
  if (table) answers.now();
}

async function begin() {
  byId("theme").addEventListener("click", setTheme);
  byId("theme").textContent = `Theme: ${document.documentElement.dataset.theme ?? "system"}`;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themeChanged);
  byId("ask-toggle").addEventListener("click", () => {
    const isOpen = byId("ask-toggle").getAttribute("aria-expanded") === "true";
    byId("ask-toggle").setAttribute("aria-expanded", String(!isOpen));
  });
  byId("copy-url").addEventListener("click", (event) => copy(questionUrl(question(state, table)), event.currentTarget));
  byId("copy-curl").addEventListener("click", (event) => copy(byId("curl").textContent, event.currentTarget));
  byId("copy-link").addEventListener("click", (event) => copy(String(location), event.currentTarget));
  addEventListener("hashchange", () => {
    ({ state, given } = read(location.hash));
    table = null;
    clearRows();
    lists.now();
  });
  listen({ onRange: (range) => change({ range }) });
  lists.start();
  rates.start();
  document.title = `Oribi at ${address("").host}`;
  byId("version").textContent = (await node()).version;
}

begin();
