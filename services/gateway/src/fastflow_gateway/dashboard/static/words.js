// Durations, moments and sizes in words; the same words as the server's.

export function duration(ms) {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, "0")} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} m`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

export function countdown(at, now) {
  const seconds = Math.ceil((at - now) / 1000);
  if (seconds <= 0) return "now";
  return `in ${seconds < 60 ? `${seconds} s` : duration(seconds * 1000)}`;
}

const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

export function ago(at, now) {
  const seconds = (now - at) / 1000;
  const distance = Math.abs(seconds);
  let text;
  if (distance < 5) return "just now";
  if (distance < 60) text = `${Math.floor(distance)} s`;
  else if (distance < 3600) text = `${Math.floor(distance / 60)} min`;
  else if (distance < 86400) text = `${Math.floor(distance / 3600)} h`;
  else if (distance < 14 * 86400) text = `${Math.floor(distance / 86400)} d`;
  else return DATE.format(at);
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

export function bytes(size) {
  let value = size;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024) return unit === "B" || value >= 100 ? `${value.toFixed(0)} ${unit}` : `${+value.toPrecision(3)} ${unit}`;
    value /= 1024;
  }
  return `${+value.toPrecision(3)} TiB`;
}

export function cores(value) {
  const text = value < 0.1 ? value.toFixed(2) : String(+value.toPrecision(2));
  return `${text} ${text === "1" ? "core" : "cores"}`;
}
