// Twenty ways to draw a series: ten colours that stay apart for most eyes, solid and dashed.

const LIGHT = ["#2f66c9", "#d2691e", "#228b5e", "#b13a8a", "#6f55c2", "#a87d0c", "#1f8dad", "#c8414b", "#66792a", "#7a685c"];
const DARK = ["#7fa8f5", "#f2a063", "#63c79a", "#e184c3", "#b09cf2", "#dcb64c", "#66c5e0", "#f2858c", "#aebf6a", "#bcaa9d"];

/** Most series that one chart shows. */
export const SERIES_MAX = 2 * LIGHT.length;

/** Whether the page is dark now. */
export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Colour and dash of the series at this place. */
export function style(place) {
  const colors = isDark() ? DARK : LIGHT;
  return { color: colors[place % colors.length], dash: place % SERIES_MAX < colors.length ? undefined : [6, 4] };
}

/** A colour of the style sheet, such as `--grid`. */
export const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
