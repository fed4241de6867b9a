// What is wrong at present, readable: the title, the detail and what helps to put it right.

import { ApiError } from "./api.js";
import { byId, make } from "./dom.js";

const problems = new Map();

/** `work`, with its refusals shown until it succeeds again; gives whether it did. */
export function reported(name, work) {
  return async (signal) => {
    try {
      await work(signal);
      settle(name, undefined);
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      settle(name, error);
      return false;
    }
  };
}

/** `work`, of which a refusal leaves what is shown as it is; gives whether it succeeded. */
export function quietly(work) {
  return async (signal) => {
    try {
      await work(signal);
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return false;
    }
  };
}

function settle(name, error) {
  if (error) problems.set(name, error);
  else problems.delete(name);
  const box = byId("problem");
  const [first] = problems.values();
  // An unchanged text is left alone, so that it is read out once and not at every try.
  if (first && box.dataset.text !== first.message) box.replaceChildren(...content(first));
  box.dataset.text = first?.message ?? "";
  box.hidden = !first;
}

function content({ title, message, problem }) {
  const hints = [
    problem.parameter && `Parameter ${problem.parameter}${problem.position === undefined ? "" : `, at byte ${problem.position}`}`,
    // Most details name the columns already.
    problem.columns?.length > 0 && !message.includes(problem.columns.join(", ")) && `Columns: ${problem.columns.join(", ")}`,
    problem.near?.length > 0 && `Did you mean: ${problem.near.join(", ")}`,
  ];
  return [
    make("strong", { textContent: title }),
    make("p", { textContent: message }),
    ...hints.filter(Boolean).map((hint) => make("p", { class: "muted", textContent: hint })),
  ];
}
