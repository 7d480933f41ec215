// The cells of a notebook, live: events in, attempts with their text, pictures, tables and errors out. All output of a
// notebook is inserted as text or as a picture; its HTML goes into a frame without any access.
import { render, start } from "./ansi.js";
import { follow } from "./sse.js";

const TEXT_CHARACTERS_MAX = 100_000; // of one output on this page; all of it is in the notebook
const REASON_CHARACTERS_MAX = 160;
const FRAME_MAX_PX = 900;
const FRAME_MIN_PX = 24;
const PICTURES = { "image/svg+xml": null, "image/png": "iVBORw0KGgo", "image/jpeg": "/9j/", "image/gif": "R0lGOD" };
const WORDS = { RUNNING: "running", RETRYING: "waiting for another attempt", SUCCESS: "succeeded", FAILED: "failed" };
const INJECTED = -1;

const root = document.querySelector("[data-cells]");
const icons = root.querySelector("[data-cell-icons]").content;

class Attempt {
  constructor(number) {
    this.number = number;
    this.root = element("div", "try");
    this.stream = null;
    this.reason = "";
  }

  write(stream, text) {
    if (this.stream?.name !== stream) {
      const box = element("pre", `output stream ${stream}`);
      this.root.append(box);
      this.stream = { name: stream, box, left: TEXT_CHARACTERS_MAX, state: start(), last: null, rest: "" };
    }
    const open = this.stream;
    if (open.left <= 0) return;
    if (text.length > open.left) text = `${text.slice(0, open.left)}\n… the rest is in the log and in the notebook\n`;
    open.left -= text.length;
    // The last line may continue: it is drawn again, as in a terminal.
    const lines = (open.rest + text).split("\n");
    open.last?.remove();
    open.rest = lines.pop();
    const drawn = document.createDocumentFragment();
    for (const line of lines) {
      open.state = render(line, drawn, open.state);
      drawn.append("\n");
    }
    open.last = element("span");
    render(open.rest, open.last, open.state);
    drawn.append(open.last);
    open.box.append(drawn);
  }

  add(node) {
    this.stream = null;
    this.root.append(node);
    return node;
  }

  clear() {
    this.stream = null;
    this.root.replaceChildren();
  }
}

class Cell {
  constructor(item) {
    this.item = item;
    this.tries = item.querySelector("[data-cell-tries]");
    this.attempts = [];
    this.status = null;
  }

  reset() {
    this.attempts = [];
    this.took("");
    this.tries.replaceChildren();
    this.mark(null);
    this.count(null);
  }

  begin(number, at) {
    this.beganAt = at;
    this.took("");
    const previous = this.attempts.at(-1);
    if (previous) {
      const fold = element("details", "previous");
      const summary = element("summary");
      summary.textContent = `Attempt ${previous.number} failed${previous.reason && `: ${previous.reason}`}`;
      previous.root.replaceWith(fold);
      fold.append(summary, previous.root);
    }
    const attempt = new Attempt(number);
    this.attempts.push(attempt);
    this.tries.append(attempt.root);
    this.mark("RUNNING");
    this.count("*");
  }

  get now() {
    return this.attempts.at(-1);
  }

  mark(status) {
    this.status = status;
    this.item.dataset.status = status ?? "";
    const place = this.item.querySelector("[data-cell-status]");
    if (!status) return place.replaceChildren();
    const icon = icons.querySelector(`[data-icon="${status === "RETRYING" ? "PENDING" : status}"]`).cloneNode(true);
    const words = element("span", "visually-hidden");
    words.textContent = WORDS[status];
    icon.title = WORDS[status];
    place.replaceChildren(icon, words);
  }

  took(words) {
    this.item.querySelector("[data-cell-took]").textContent = words;
  }

  count(value) {
    this.item.querySelector("[data-cell-count]").textContent = `[${value ?? " "}]`;
  }
}

const cells = new Map();
for (const item of root.querySelectorAll("[data-cell]")) cells.set(Number(item.dataset.cell), new Cell(item));
const displays = new Map();
let parts = {};
let partsId = null;

function onEvent(name, text, id) {
  if (name === "end") {
    for (const cell of cells.values()) if (cell.status === "RUNNING" || cell.status === "RETRYING") cell.mark("FAILED");
    return true;
  }
  if (name !== "cell") return false;
  const event = JSON.parse(text);
  const cell = cells.get(event.cell);
  switch (event.event) {
    case "opened":
      for (const each of cells.values()) each.reset();
      displays.clear();
      break;
    case "injected":
      inject(event);
      break;
    case "part":
      partsId ??= id;
      parts[event.mime] ??= [];
      parts[event.mime].push(event.text);
      break;
    case "began":
      cell?.begin(event.attempt, event.at);
      break;
    case "wrote":
      cell?.now?.write(event.stream, event.text);
      break;
    case "showed": {
      const node = shown(whole(event.data), takeId(id));
      cell?.now?.add(node);
      if (event.display) displays.set(event.display, [...(displays.get(event.display) ?? []), node]);
      break;
    }
    case "redrew": {
      const data = whole(event.data);
      const place = takeId(id);
      const fresh = (displays.get(event.display) ?? []).map((old) => {
        const node = shown(data, place);
        old.replaceWith(node);
        return node;
      });
      displays.set(event.display, fresh);
      break;
    }
    case "cleared":
      cell?.now?.clear();
      break;
    case "raised":
      if (cell?.now) cell.now.reason = reason(event);
      cell?.now?.add(failure(event));
      break;
    case "noted":
      cell?.now?.add(element("p", "output note")).append(event.text);
      break;
    case "ended":
      cell?.mark(event.status);
      cell?.count(event.count);
      cell?.took(seconds(event.at - cell.beganAt));
      break;
  }
  tell();
  return false;
}

