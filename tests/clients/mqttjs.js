// Publishes each line of standard input with QoS 1 by MQTT.js and says what came of it, a line each:
// connected, closed, error CODE, acked LINE, failed LINE CODE. An empty line ends it.
const fs = require("fs");
const readline = require("readline");
const mqtt = require("mqtt");

const [url, authority, password, topic, version] = process.argv.slice(2);
const say = (...words) => console.log(words.join(" "));
const client = mqtt.connect(url, {
  protocolVersion: Number(version),
  clientId: "mqttjs",
  username: "u",
  password: password || undefined,
  clean: false,
  reconnectPeriod: 100,
  ca: authority ? fs.readFileSync(authority) : undefined,
});
client.on("connect", () => say("connected"));
client.on("close", () => say("closed"));
client.on("error", (error) => say("error", error.code, error.message));
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "") return client.end(false, () => process.exit(0));
  client.publish(topic, line, { qos: 1 }, (error) => (error ? say("failed", line, error.code) : say("acked", line)));
});
