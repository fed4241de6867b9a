// What to ask of a table that was just chosen.

import { ApiError, sql } from "./api.js";
import { SERIES_MAX } from "./palette.js";
import { sqlName, sqlText } from "./question.js";

const LOOK_BACK_S = 3_600;

/** The tag that makes the most series a chart can show, by the last hour of the table; else its last one. */
export async function likelyTag(table, signal) {
  const tags = table.columns.filter(({ kind }) => kind === "tag").map(({ name }) => name);
  if (tags.length < 2 || !table.end) return tags.at(-1);
  const from = new Date(Date.parse(table.end) - LOOK_BACK_S * 1000).toISOString();
  const counts = tags.map((tag, place) => `count(DISTINCT ${sqlName(tag)}) AS n${place}`);
  const source = `${sqlName(table.db)}.${sqlName(table.name)} WHERE time >= TIMESTAMP ${sqlText(from)}`;
  let sizes;
  try {
    [sizes] = (await sql(`SELECT ${counts.join(", ")} FROM ${source}`, signal)).rows;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return tags.at(-1);
  }
  // Of equal ones the last: tags often go from the large to the small.
  return tags.filter((_, place) => sizes[place] <= SERIES_MAX).reduce(
    (best, tag) => (best === undefined || sizes[tags.indexOf(tag)] >= sizes[tags.indexOf(best)] ? tag : best),
    undefined,
  ) ?? tags.at(-1);
}