function inject({ after, source }) {
  const item = element("li", "cell code injected");
  const side = element("span", "cell-side");
  const count = element("span", "cell-count");
  count.dataset.cellCount = "";
  const status = element("span", "cell-status");
  status.dataset.cellStatus = "";
  const took = element("span", "cell-took");
  took.dataset.cellTook = "";
  side.append(count, status, took);
  const main = element("div", "cell-main");
  const text = element("pre", "cell-source");
  text.textContent = source;
  const tries = element("div", "cell-tries");
  tries.dataset.cellTries = "";
  main.append(text, tries);
  item.append(side, main);
  cells.get(INJECTED)?.item.remove();
  const before = cells.get(after)?.item;
  if (before) before.after(item);
  else root.querySelector(".cells").prepend(item);
  cells.set(INJECTED, new Cell(item));
  cells.get(INJECTED).reset();
}

function whole(data) {
  const joined = { ...data };
  for (const [mime, texts] of Object.entries(parts)) joined[mime] = texts.join("");
  parts = {};
  return joined;
}

function takeId(id) {
  const place = partsId ?? id;
  partsId = null;
  return place;
}

// The richest form that can be shown, as Jupyter chooses it.
function shown(data, id) {
  if (data["text/html"] !== undefined) return frame(id);
  for (const mime of Object.keys(PICTURES)) if (data[mime] !== undefined) return picture(mime, data[mime], data["text/plain"]);
  const box = element("pre", "output value");
  const text = data["text/plain"] ?? data["text/markdown"] ?? data["application/json"] ?? `(${Object.keys(data).join(", ")})`;
  lines(text.length > TEXT_CHARACTERS_MAX ? `${text.slice(0, TEXT_CHARACTERS_MAX)}\n… the rest is in the notebook` : text, box);
  return box;
}

function frame(id) {
  const made = element("iframe", "output frame");
  made.sandbox = "allow-scripts";
  made.loading = "lazy";
  made.title = "Output of the cell";
  made.src = `${root.dataset.frames}/${id.replace(":", "/")}`;
  return made;
}

function picture(mime, text, words) {
  const magic = PICTURES[mime];
  if (magic !== null && !text.startsWith(magic)) return element("p", "output note", `This output is not valid ${mime}.`);
  const box = element("figure", "output picture");
  const made = element("img");
  made.alt = words ?? "Picture";
  made.loading = "lazy";
  const encoded = magic === null ? btoa(utf8(text)) : text.replace(/\s+/g, "");
  made.src = `data:${mime};base64,${encoded}`;
  box.append(made);
  return box;
}

function utf8(text) {
  let bytes = "";
  for (const byte of new TextEncoder().encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}

function reason({ name, value }) {
  const words = value ? `${name}: ${value}` : name;
  const line = words.split("\n", 1)[0];
  return line.length > REASON_CHARACTERS_MAX ? `${line.slice(0, REASON_CHARACTERS_MAX)}…` : line;
}

// How long the last attempt of a cell took; empty if it was short.
function seconds(s) {
  if (!(s >= 0.95)) return "";
  return s < 59.5 ? `${s < 9.95 ? s.toFixed(1) : Math.round(s)} s` : `${Math.round(s / 60)} min`;
}

function failure({ name, value, traceback }) {
  const box = element("pre", "output error");
  lines(traceback?.length ? traceback.join("\n") : `${name}: ${value}`, box);
  return box;
}

function lines(text, box) {
  let state = start();
  const all = text.split("\n");
  all.forEach((line, at) => {
    state = render(line, box, state);
    if (at < all.length - 1) box.append("\n");
  });
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function tell() {
  const own = [...cells].filter(([index]) => index !== INJECTED).map(([, cell]) => cell);
  const done = own.filter((cell) => cell.status === "SUCCESS").length;
  root.querySelector("[data-cells-count]").textContent = `${done} of ${own.length} cells done`;
}

// A frame may only report its height.
addEventListener("message", (event) => {
  const height = Number(event.data?.height);
  if (!Number.isFinite(height)) return;
  for (const each of root.querySelectorAll("iframe.frame")) {
    if (each.contentWindow === event.source) each.style.height = `${Math.min(Math.max(height + 6, FRAME_MIN_PX), FRAME_MAX_PX)}px`;
  }
});

tell();
follow(root.dataset.cells, onEvent, { pauseWhenHidden: true });
