// The legend: every series with its values under the cursor, or its last ones.

import { make, swatch } from "./dom.js";
import { column, moment } from "./format.js";
import { style } from "./palette.js";

/** A legend in a table. `onToggle(key)` hears of a series to show or hide, `onPoint(key)` of one pointed at. */
export class Legend {
  #table;
  #onToggle;
  #onPoint;
  #model = null;
  #cells = [];
  #keys = [];
  #when = null;
  #built = "";

  constructor(table, { onToggle, onPoint }) {
    this.#table = table;
    this.#onToggle = onToggle;
    this.#onPoint = onPoint;
  }

  /** Shows the series of a model (see `Charts.show`); `isShown(key)` says which are drawn. */
  show(model, isShown) {
    this.#model = model;
    const built = JSON.stringify([model.key, model.fields, model.groups, model.dark]);
    if (built !== this.#built) this.#build(model);
    this.#built = built;
    model.groups.forEach(({ key }, place) => this.#keys[place].setAttribute("aria-pressed", String(isShown(key))));
  }

  #build(model) {
    this.#when = make("th", { scope: "col" });
    const names = model.fields.map((field) => make("th", { scope: "col", class: "number", textContent: field }));
    const rows = model.groups.map((group, place) => this.#row(group, place));
    this.#cells = rows.map(({ cells }) => cells);
    this.#keys = rows.map(({ key }) => key);
    this.#table.replaceChildren(
      make("thead", {}, make("tr", {}, this.#when, names)),
      make("tbody", {}, rows.map(({ row }) => row)),
    );
  }

  #row(group, place) {
    const key = make("button", {
      class: "key",
      type: "button",
      title: "Show or hide",
      onclick: () => this.#onToggle(group.key),
      onfocus: () => this.#onPoint(group.key),
      onblur: () => this.#onPoint(null),
    }, swatch(style(place)), group.label);
    const cells = this.#model.fields.map(() => make("td", { class: "number" }));
    const row = make("tr", { onmouseenter: () => this.#onPoint(group.key), onmouseleave: () => this.#onPoint(null) }, make("td", {}, key), cells);
    return { row, cells, key };
  }

  /** Fills in the values at a place of the times; `null`: the last ones. */
  point(place) {
    if (!this.#model || !this.#when) return;
    const { times, values } = this.#model;
    this.#when.textContent = place === null || times[place] === undefined ? "last value" : moment(times[place] * 1000);
    values.forEach((lines, field) => {
      const found = lines.map((line) => line[place ?? line.findLastIndex((number) => number !== null && number !== undefined)]);
      const written = column(found);
      found.forEach((number, group) => (this.#cells[group][field].textContent = written(number)));
    });
  }

  /** Shows nothing. */
  clear() {
    this.#model = null;
    this.#built = "";
    this.#table.replaceChildren();
  }
}
