// From an answer's rows to what a chart draws: one shared axis of times, one array of values a series.

import { SERIES_MAX } from "./palette.js";

// A line is broken where a series was silent for so many of its usual steps.
const SILENT_STEPS = 4;

const label = (tags) => (tags.length === 0 ? "all rows" : tags.map((tag) => tag ?? "(none)").join(" · "));

/**
 * Shapes an answer whose columns are time, then the tags of `by`, then the values of `fields`.
 *
 * Gives `times` (seconds), `groups` (`key`, `label`), `values[field][group]` aligned to `times`, and how many
 * `groups_total` there are before the chart's bound. A `null` breaks a line, `undefined` is bridged.
 */
export function shape(answer, { by, fields, fill, windowS }) {
  const groups = new Map();
  const moments = new Map();
  for (const row of answer.rows) {
    if (row[0] === null) continue;
    const tags = row.slice(1, 1 + by.length);
    const key = JSON.stringify(tags);
    let group = groups.get(key);
    if (!group) groups.set(key, (group = { key, label: label(tags), rows: [] }));
    let time = moments.get(row[0]);
    if (time === undefined) moments.set(row[0], (time = Date.parse(row[0]) / 1000));
    group.rows.push([time, row.slice(1 + by.length)]);
  }
  const byLabel = new Intl.Collator("en", { numeric: true });
  const sorted = [...groups.values()].sort((left, right) => byLabel.compare(left.label, right.label));
  const shown = sorted.slice(0, SERIES_MAX);
  const isDense = fill !== "none";
  const lines = fields.map((_, place) => shown.map((group) => line(group.rows, place, { isDense, windowS })));
  const times = [...new Set(lines.flat().flatMap((points) => [...points.keys()]))].sort((left, right) => left - right);
  return {
    times,
    groups: shown.map(({ key, label }) => ({ key, label })),
    groups_total: sorted.length,
    values: lines.map((ofField) => ofField.map((points) => align(points, times))),
  };
}

// The values at all times. From a null to the next value there is nothing to bridge.
function align(points, times) {
  let last;
  return times.map((time) => {
    const value = points.get(time);
    if (value !== undefined) last = value;
    return value === undefined && last === null ? null : value;
  });
}

// The points of one series by time.
function line(rows, place, { isDense, windowS }) {
  const points = new Map();
  const given = [];
  for (const [time, values] of rows) {
    const value = number(values[place]);
    if (value !== null) given.push(time);
    if (value !== null || isDense) points.set(time, value);
  }
  if (!isDense) {
    const steps = given.slice(1).map((time, at) => time - given[at]);
    const usual = [...steps].sort((left, right) => left - right)[Math.floor(steps.length / 2)] ?? windowS;
    steps.forEach((step, at) => {
      if (step > Math.max(SILENT_STEPS * usual, 1.5 * windowS)) points.set(given[at] + windowS, null);
    });
  }
  return points;
}

const number = (value) => (typeof value === "boolean" ? Number(value) : typeof value === "number" ? value : null);

/** Leaves out the first and last window where the range cuts them: what adds up would seem to fall there. */
export function withoutCutEdges(answer, [from, to], windowS) {
  const rows = answer.rows.filter(([time]) => {
    const start = Date.parse(time) / 1000;
    return start > from && start + windowS <= to;
  });
  return rows.length > 0 ? { ...answer, rows } : answer;
}
