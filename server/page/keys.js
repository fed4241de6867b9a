// Keys for those who keep their hands there.

import { byId } from "./dom.js";
import { RANGES } from "./ranges.js";

const isTyping = ({ target }) => target.matches?.("input:not([type=checkbox]), select, textarea") || target.isContentEditable;

/** Hears keys; each act has a button or a control on the page too. */
export function listen({ onRange }) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event) || byId("keys").open) return;
    const range = RANGES[Number(event.key) - 1];
    const act = range
      ? () => onRange(range[0])
      : { l: () => byId("live").click(), t: () => byId("theme").click(), c: () => byId("copy-url").click(), "/": toCondition, "?": () => byId("keys").showModal() }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  byId("help").addEventListener("click", () => byId("keys").showModal());
  byId("skip").addEventListener("click", (event) => {
    // The address says what is asked, so this link must not change it.
    event.preventDefault();
    byId("view").focus();
    byId("view").scrollIntoView();
  });
}

function toCondition() {
  if (byId("ask-toggle").checkVisibility() && byId("ask-toggle").getAttribute("aria-expanded") === "false") byId("ask-toggle").click();
  byId("ask-where").focus();
}
