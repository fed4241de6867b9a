// The newest rows of the table.

import { sql } from "./api.js";
import { byId, make, say } from "./dom.js";
import { moment, value } from "./format.js";
import { condition, sqlName, sqlText } from "./question.js";

const ROWS = 50;
// First a short look back from the last row, so that a large table is not read for its end.
const LOOK_BACK_S = [300, 7_200, 172_800, Infinity];

let seen = new Set();
let seenOf = "";

/** Forgets which rows were shown. */
export function clearRows() {
  seen = new Set();
  seenOf = "";
  byId("rows").replaceChildren();
  say(byId("rows-note"), "");
}

/** Reads and shows the newest rows that meet the state's condition, up to the second `to`. */
export async function showRows(state, table, to, signal) {
  const filter = condition(state);
  const last = Math.min(Date.parse(table.end ?? 0) / 1000, to);
  let answer;
  for (const back of LOOK_BACK_S) {
    answer = await sql(statement(table, filter, last - back, state.range === "custom" ? to : Infinity), signal);
    if (answer.rows.length === ROWS) break;
  }
  draw(answer, table, JSON.stringify([table.db, table.name, filter]));
}

function statement(table, filter, fromS, toS) {
  const moment = (s) => `TIMESTAMP ${sqlText(new Date(s * 1000).toISOString())}`;
  const parts = [];
  if (Number.isFinite(fromS)) parts.push(`time >= ${moment(fromS)}`);
  if (Number.isFinite(toS)) parts.push(`time < ${moment(toS)}`);
  if (filter) parts.push(`(${filter})`);
  const where = parts.length > 0 ? ` WHERE ${parts.join(" AND ")}` : "";
  return `SELECT * FROM ${sqlName(table.db)}.${sqlName(table.name)}${where} ORDER BY time DESC LIMIT ${ROWS}`;
}

function draw({ columns, rows }, table, of) {
  const kinds = new Map(table.columns.map((column) => [column.name, column]));
  const order = ["time", "tag", "field"];
  const places = columns.map((_, place) => place);
  const rank = (place) => order.indexOf(kinds.get(columns[place].name)?.kind ?? "field");
  places.sort((left, right) => rank(left) - rank(right) || left - right);
  // A column that none of these rows has only takes room.
  const filled = places.filter((place) => rows.some((row) => row[place] !== null));
  const isNumber = (place) => ["integer", "float"].includes(columns[place].type);
  const head = filled.map((place) => make("th", { scope: "col", class: isNumber(place) ? "number" : null, textContent: columns[place].name }));
  const isFirst = seenOf !== of;
  const now = new Set();
  const body = rows.map((row) => {
    const key = JSON.stringify(row);
    now.add(key);
    const cells = filled.map((place) => cell(row[place], rank(place), isNumber(place)));
    return make("tr", { class: !isFirst && !seen.has(key) ? "fresh" : null }, cells);
  });
  seen = now;
  seenOf = of;
  byId("rows").replaceChildren(make("thead", {}, make("tr", {}, head)), make("tbody", {}, body));
  say(byId("rows-note"), rows.length === 0 ? "no rows meet the condition" : `${rows.length}${rows.length === ROWS ? " newest" : ""}, times are local`);
}

function cell(content, rank, isNumber) {
  if (content === null) return make("td", { class: isNumber ? "number null" : "null", textContent: "–" });
  if (rank === 0) return make("td", { title: content, textContent: moment(Date.parse(content)) });
  const text = isNumber ? value(content) : String(content);
  return make("td", { class: isNumber ? "number" : rank === 1 ? "tag" : null, title: isNumber ? null : text, textContent: text });
}
