// The form: what there is to choose, and what is chosen.

import { query } from "./api.js";
import { byId, fillSelect, make } from "./dom.js";
import { FUNCTIONS, TAKES_ANY, listName, localZone } from "./question.js";
import { RANGES, WINDOWS } from "./ranges.js";
import { inputMoment } from "./format.js";

const FILLS = [["none", "not at all"], ["null", "with gaps"], ["previous", "with the value before"], ["linear", "in a straight line"], ["0", "with 0"]];
const VALUES_MAX = 500;

/** A name for a table that is unique over all databases. */
export const tableKey = ({ db, name }) => JSON.stringify([db, name]);

/** The form over a state. `onChange(changes)` hears of members of the state that the user changed. */
export class Form {
  #onChange;
  #valuesOf = "";
  #parts;

  constructor(onChange) {
    this.#onChange = onChange;
    this.#parts = build(onChange);
    byId("ask").addEventListener("submit", (event) => event.preventDefault());
    byId("ranges").append(
      ...RANGES.map(([name, words], place) =>
        make("button", { type: "button", textContent: words, value: name, "aria-keyshortcuts": String(place + 1), onclick: () => onChange({ range: name }) }),
      ),
    );
    for (const id of ["from", "to"]) {
      byId(id).addEventListener("change", () => {
        const ms = new Date(byId(id).value).getTime();
        if (Number.isFinite(ms)) onChange({ range: "custom", [id]: ms / 1000 });
      });
    }
    byId("live").addEventListener("change", (event) => onChange({ live: event.target.checked }));
  }

  /** Shows a state over these tables, of which `table` is chosen. */
  show(state, tables, table) {
    const parts = this.#parts;
    const databases = new Set(tables.map(({ db }) => db));
    const title = ({ db, name }) => (databases.size > 1 ? `${db} · ${name}` : name);
    fillSelect(parts.table, tables.map((each) => [tableKey(each), title(each)]), tableKey(table));
    fillSelect(parts.fn, FUNCTIONS, state.fn);
    fillSelect(parts.window, [["auto", "automatic"], ...WINDOWS.map(([name]) => [name, name]), ...other(state.window)], state.window);
    fillSelect(parts.fill, FILLS, state.fill);
    fillSelect(parts.zone, [["local", localZone()], ["utc", "UTC"]], state.zone);
    const ofKind = (kind) => table.columns.filter((column) => column.kind === kind);
    const isFit = ({ type }) => TAKES_ANY.has(state.fn) || type === "integer" || type === "float";
    chips(parts.fields, "field", ofKind("field").map((column) => [column.name, state.fields.includes(column.name), isFit(column)]), (fields) => this.#onChange({ fields }));
    chips(parts.by, "tag", ofKind("tag").map((column) => [column.name, state.by.includes(column.name), true]), (by) => this.#onChange({ by }));
    fillSelect(parts.tag, [["", "any rows"], ...ofKind("tag").map(({ name }) => [name, name])], state.tag);
    parts.is.disabled = !state.tag;
    if (document.activeElement !== parts.is) parts.is.value = state.is;
    if (document.activeElement !== parts.where) parts.where.value = state.where;
    for (const button of byId("ranges").children) button.setAttribute("aria-pressed", String(button.value === state.range));
    byId("custom").hidden = state.range !== "custom";
    if (state.range === "custom") {
      for (const id of ["from", "to"]) if (document.activeElement !== byId(id)) byId(id).value = inputMoment(state[id] * 1000);
    }
    byId("live").checked = state.live;
  }

  /** Fetches the values of the chosen tag in the range asked, for the list beside it. */
  async showValues(state, asked, signal) {
    const of = JSON.stringify([state.db, state.table, state.tag, state.range]);
    if (!state.tag || !asked || of === this.#valuesOf) return;
    const { db, table, start, end } = asked.params;
    const params = { db, table, start, end, select: "count(*)", group_by: listName(state.tag), limit: VALUES_MAX };
    const { rows } = await query(params, signal);
    this.#valuesOf = of;
    this.#parts.values.replaceChildren(...rows.filter((row) => row[1]).map((row) => make("option", { value: row[1] })));
  }
}

const other = (window) => (window === "auto" || WINDOWS.some(([name]) => name === window) ? [] : [[window, window]]);

function build(onChange) {
  const changed = (name) => (event) => onChange({ [name]: event.target.value });
  const select = (name) => make("select", { id: `ask-${name}`, onchange: changed(name) });
  const parts = {
    table: make("select", { id: "ask-table", onchange: (event) => onChange({ key: event.target.value }) }),
    fields: make("div", { class: "chips" }),
    by: make("div", { class: "chips" }),
    fn: select("fn"),
    window: select("window"),
    fill: select("fill"),
    zone: select("zone"),
    tag: make("select", { id: "ask-tag", "aria-label": "Tag", onchange: (event) => onChange({ tag: event.target.value, is: "" }) }),
    is: make("input", { id: "ask-is", type: "text", "aria-label": "Value of the tag", placeholder: "value", onchange: changed("is") }),
    values: make("datalist", { id: "ask-values" }),
    where: make("input", { id: "ask-where", type: "text", spellcheck: false, placeholder: "temperature > 20", "aria-keyshortcuts": "/", onchange: changed("where") }),
  };
  parts.is.setAttribute("list", "ask-values");
  const labelled = (words, part) => make("div", {}, make("label", { class: "label", for: part.id, textContent: words }), part);
  const group = (words, ...inside) => make("fieldset", {}, make("legend", { textContent: words }), ...inside);
  byId("ask").append(
    labelled("Table", parts.table),
    group("Fields", parts.fields),
    make("div", { class: "pair" }, labelled("Function", parts.fn), labelled("Window", parts.window)),
    group("Group by", parts.by),
    group("Only where", make("div", { class: "pair" }, parts.tag, parts.is), parts.values),
    labelled("And this condition holds (SQL)", parts.where),
    make("details", {}, make("summary", { textContent: "Gaps and time zone" }),
      make("div", {}, labelled("Fill empty windows", parts.fill), labelled("Days, weeks, months of", parts.zone))),
  );
  return parts;
}

// A row of check boxes that look like chips; only rebuilt when what there is changes, so that the focus stays.
function chips(box, name, entries, onPick) {
  const names = JSON.stringify(entries.map(([text]) => text));
  if (box.dataset.names !== names) {
    box.dataset.names = names;
    const picked = () => onPick([...box.querySelectorAll("input:checked")].map((input) => input.value));
    const chip = ([text]) => make("label", { class: "chip", title: text }, make("input", { type: "checkbox", name, value: text, onchange: picked }), make("span", { textContent: text }));
    box.replaceChildren(...(entries.length > 0 ? entries.map(chip) : [make("span", { class: "muted", textContent: "none" })]));
  }
  const inputs = [...box.querySelectorAll("input")];
  entries.forEach(([, checked, enabled], place) => {
    inputs[place].checked = checked;
    inputs[place].disabled = !enabled && !checked;
  });
}
