// Oribi's HTTP API, asked relative to the page so that it also works behind a proxy's path.

import { askForToken, shown } from "./login.js";

/** What the server, or the way to it, said no to. `problem` is the problem JSON, where there is one. */
export class ApiError extends Error {
  constructor(title, detail, problem = {}) {
    super(detail);
    this.title = title;
    this.problem = problem;
  }
}

/** The full address of a path of the API with these parameters; absent and empty ones are left out. */
export function address(path, params = {}) {
  const url = new URL(path, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.append(name, value);
  }
  return url;
}

async function ask(path, params, signal) {
  let response;
  try {
    response = await fetch(address(path, params), { signal, cache: "no-store", headers: shown() });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("No answer", `The server at ${location.host} does not answer. Trying again.`);
  }
  if (response.ok) return response;
  const text = await response.text();
  let problem = {};
  try {
    problem = JSON.parse(text) ?? {};
  } catch {
    problem = { detail: text.slice(0, 2000) };
  }
  if (response.status === 401) askForToken(problem.detail ?? "");
  const title = problem.title ?? `Status ${response.status}`;
  throw new ApiError(title, problem.detail || `The server answered ${response.status}.`, problem);
}

async function json(path, params, signal, revive) {
  const response = await ask(path, params, signal);
  let text;
  try {
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The answer broke off", "The answer met a limit of the server, or the connection was lost.");
  }
  return JSON.parse(text, revive);
}

/** Integers that a number would round stay the text they are, where the browser hands it out. */
function wholeIntegers(_, value, context) {
  const isRounded = typeof value === "number" && !Number.isSafeInteger(value);
  return isRounded && /^-?\d+$/.test(context?.source ?? "") ? context.source : value;
}

/** All tables with their columns, rows and times. */
export const tables = async (signal) => (await json("api/v1/tables", {}, signal)).tables;

/** Version, addresses and figures of the node. */
export const node = (signal) => json("api/v1/node", {}, signal);

/** The nodes of the cluster, as the node that is asked sees them. */
export const cluster = (signal) => json("api/v1/cluster", {}, signal);

/** All tablets with their replicas. */
export const tablets = async (signal) => (await json("api/v1/tablets", {}, signal)).tablets;

/** A window question. */
export const query = (params, signal) => json("api/v1/query", params, signal);

/** A question in SQL. */
export const sql = (q, signal) => json("api/v1/sql", { q }, signal, wholeIntegers);

/** The node's figures as Prometheus text. */
export const metrics = async (signal) => (await ask("metrics", {}, signal)).text();
