// The log of a run: lines arrive in batches, one batch a frame; the newest LINES_MAX stay in the document.
import { mark, render, start } from "./ansi.js";

const CELL = /^── .* ──$/; // a heading in the log of a notebook
const LINES_MAX = 5000;
const SLACK = 1000; // lines are dropped in blocks of this size, not one by one
const BATCH_MAX = 1500; // lines a frame
const LINE_CHARACTERS_MAX = 20000; // of one line; the rest is in the whole log
const HITS_MAX = 2000;

export class Log {
  constructor(root) {
    this.root = root;
    const part = (name) => root.querySelector(`[data-log-${name}]`);
    this.box = part("box");
    this.lines = part("lines");
    this.empty = part("empty");
    this.jump = part("jump");
    this.jumpWords = part("jump-words");
    this.count = part("count");
    this.queue = [];
    this.total = 0; // lines that arrived
    this.unseen = 0; // of them, since the user scrolled up
    this.follows = true;
    this.states = {};
    this.attempt = null;
    this.open = {}; // rows whose line is not complete
    this.frame = 0;
    this.#setUpScrolling();
    this.#setUpWrap(part("wrap"));
    this.search = new Search(this.box, this.lines, part("search"), part("hits"), () => this.#unfollow(), () => this.#tell());
  }

  // line: {ts, stream, line, attempt?, more?}, or of a line that is not complete {ts, stream, start, text, attempt?}
  push(line) {
    this.queue.push(line);
    this.frame ||= requestAnimationFrame(() => this.#draw());
  }

  note(text) {
    this.empty.textContent = text;
  }

  #draw() {
    this.frame = 0;
    const skipped = this.queue.length - LINES_MAX;
    if (skipped > SLACK) {
      for (const line of this.queue.splice(0, skipped)) this.#pass(line);
      this.lines.replaceChildren();
      this.open = {};
    }
    const batch = document.createDocumentFragment();
    for (const line of this.queue.splice(0, BATCH_MAX)) this.#row(line, batch);
    this.lines.append(batch);
    this.empty.hidden = this.total > 0;
    if (this.lines.childElementCount > LINES_MAX + (this.queue.length && SLACK) && this.follows) {
      while (this.lines.childElementCount > LINES_MAX) this.lines.firstElementChild.remove();
    }
    this.#tell();
    if (this.follows) this.#toEnd();
    this.search.later();
    if (this.queue.length) this.frame = requestAnimationFrame(() => this.#draw());
  }

  #pass(line) {
    if (line.more || isPartial(line)) return;
    this.total++;
    this.#unseenLine();
  }

  #unseenLine() {
    if (!this.follows) this.unseen++;
  }

  #row(line, batch) {
    if (line.attempt !== undefined && line.attempt !== this.attempt) {
      this.attempt = line.attempt;
      this.states = {};
      this.open = {};
      if (line.attempt > 1 || this.attemptsMax > 1) batch.append(heading(line.attempt, line.ts));
    }
    const row = this.open[line.stream] ?? this.#newRow(line, batch);
    this.open[line.stream] = row;
    if (isPartial(line)) this.#showPartial(row, line);
    else this.#add(row, line);
  }

  // Shows open text behind the parts of its line that have come; they and the state stay as they are.
  #showPartial(row, { stream, start: from, text }) {
    const partial = row.partial ?? { from, text: "" };
    const kept = from < partial.from ? "" : partial.text.slice(0, from - partial.from);
    const shown = kept + text;
    const last = shown.lastIndexOf("\r", shown.length - 2) + 1; // a progress bar: only its newest state
    row.partial = { from: kept ? partial.from : from, text: shown };
    row.partial.from += last;
    row.partial.text = shown.slice(last);
    row.tail ??= row.text.appendChild(document.createElement("span"));
    row.tail.replaceChildren();
    render(row.partial.text.slice(0, LINE_CHARACTERS_MAX), row.tail, this.states[stream] ?? start());
  }

  #add(row, line) {
    row.tail?.remove();
    row.tail = row.partial = null;
    const isRedrawn = line.line.includes("\r");
    if (isRedrawn && row.characters) row.text.replaceChildren();
    const room = isRedrawn ? line.line.length : LINE_CHARACTERS_MAX - row.characters;
    row.characters += line.line.length;
    if (room > 0) this.states[line.stream] = render(line.line.slice(0, room), row.text, this.states[line.stream] ?? start());
    if (row.characters > LINE_CHARACTERS_MAX && !isRedrawn) {
      row.rest ??= mark(row.text, "", "odd rest");
      row.rest.textContent = `${(row.characters - LINE_CHARACTERS_MAX).toLocaleString("en")} more characters in the whole log`;
    }
    if (!line.more) delete this.open[line.stream];
  }

  #newRow(line, batch) {
    this.total++;
    this.#unseenLine();
    const row = document.createElement("div");
    row.className = line.stream === "stderr" ? "row err" : line.stream === "system" ? "row note" : "row";
    if (CELL.test(line.line ?? "")) row.classList.add("cell-heading");
    row.dataset.n = this.total;
    row.title = clock(line.ts);
    const text = document.createElement("span");
    row.append(text);
    batch.append(row);
    return { text, characters: 0, rest: null, partial: null, tail: null };
  }

  #tell() {
    const shown = this.lines.childElementCount;
    const total = this.total.toLocaleString("en");
    const done = this.search?.field.value ? "searched" : "shown";
    this.count.textContent =
      this.total > shown && shown >= LINES_MAX ? `${total} lines, the last ${shown.toLocaleString("en")} ${done}` : `${total} ${this.total === 1 ? "line" : "lines"}`;
    this.jump.hidden = this.follows;
    this.jumpWords.textContent = this.unseen ? `${this.unseen.toLocaleString("en")} new ${this.unseen === 1 ? "line" : "lines"}` : "Jump to the end";
  }

  #setUpScrolling() {
    let last = 0;
    this.box.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = this.box;
      const isAtEnd = scrollHeight - scrollTop - clientHeight < 24;
      if (isAtEnd) this.#follow();
      else if (scrollTop < last) this.#unfollow();
      last = scrollTop;
    }, { passive: true });
    this.jump.addEventListener("click", () => {
      this.#follow();
      this.#toEnd();
      this.box.focus();
    });
  }

  #follow() {
    if (this.follows) return;
    this.follows = true;
    this.unseen = 0;
    this.#tell();
  }

  #unfollow() {
    if (!this.follows) return;
    this.follows = false;
    this.#tell();
  }

  #toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
  }

  #setUpWrap(button) {
    const apply = (wraps) => {
      this.box.classList.toggle("wrap", wraps);
      button.setAttribute("aria-pressed", String(wraps));
      if (this.follows) this.#toEnd();
    };
    const stored = () => {
      try {
        return localStorage.getItem("wrap");
      } catch {
        return null;
      }
    };
    apply((stored() ?? (innerWidth < 620 ? "yes" : "no")) === "yes");
    button.addEventListener("click", () => {
      const wraps = button.getAttribute("aria-pressed") !== "true";
      apply(wraps);
      try {
        localStorage.setItem("wrap", wraps ? "yes" : "no");
      } catch {
        // then it is not remembered
      }
    });
  }

  showAttempt(number) {
    const row = this.lines.querySelector(`[data-attempt="${Number(number)}"]`);
    if (!row) return false;
    this.#unfollow();
    this.box.focus({ preventScroll: true });
    (row.nextElementSibling ?? row).scrollIntoView({ block: "start" }); // the heading itself sticks and is always in view
    return true;
  }
}

