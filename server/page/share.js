// Copying lines and addresses.

import { byId } from "./dom.js";

/** Copies a text, and says so on the button for a moment. */
export async function copy(text, button) {
  const done = (await byClipboard(text)) || byDocument(text);
  const words = button.dataset.words ?? button.textContent;
  button.dataset.words = words;
  button.textContent = done ? "Copied" : "Could not copy";
  byId("copied").textContent = done ? `Copied: ${text}` : "This browser does not let the page copy.";
  clearTimeout(Number(button.dataset.timer));
  button.dataset.timer = setTimeout(() => (button.textContent = words), 1_500);
}

async function byClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

// Pages over plain HTTP from another machine have no clipboard object.
function byDocument(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
