// Ranges of time and lengths of windows.

/** Ranges up to now: name, words, seconds. */
export const RANGES = [
  ["15m", "15 min", 900],
  ["1h", "1 h", 3_600],
  ["6h", "6 h", 21_600],
  ["24h", "24 h", 86_400],
  ["7d", "7 d", 604_800],
  ["30d", "30 d", 2_592_000],
  ["all", "All", Infinity],
  ["custom", "Custom", NaN],
];

/** Windows that the form offers, and their seconds; months and years by their mean. */
export const WINDOWS = [
  ["1s", 1], ["2s", 2], ["5s", 5], ["10s", 10], ["15s", 15], ["30s", 30],
  ["1m", 60], ["2m", 120], ["5m", 300], ["10m", 600], ["15m", 900], ["30m", 1_800],
  ["1h", 3_600], ["2h", 7_200], ["3h", 10_800], ["6h", 21_600], ["12h", 43_200],
  ["1d", 86_400], ["1w", 604_800], ["1mo", 2_629_746], ["1y", 31_556_952],
];

const FINER = [["1ms", 0.001], ["2ms", 0.002], ["5ms", 0.005], ["10ms", 0.01], ["20ms", 0.02], ["50ms", 0.05], ["100ms", 0.1], ["200ms", 0.2], ["500ms", 0.5]];
const POINTS = 300;

/** The window that cuts so many seconds into about 150 to 300 parts. */
export function autoWindow(spanS) {
  const all = [...FINER, ...WINDOWS];
  const fits = all.find(([, seconds]) => seconds * POINTS >= spanS);
  return (fits ?? all.at(-1))[0];
}

/** Seconds of a window such as `5m`; `undefined` where it is none. */
export function windowSeconds(text) {
  const known = [...FINER, ...WINDOWS].find(([name]) => name === text);
  if (known) return known[1];
  const parts = /^(\d+)(ns|us|ms|s|m|h|d|w|mo|y)$/.exec(text);
  const units = { ns: 1e-9, us: 1e-6, ms: 0.001, s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800, mo: 2_629_746, y: 31_556_952 };
  return parts ? Number(parts[1]) * units[parts[2]] : undefined;
}

/** Whether windows of this length follow the calendar, so that a time zone matters. */
export const isCalendar = (window) => /^\d+(d|w|mo|y)$/.test(window);

/**
 * From when to when the state asks, in seconds since the epoch; `null` where nothing is asked that way.
 * `table` gives the ends for "all".
 */
export function span(state, table, nowS = Date.now() / 1000) {
  if (state.range === "custom") return state.from < state.to ? [state.from, state.to] : null;
  if (state.range === "all") {
    if (!table.start) return null;
    const first = Date.parse(table.start) / 1000;
    return [first, Math.max(Date.parse(table.end) / 1000, first + 1)];
  }
  const [, , seconds] = RANGES.find(([name]) => name === state.range) ?? RANGES[1];
  return [nowS - seconds, nowS];
}

/** The shortest range up to now that reaches a table's last row. */
export function rangeFor(table, nowS = Date.now() / 1000) {
  if (!table.end) return "1h";
  const age = nowS - Date.parse(table.end) / 1000;
  return ["1h", "24h", "7d", "30d"].find((name) => RANGES.find(([known]) => known === name)[2] > age) ?? "all";
}
