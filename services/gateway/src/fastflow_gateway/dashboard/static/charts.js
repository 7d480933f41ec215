// CPU and memory of a run as two small drawings that grow with the samples.
import { bytes, cores, duration } from "./words.js";

const WIDTH = 600;
const HEIGHT = 62;
const SAMPLES_MAX = 3600; // beyond this every second sample is dropped
const NS = "http://www.w3.org/2000/svg";

export class Charts {
  constructor(root, limits) {
    this.root = root;
    this.samples = [];
    this.frame = 0;
    this.charts = [
      new Chart(root.querySelector('[data-chart="cpu"]'), (s) => s.cpu_cores, cores, limits.cpu, limits.cpuSoft, 0.1),
      new Chart(root.querySelector('[data-chart="memory"]'), (s) => s.memory_bytes, bytes, limits.memory, limits.memorySoft, 16 * 1024 * 1024),
    ];
  }

  push(sample) {
    this.samples.push({ ...sample, at: Date.parse(sample.ts) });
    if (this.samples.length > SAMPLES_MAX) this.samples = this.samples.filter((_, index) => index % 2 === 0);
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.root.hidden = false;
      for (const chart of this.charts) chart.draw(this.samples);
    });
  }
}

class Chart {
  constructor(root, value, words, limit, soft, least) {
    Object.assign(this, { value, words, limit, soft, least, samples: [], pointed: null });
    this.svg = root.querySelector("svg");
    this.now = root.querySelector("[data-now]");
    this.peak = root.querySelector("[data-peak]");
    this.name = root.querySelector("header span").textContent;
    this.svg.addEventListener("pointermove", (event) => {
      const box = this.svg.getBoundingClientRect();
      this.pointed = (event.clientX - box.left) / box.width;
      this.draw(this.samples);
    });
    this.svg.addEventListener("pointerleave", () => {
      this.pointed = null;
      this.draw(this.samples);
    });
  }

  draw(samples) {
    this.samples = samples;
    if (!samples.length) return;
    const values = samples.map(this.value);
    const most = Math.max(...values);
    // A limit belongs in the picture once use comes near it; a far one would flatten the curve.
    const shows = (line) => line && line <= most * 2.5;
    const top = Math.max(most, shows(this.limit) ? this.limit : 0, shows(this.soft) ? this.soft : 0, this.least) * 1.08;
    const first = samples[0].at;
    const span = Math.max(samples.at(-1).at - first, 1);
    const x = (sample) => (samples.length === 1 ? WIDTH : ((sample.at - first) / span) * WIDTH);
    const y = (value) => HEIGHT - (value / top) * HEIGHT;
    const points = samples.map((sample, index) => `${x(sample).toFixed(1)} ${y(values[index]).toFixed(1)}`);
    const curve = `M${samples.length === 1 ? `0 ${y(values[0]).toFixed(1)}L` : ""}${points.join("L")}`;
    const parts = [
      shape("path", "area", { d: `${curve}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z` }),
      line("base", HEIGHT),
      shape("path", "curve", { d: curve }),
    ];
    if (shows(this.soft)) parts.push(line("soft", y(this.soft)));
    if (shows(this.limit)) parts.push(line("limit", y(this.limit)));
    const index = this.pointed === null ? samples.length - 1 : nearest(samples, first + this.pointed * span);
    if (this.pointed !== null) {
      const at = x(samples[index]).toFixed(1);
      parts.push(shape("line", "cursor", { x1: at, x2: at, y1: 0, y2: HEIGHT }));
    }
    this.svg.replaceChildren(...parts);
    this.now.textContent = this.words(values[index]);
    const limit = this.limit ? ` of ${this.words(this.limit)}` : "";
    this.peak.textContent = this.pointed === null ? `peak ${this.words(most)}${limit}` : `at ${duration(samples[index].at - first)}`;
    if (this.pointed === null) this.svg.setAttribute("aria-label", `${this.name}: now ${this.words(values.at(-1))}, peak ${this.words(most)}${limit}`);
  }
}

function nearest(samples, at) {
  let best = 0;
  for (let index = 1; index < samples.length; index++) {
    if (Math.abs(samples[index].at - at) < Math.abs(samples[best].at - at)) best = index;
  }
  return best;
}

function line(name, y) {
  return shape("line", name, { x1: 0, x2: WIDTH, y1: y.toFixed(1), y2: y.toFixed(1) });
}

function shape(kind, name, attributes) {
  const element = document.createElementNS(NS, kind);
  element.setAttribute("class", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
