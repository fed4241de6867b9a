// Building and finding elements. Text is always set as text, never parsed as markup.

/** The element with this id; it must exist. */
export const byId = (id) => document.getElementById(id);

/**
 * A new element. Members of `set` that begin with `on` are listeners, `class` and names with a hyphen or
 * of ARIA are attributes, all others are properties.
 */
export function make(tag, set = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(set)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class" || name === "for" || name === "role" || name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Options of a `select`: `[value, text]` pairs; keeps the choice where it is still there. */
export function fillSelect(select, pairs, chosen) {
  const same =
    select.options.length === pairs.length &&
    pairs.every(([value, text], place) => select.options[place].value === value && select.options[place].text === text);
  if (!same) select.replaceChildren(...pairs.map(([value, text]) => make("option", { value, textContent: text })));
  select.value = chosen;
}

/** Shows `text` in the element, or hides it where there is none. */
export function say(element, text) {
  element.textContent = text ?? "";
  element.hidden = !text;
}

const SVG = "http://www.w3.org/2000/svg";

/** A short line in a series' colour and dash, for legends. */
export function swatch({ color, dash }) {
  const svg = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "line");
  for (const [name, value] of Object.entries({ viewBox: "0 0 22 8", width: 22, height: 8, "aria-hidden": "true" })) svg.setAttribute(name, value);
  const stroke = { x1: 1, x2: 21, y1: 4, y2: 4, stroke: color, "stroke-width": 3, "stroke-linecap": "round" };
  if (dash) stroke["stroke-dasharray"] = "5 5";
  for (const [name, value] of Object.entries(stroke)) line.setAttribute(name, value);
  svg.append(line);
  return svg;
}
