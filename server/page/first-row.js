// What stands there before the first row: how to send one, with this server's addresses.

import { address } from "./api.js";
import { byId, make } from "./dom.js";
import { curlHeader, token } from "./login.js";
import { copy } from "./share.js";

// An address as bound, as this browser reaches it: a wildcard is no host to send to.
function reach(bound) {
  const at = bound.lastIndexOf(":");
  const host = bound.slice(0, at).replace(/^\[|\]$/g, "");
  const isWildcard = host === "0.0.0.0" || host === "::";
  return { host: isWildcard ? location.hostname : host, port: bound.slice(at + 1) };
}

function lines(node) {
  const { host, port } = reach(node.mqtt);
  const usual = host === "127.0.0.1" || host === "localhost" ? "" : ` -h ${host}`;
  const login = token() ? ' -u dev7 -P "$ORIBI_TOKEN"' : "";
  const mqtt = `mosquitto_pub${usual}${port === "1883" ? "" : ` -p ${port}`}${login}`;
  const curl = `curl${curlHeader()}`;
  return [
    ["Over MQTT, from a device or a shell", `${mqtt} -q 1 -t sensors/site1/dev7 -m '{"temperature":21.5,"humidity":40}'`],
    ["Over HTTP, as JSON", `${curl} '${address("api/v1/write", { table: "sensors", format: "json", tags: "site,device" })}' -d '{"site":"site1","device":"dev7","temperature":21.5,"humidity":40}'`],
    ["Over HTTP, as line protocol", `${curl} '${address("write", { db: "default" })}' --data-binary 'sensors,site=site1,device=dev7 temperature=21.5,humidity=40'`],
  ];
}

/** Shows the lines; `node` is the answer of `/api/v1/node`. */
export function showFirstRow(node) {
  const blocks = lines(node).flatMap(([title, line]) => {
    const button = make("button", { type: "button", textContent: "Copy", "aria-label": `Copy: ${title}`, onclick: () => copy(line, button) });
    return [make("h3", { textContent: title }), make("div", { class: "copyable" }, make("pre", { class: "line", tabIndex: 0 }, make("code", { textContent: line })), button)];
  });
  byId("first-row").replaceChildren(
    make("h2", { textContent: "No rows yet" }),
    make("p", { class: "muted", textContent: "Send the first one, and it shows here by itself. Tables and columns appear on write." }),
    ...blocks,
    make("p", { class: "waiting", role: "status", textContent: "Waiting for the first row" }),
  );
}
