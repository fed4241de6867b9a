// What is asked. It lives in the address after `#`, so that a view can be kept, shared and gone back to.

/** What a view asks when its address says nothing. */
export const DEFAULTS = {
  db: "",
  table: "",
  fields: [],
  fn: "mean",
  by: [],
  tag: "",
  is: "",
  where: "",
  range: "1h",
  from: 0,
  to: 0,
  window: "auto",
  fill: "none",
  zone: "local",
  live: true,
};

const LISTS = { fields: "field", by: "by" };

/** The state that an address says; `given` holds the names that stand there. */
export function read(hash) {
  const params = new URLSearchParams(hash.replace(/^#/, ""));
  const state = structuredClone(DEFAULTS);
  const given = new Set();
  for (const name of Object.keys(DEFAULTS)) {
    const key = LISTS[name] ?? name;
    if (!params.has(key)) continue;
    given.add(name);
    if (name in LISTS) state[name] = params.getAll(key).filter((text) => text !== "");
    else if (name === "live") state.live = params.get(key) !== "off";
    else if (name === "from" || name === "to") state[name] = Date.parse(params.get(key)) / 1000 || 0;
    else state[name] = params.get(key);
  }
  if (state.range === "custom" && !(state.from < state.to)) state.range = "1h";
  return { state, given };
}

/** The address of a state. */
export function write(state) {
  const params = new URLSearchParams();
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = state[name];
    if (name in LISTS) {
      // An empty list is said too: it is a choice.
      for (const text of value.length > 0 ? value : [""]) params.append(LISTS[name], text);
    } else if (name === "from" || name === "to") {
      if (state.range === "custom") params.set(name, new Date(value * 1000).toISOString());
    } else if (name === "live") {
      if (!value) params.set(name, "off");
    } else if (value !== usual || name === "db" || name === "table" || name === "range") {
      params.set(name, value);
    }
  }
  return `#${params}`;
}
