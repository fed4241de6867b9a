// The token that this page shows: asked for once the server wants one, kept for as long as the tab, sent in a header.

import { make } from "./dom.js";

const KEY = "oribi-token";

/** The token, where one was given. */
export const token = () => sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);

/** What a request shows. */
export const shown = () => (token() ? { authorization: `Bearer ${token()}` } : {});

/** What a copied curl line needs beside: never the token itself. */
export const curlHeader = () => (token() ? ' -H "Authorization: Bearer $ORIBI_TOKEN"' : "");

let open = null;

/** Asks for a token; `reason` says why the one that was shown will not do. */
export function askForToken(reason) {
  if (open) return;
  const secret = make("input", { type: "password", id: "login-token", autocomplete: "off", required: true, spellcheck: false });
  const remember = make("input", { type: "checkbox", id: "login-remember" });
  const form = make("form", { method: "dialog", onsubmit: (event) => enter(event, secret.value.trim(), remember.checked) },
    make("h2", { textContent: "This server asks for a token", id: "login-title" }),
    make("p", { class: "muted", textContent: reason }),
    make("p", {}, make("label", { for: "login-token", textContent: "Token " }), secret),
    make("p", {}, make("label", {}, remember, " remember it on this computer")),
    make("button", { textContent: "Go on" }));
  open = make("dialog", { id: "login", "aria-labelledby": "login-title" }, form);
  open.addEventListener("cancel", (event) => event.preventDefault());
  document.body.append(open);
  open.showModal();
  secret.focus();
}

function enter(event, secret, isRemembered) {
  event.preventDefault();
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
  (isRemembered ? localStorage : sessionStorage).setItem(KEY, secret);
  location.reload();
}
