// The charts: one a field, above each other, with one cursor and one axis of time.

import { make } from "./dom.js";
import { style, themed } from "./palette.js";

const SYNC = "oribi";
const HEIGHT_ALONE = 340;
const HEIGHT_STACKED = 210;
const HEIGHT_PHONE = 0.72;
const PHONE_WIDTH = 520;

/** Charts in an element. `onZoom([from, to])` hears of a range that was dragged, `onCursor(place)` of the cursor. */
export class Charts {
  #root;
  #onZoom;
  #onCursor;
  #plots = [];
  #shapeKey = "";
  #span = [0, 1];
  #model = null;
  #hidden = new Set();
  #width = 0;

  constructor(root, { onZoom, onCursor }) {
    this.#root = root;
    this.#onZoom = onZoom;
    this.#onCursor = onCursor;
    new ResizeObserver(() => this.#resize()).observe(root);
    root.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Shows a model: `times`, `groups`, `values`, `titles` (one a field), `span`, `key` (of the question's form). */
  show(model) {
    this.#model = model;
    this.#span = model.span;
    const shapeKey = JSON.stringify([model.key, model.titles, model.groups.map(({ key }) => key), this.#root.clientWidth > 0]);
    if (shapeKey !== this.#shapeKey || this.#plots.length === 0) {
      this.#shapeKey = shapeKey;
      this.#build();
      return;
    }
    this.#plots.forEach((plot, place) => plot.setData([model.times, ...model.values[place]]));
    this.#onCursor(this.#plots[0]?.cursor.idx ?? null);
  }

  /** Draws anew, in the colours of the theme as it is now. */
  repaint() {
    if (this.#model) this.#build();
  }

  /** Puts words where the charts would be. */
  clear(...words) {
    this.#destroy();
    this.#model = null;
    this.#root.replaceChildren(make("div", { class: "nothing" }, words));
  }

  /** Shows or hides the series of this key in all charts. */
  toggle(key) {
    if (!this.#hidden.delete(key)) this.#hidden.add(key);
    this.#eachSeries((plot, place, group) => plot.setSeries(place, { show: !this.#hidden.has(group.key) }));
  }

  /** Whether the series of this key is shown. */
  isShown(key) {
    return !this.#hidden.has(key);
  }

  /** Lets one series stand out; `null`: none. */
  focus(key) {
    for (const plot of this.#plots) {
      const place = this.#model.groups.findIndex((group) => group.key === key);
      plot.setSeries(place < 0 ? null : place + 1, { focus: place >= 0 });
    }
  }

  #eachSeries(act) {
    for (const plot of this.#plots) this.#model.groups.forEach((group, place) => act(plot, place + 1, group));
  }

  #destroy() {
    for (const plot of this.#plots) plot.destroy();
    this.#plots = [];
  }

  #build() {
    this.#destroy();
    const { titles, times, values } = this.#model;
    this.#width = this.#root.clientWidth;
    const boxes = titles.map((title) => make("div", { class: "chart" }, make("h3", { textContent: title })));
    this.#root.replaceChildren(...boxes);
    this.#plots = boxes.map((box, place) => new uPlot(this.#options(place), [times, ...values[place]], box));
    this.#onCursor(null);
  }

  #height() {
    const height = this.#model.titles.length > 1 ? HEIGHT_STACKED : HEIGHT_ALONE;
    return Math.round(this.#width < PHONE_WIDTH ? height * HEIGHT_PHONE : height);
  }

  #resize() {
    const width = this.#root.clientWidth;
    if (!this.#model || width === 0 || width === this.#width) return;
    this.#width = width;
    for (const plot of this.#plots) plot.setSize({ width, height: this.#height() });
  }

  #options(place) {
    const axis = {
      stroke: themed("--muted"),
      font: "12px system-ui, sans-serif",
      grid: { stroke: themed("--grid"), width: 1 },
      ticks: { stroke: themed("--grid"), width: 1, size: 5 },
    };
    const series = this.#model.groups.map((group, at) => {
      const { color, dash } = style(at);
      return { label: group.label, stroke: color, dash, width: 1.75, show: !this.#hidden.has(group.key), points: { size: 5 }, spanGaps: false };
    });
    return {
      width: this.#width,
      height: this.#height(),
      legend: { show: false },
      // Room for half a label of the time axis.
      padding: [10, 22, 0, 0],
      cursor: { sync: { key: SYNC }, drag: { x: true, y: false, setScale: false }, focus: { prox: 24 }, points: { size: 7 } },
      focus: { alpha: 0.25 },
      scales: { x: { time: true, range: () => this.#span } },
      axes: [{ ...axis, space: 72, values: TIME_LABELS }, { ...axis, size: axisWidth, values: (_, ticks) => ticks.map(tickLabel) }],
      series: [{}, ...series],
      hooks: {
        setCursor: [(plot) => plot === this.#plots[0] && this.#onCursor(plot.cursor.idx ?? null)],
        setSelect: [(plot) => this.#zoom(plot)],
      },
    };
  }

  #zoom(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const range = [left, left + width].map((at) => plot.posToVal(at, "x"));
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.#onZoom(range);
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const [plot] = this.#plots;
    if (!step || !plot || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const { times } = this.#model;
    const now = plot.cursor.idx ?? (step > 0 ? -1 : times.length);
    const next = Math.min(Math.max(now + step * (event.shiftKey ? 10 : 1), 0), times.length - 1);
    for (const each of this.#plots) each.setCursor({ left: each.valToPos(times[next], "x"), top: each.over.clientHeight / 2 });
  }
}

// How times are labelled by the distance of the labels, s: usual, then as a new year, month, day, hour, minute and
// second begins; 1 puts the latter on a line of its own.
const DAY = "\n{D} {MMM}";
const TIME_LABELS = [
  [31_536_000, "{YYYY}", null, null, null, null, null, null, 1],
  [2_419_200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86_400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", `${DAY} {YYYY}`, null, DAY, null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", `${DAY} {YYYY}`, null, DAY, null, null, null, 1],
  [0.001, "{ss}.{fff}", `${DAY} {YYYY} {HH}:{mm}`, null, `${DAY} {HH}:{mm}`, null, "\n{HH}:{mm}", null, 1],
];

const tickFormat = new Intl.NumberFormat("en", { maximumSignificantDigits: 8 });
const tickShort = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 6 });
const tickLabel = (tick) => (Math.abs(tick) >= 1e5 ? tickShort : tickFormat).format(tick);

// As wide as the longest label, so that charts above each other stay aligned for the same magnitudes.
function axisWidth(plot, labels) {
  const PIXELS_A_CHARACTER = 7.2;
  const longest = (labels ?? []).reduce((most, text) => Math.max(most, text.length), 4);
  return Math.ceil(longest * PIXELS_A_CHARACTER) + 16;
}
