// Turns one line of a log into safe text nodes: colours become classes, every other control is dropped, and marks that
// would reorder the text are made visible. The state carries over to the next line of the same stream.

const PLAIN = Object.freeze({ fg: null, bg: null, bold: false, dim: false, italic: false, under: false, struck: false, inverse: false });
// CSI, OSC (also the ones that set titles, links and the clipboard), and two-character escapes
const TOKENS = /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b]*(?:\x1b\\)?|\x1b[ -/]*[0-~]?|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;
const STRANGE = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

export const start = () => ({ ...PLAIN });

// Appends *line* to *target*; returns the state after it.
export function render(line, target, state) {
  const overwritten = line.includes("\r") ? line.replace(/\r+$/, "").split("\r") : null;
  if (overwritten) line = overwritten.at(-1); // a terminal would show the last one
  if (!STRANGE.test(line)) {
    add(target, line, state);
  } else {
    let at = 0;
    for (const token of line.matchAll(TOKENS)) {
      add(target, line.slice(at, token.index), state);
      at = token.index + token[0].length;
      if (token[2] === "m") state = colour(state, token[1]);
      else if (token[0] > "\u0600") mark(target, `U+${token[0].charCodeAt(0).toString(16).toUpperCase()}`);
    }
    add(target, line.slice(at), state);
  }
  if (overwritten && overwritten.length > 1) mark(target, `${overwritten.length - 1} overwritten`);
  return state;
}

function add(target, text, state) {
  if (!text) return;
  const names = classes(state);
  if (!names) return target.append(text);
  const span = document.createElement("span");
  span.className = names;
  span.textContent = text;
  target.append(span);
}

// A note of ours within a line of the script.
export function mark(target, text, name = "odd") {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  target.append(span);
  return span;
}

function classes(state) {
  let { fg, bg } = state;
  if (state.inverse) [fg, bg] = [bg ?? 0, fg ?? 7];
  const names = [];
  if (bg !== null) names.push(`g${bg % 8}`);
  else if (fg !== null) names.push(`f${fg % 8}`);
  if (state.bold) names.push("b");
  if (state.dim) names.push("d");
  if (state.italic) names.push("i");
  if (state.under) names.push("u");
  if (state.struck) names.push("s");
  return names.join(" ");
}

function colour(state, parameters) {
  const codes = parameters.replaceAll(":", ";").split(";").map(Number);
  let next = { ...state };
  for (let at = 0; at < codes.length; at++) {
    const code = codes[at];
    if (Number.isNaN(code)) return state;
    if (code === 0) next = { ...PLAIN };
    else if (code === 1) next.bold = true;
    else if (code === 2) next.dim = true;
    else if (code === 3) next.italic = true;
    else if (code === 4) next.under = true;
    else if (code === 7) next.inverse = true;
    else if (code === 9) next.struck = true;
    else if (code === 22) next.bold = next.dim = false;
    else if (code === 23) next.italic = false;
    else if (code === 24) next.under = false;
    else if (code === 27) next.inverse = false;
    else if (code === 29) next.struck = false;
    else if (code >= 30 && code <= 37) next.fg = code - 30;
    else if (code >= 90 && code <= 97) next.fg = code - 90;
    else if (code === 39) next.fg = null;
    else if (code >= 40 && code <= 47) next.bg = code - 40;
    else if (code >= 100 && code <= 107) next.bg = code - 100;
    else if (code === 49) next.bg = null;
    else if (code === 38 || code === 48) {
      const mode = codes[at + 1];
      const value = mode === 5 ? indexed(codes[at + 2]) : mode === 2 ? nearest(codes[at + 2], codes[at + 3], codes[at + 4]) : null;
      at += mode === 5 ? 2 : mode === 2 ? 4 : 0;
      next[code === 38 ? "fg" : "bg"] = value;
    }
  }
  return next;
}

// The page's own eight colours are readable on light and on dark, so richer ones become the nearest of these.
function indexed(index) {
  if (!(index >= 0 && index <= 255)) return null;
  if (index < 16) return index % 8;
  if (index >= 232) return index < 238 ? 0 : 7;
  const cube = index - 16;
  return nearest(Math.floor(cube / 36) * 51, (Math.floor(cube / 6) % 6) * 51, (cube % 6) * 51);
}

function nearest(red, green, blue) {
  const most = Math.max(red, green, blue);
  if (!(most >= 0)) return null;
  if (most < 48) return 0;
  return (red > most * 0.6 ? 1 : 0) | (green > most * 0.6 ? 2 : 0) | (blue > most * 0.6 ? 4 : 0);
}
