// Numbers and times for people.

const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 6, useGrouping: true });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** A value as it stands in a legend or a row. */
export function value(number) {
  if (number === null || number === undefined) return "–";
  if (typeof number !== "number") return String(number);
  const size = Math.abs(number);
  if (size !== 0 && (size >= 1e15 || size < 1e-4)) return number.toExponential(4);
  return Number.isInteger(number) ? whole.format(number) : plain.format(number);
}

/** How the values of one column are written: with as many decimals as the largest of them leaves room for. */
export function column(numbers) {
  const DIGITS = 5;
  const given = numbers.filter((number) => typeof number === "number" && Number.isFinite(number));
  const most = given.reduce((size, number) => Math.max(size, Math.abs(number)), 0);
  if (given.every(Number.isInteger) || most >= 1e15 || most < 1e-4) return value;
  const digits = Math.min(Math.max(DIGITS - 1 - Math.floor(Math.log10(most)), 0), 8);
  const fixed = new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return (number) => (typeof number === "number" ? fixed.format(number) : value(number));
}

/** A count or a rate, short. */
export const count = (number) => (number < 10_000 ? whole.format(number) : short.format(number));

/** A number of bytes, short. */
export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let at = 0;
  while (number >= 1024 && at < units.length - 1) [number, at] = [number / 1024, at + 1];
  return `${short.format(number)} ${units[at]}`;
}

/** A length of time as `[number, unit]`. */
export function seconds(s) {
  if (s < 0.001) return [plain.format(Math.round(s * 1e6)), "µs"];
  if (s < 1) return [new Intl.NumberFormat("en", { maximumSignificantDigits: 3 }).format(s * 1e3), "ms"];
  return [new Intl.NumberFormat("en", { maximumSignificantDigits: 3 }).format(s), "s"];
}

const two = (number) => String(number).padStart(2, "0");

/** A moment (ms since the epoch) in local time, to the second or, where there are any, the millisecond. */
export function moment(ms) {
  const at = new Date(ms);
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const part = at.getMilliseconds();
  return part === 0 ? `${day} ${time}` : `${day} ${time}.${String(part).padStart(3, "0")}`;
}

/** A moment for an input of type `datetime-local`. */
export const inputMoment = (ms) => moment(Math.floor(ms / 1000) * 1000).replace(" ", "T");