const isPartial = (line) => line.text !== undefined;

function heading(attempt, ts) {
  const row = document.createElement("div");
  row.className = "row attempt";
  row.dataset.attempt = attempt;
  row.textContent = `Attempt ${attempt} · ${clock(ts)}`;
  return row;
}

function clock(ts) {
  const at = typeof ts === "number" ? new Date(ts * 1000) : new Date(ts);
  return Number.isNaN(at.getTime()) ? "" : at.toISOString().slice(11, 23);
}

// Finds text in the shown lines and marks it with the highlight registry, without changing the lines.
class Search {
  constructor(box, lines, field, hits, onMove, onPaint) {
    Object.assign(this, { box, lines, field, hits, onMove, onPaint, found: [], at: -1, timer: 0 });
    this.canPaint = "highlights" in CSS;
    field.addEventListener("input", () => this.#run(true));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        this.#move(event.shiftKey ? -1 : 1);
      } else if (event.key === "Escape" && field.value) {
        event.stopPropagation();
        field.value = "";
        this.#run(false);
      }
    });
  }

  later() {
    if (!this.field.value || this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.#run(false);
    }, 500);
  }

  #run(moves) {
    const wanted = this.field.value;
    const now = this.found[this.at];
    this.found = wanted ? this.#ranges(wanted) : [];
    this.at = moves || !now ? this.found.length - 1 : this.found.findIndex((range) => range.startContainer === now.startContainer && range.startOffset === now.startOffset);
    if (moves && this.found.length) this.#show();
    this.#paint();
  }

  #ranges(wanted) {
    const ranges = [];
    // Not with toLowerCase: it makes some characters longer, so positions would differ from those in the line.
    const pattern = new RegExp(wanted.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"), "giu");
    const walker = document.createTreeWalker(this.lines, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      for (const { 0: hit, index } of walker.currentNode.data.matchAll(pattern)) {
        if (ranges.length === HITS_MAX) return ranges;
        const range = document.createRange();
        range.setStart(walker.currentNode, index);
        range.setEnd(walker.currentNode, index + hit.length);
        ranges.push(range);
      }
    }
    return ranges;
  }

  #move(step) {
    if (!this.found.length) return;
    this.at = (this.at + step + this.found.length) % this.found.length;
    this.#show();
    this.#paint();
  }

  #show() {
    this.onMove();
    this.found[this.at].startContainer.parentElement.closest(".row")?.scrollIntoView({ block: "center", inline: "nearest" });
  }

  #paint() {
    const many = this.found.length >= HITS_MAX ? `${HITS_MAX}+` : this.found.length;
    this.hits.textContent = this.field.value ? (this.found.length ? `${this.at + 1}/${many}` : "none") : "";
    this.onPaint();
    if (!this.canPaint) return;
    CSS.highlights.set("found", new Highlight(...this.found));
    CSS.highlights.set("found-now", this.found[this.at] ? new Highlight(this.found[this.at]) : new Highlight());
  }
}
