// Numbers and times in readable formats.

export const NONE = "–";

export function rate(value) {
  if (value === undefined || value === null) return NONE;
  if (value === 0) return "0";
  return value < 0.1 ? value.toFixed(2) : value < 10 ? value.toFixed(1) : whole(value);
}

export function seconds(value) {
  if (value === undefined || value === null) return NONE;
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  return value < 10 ? `${value.toFixed(2)} s` : value < 120 ? `${value.toFixed(0)} s` : `${Math.round(value / 60)} min`;
}

// Returns a time that is known roughly, such as that of a load.
export const roughly = (value) => (value < 90 ? `${Math.max(1, Math.round(value))} s` : `${Math.round(value / 60)} min`);

// Returns the upper end of a scale for values up to `most`: 1, 2 or 5 times a power of ten, so that it seldom changes.
export function ceiling(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return power * ([1, 2, 5].find((step) => most <= step * power) ?? 10);
}

const groups = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const whole = (value) => (value === undefined || value === null ? NONE : groups.format(value));

const narrow = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

// Returns a number for a table cell, such as 12.3K.
export const short = (value) => (value < 10_000 ? whole(value) : value ? narrow.format(value) : NONE);

// Returns bytes in decimal gigabytes, as gpu_memory in the settings has them.
export const gigabytes = (bytes) => (bytes < 9.95e9 ? (bytes / 1e9).toFixed(1).replace(".0", "") : whole(bytes / 1e9));

export const percent = (share) => `${Math.round(100 * share)} %`;

export const count = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

export const timeOf = (date) => clock.format(date);

// Returns the time of day; if the date is not today, it precedes the time.
export const when = (date) => (date.toDateString() === new Date().toDateString() ? timeOf(date) : `${day.format(date)} ${timeOf(date)}`);

// Compares names, so that node2 comes before node10.
export const byName = new Intl.Collator("en", { numeric: true }).compare;
