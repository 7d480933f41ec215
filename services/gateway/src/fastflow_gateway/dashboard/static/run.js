// The page of one run: its log, its charts and its phases, live.
import { Charts } from "./charts.js";
import { Log } from "./log.js";
import { follow } from "./sse.js";

const root = document.querySelector("[data-run]");
const id = root.dataset.run;
const number = (name) => (root.dataset[name] ? Number(root.dataset[name]) : null);

const log = new Log(document.querySelector("[data-log]"));
log.attemptsMax = number("attemptsMax") ?? 1;
const quietly = { pauseWhenHidden: true }; // browsers limit connections per site: hidden tabs use none
function onLog(event, data) {
  if (event === "log" || event === "partial") log.push(JSON.parse(data));
  else if (event === "end") {
    log.note("No output.");
    document.dispatchEvent(new Event("over"));
    return true;
  }
  return false;
}
follow(`/api/runs/${id}/logs/stream`, onLog, quietly);

const charts = new Charts(document.querySelector("[data-charts]"), {
  cpu: number("cpuLimit"),
  cpuSoft: number("cpuSoft"),
  memory: number("memoryLimit"),
  memorySoft: number("memorySoft"),
});
function onSample(event, data) {
  if (event === "sample") charts.push(JSON.parse(data));
  return event === "end";
}
follow(`/api/runs/${id}/metrics/stream`, onSample, quietly);

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-attempt-link]");
  if (link && log.showAttempt(link.dataset.attemptLink)) event.preventDefault();
});

// A phase without an end grows until it ends.
setInterval(() => {
  const rects = [...document.querySelectorAll(".phases rect")];
  if (!rects.length || rects.at(-1).dataset.end) return;
  const first = Date.parse(rects[0].dataset.start);
  const whole = Math.max(Date.now() - first, 1);
  for (const rect of rects) {
    const start = Date.parse(rect.dataset.start);
    const end = rect.dataset.end ? Date.parse(rect.dataset.end) : Date.now();
    rect.setAttribute("x", `${((start - first) / whole) * 100}%`);
    rect.setAttribute("width", `${(Math.max(end - start, 0) / whole) * 100}%`);
  }
}, 1000);
