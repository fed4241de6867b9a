// From the state of the form to the question as it is sent.

import { address } from "./api.js";
import { curlHeader } from "./login.js";
import { autoWindow, isCalendar, span } from "./ranges.js";

/** Functions and what they are called in the form. */
export const FUNCTIONS = [
  ["mean", "mean"], ["min", "min"], ["max", "max"], ["sum", "sum"], ["count", "count"], ["first", "first"], ["last", "last"],
  ["median", "median"], ["p95", "95th percentile"], ["p99", "99th percentile"], ["stddev", "standard deviation"],
  ["delta", "delta (last − first)"], ["rate", "rate per second"],
];

/** Functions that take fields of any type; the others take numbers. */
export const TAKES_ANY = new Set(["count"]);

/** Functions whose value depends on how much of a window was in the range. */
export const ADDS_UP = new Set(["sum", "count", "delta"]);

const quote = (name) => `"${name.replaceAll('"', '""')}"`;

/** A name as it is written in SQL and in `where`. */
export const sqlName = quote;

/** A text as it is written in SQL and in `where`. */
export const sqlText = (text) => `'${text.replaceAll("'", "''")}'`;

/** A name within `select` and `group_by`: quoted only where it must be. */
export const listName = (name) => (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : quote(name));

/** The condition of a state, from its tag and its text. */
export function condition(state) {
  const parts = [];
  if (state.tag && state.is) parts.push(`${sqlName(state.tag)} = ${sqlText(state.is)}`);
  if (state.where.trim()) parts.push(parts.length > 0 ? `(${state.where.trim()})` : state.where.trim());
  return parts.join(" AND ");
}

/** This browser's time zone. */
export const localZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/**
 * The question of a state: `params` as sent, `span` as `[from, to]` in seconds, `window`, and the fields in
 * the order of the answer's columns. `null` where the state asks nothing.
 */
export function question(state, table) {
  const range = table && state.fields.length > 0 ? span(state, table) : null;
  if (!range) return null;
  const window = state.window === "auto" ? autoWindow(range[1] - range[0]) : state.window;
  const iso = (s) => new Date(s * 1000).toISOString().replace(".000Z", "Z");
  const times = { custom: { start: iso(range[0]), end: iso(range[1]) }, all: {} };
  const params = {
    db: table.db === "default" ? undefined : table.db,
    table: table.name,
    select: state.fields.map((field) => `${state.fn}(${listName(field)})`).join(", "),
    window,
    timezone: isCalendar(window) && state.zone === "local" ? localZone() : undefined,
    ...(times[state.range] ?? { start: `-${state.range}`, end: "now" }),
    where: condition(state),
    group_by: state.by.map(listName).join(","),
    fill: state.fill === "none" ? undefined : state.fill,
  };
  return { params, span: range, window, fields: state.fields };
}

/** The question as an address. */
export const questionUrl = (asked) => String(address("api/v1/query", asked.params));

const shell = (text) => (/^[A-Za-z0-9_./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** The question as a curl line. */
export function questionCurl(asked) {
  const parts = Object.entries(asked.params)
    .filter(([, value]) => value !== undefined && value !== "")
    .map(([name, value]) => `--data-urlencode ${shell(`${name}=${value}`)}`);
  return [`curl -G${curlHeader()} ${shell(String(address("api/v1/query")))}`, ...parts].join(" \\\n  ");
}

/** The question in words. */
export function questionWords(state, asked) {
  const what = asked.fields.map((field) => `${state.fn}(${field})`).join(", ");
  const by = state.by.length > 0 ? ` by ${state.by.join(", ")}` : "";
  return `${what}${by}, windows of ${asked.window}`;
}
