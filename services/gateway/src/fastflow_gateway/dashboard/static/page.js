// What every page does: colours, clocks, copying, filters, the start dialog, and following the server.
import { follow } from "./sse.js";
import { refresh } from "./swap.js";
import { ago, countdown, duration } from "./words.js";

const PAUSE_MS = 750; // at least this long between two refreshes, and ten times as long as one takes
const $ = (selector, root = document) => root.querySelector(selector);

// ---- colours
const THEMES = { system: "light", light: "dark", dark: "system" };
$("[data-theme-toggle]")?.addEventListener("click", () => {
  const root = document.documentElement;
  const next = THEMES[root.dataset.theme ?? "system"];
  if (next === "system") delete root.dataset.theme;
  else root.dataset.theme = next;
  try {
    if (next === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", next);
  } catch {
    // then it is not remembered
  }
  announce(`Colours: ${next}`, true);
});

// ---- clocks
function tick() {
  const now = Date.now();
  for (const time of document.querySelectorAll("time[data-ago]")) set(time, ago(Date.parse(time.dateTime), now));
  for (const time of document.querySelectorAll("time[data-until]")) set(time, countdown(Date.parse(time.dateTime), now));
  for (const span of document.querySelectorAll("[data-since]")) set(span, duration(now - Date.parse(span.dataset.since)));
}
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
setInterval(tick, 1000);
document.addEventListener("swapped", tick);
tick();

// ---- saying things
let toast;
function announce(text, visibly = false) {
  $("[data-announce]").textContent = text;
  if (!visibly) return;
  toast?.remove();
  toast = Object.assign(document.createElement("div"), { className: "toast", textContent: text });
  document.body.append(toast);
  setTimeout((mine) => mine.remove(), 1800, toast);
}

// ---- copying
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    announce("Copied", true);
  } catch {
    announce("The browser does not allow copying here", true);
  }
});

// ---- filters
for (const form of document.querySelectorAll("[data-auto-submit]")) {
  form.addEventListener("change", () => form.requestSubmit());
}
const search = $("[data-search]");
function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...document.querySelectorAll("[data-words]")];
  for (const row of rows) row.hidden = !words.every((word) => row.dataset.words.includes(word));
  const none = $("[data-no-match]");
  if (none) none.hidden = rows.length === 0 || rows.some((row) => !row.hidden);
}
if (search) {
  search.addEventListener("input", filter);
  document.addEventListener("swapped", filter);
  if (search.value) filter();
}
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select, dialog")) return;
  const field = search ?? $("[data-log-search]");
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
});

// ---- the start dialog
const dialog = $("[data-start-dialog]");
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-start]");
  if (!link || !dialog || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  try {
    const answer = await fetch(link.href, { headers: { accept: "text/html" } });
    const form = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-start-form]");
    if (!form) throw new Error("no form");
    dialog.replaceChildren(document.importNode(form, true));
    setUpForm(dialog);
    dialog.showModal();
    $("[data-focus]", dialog).focus();
  } catch {
    location.href = link.href;
  }
});
dialog?.addEventListener("click", (event) => {
  if (event.target !== dialog && !event.target.closest("[data-close]")) return;
  event.preventDefault();
  dialog.close();
});

function setUpForm(root) {
  for (const pairs of root.querySelectorAll("[data-pairs]")) {
    const isBlank = (pair) => [...pair.querySelectorAll("input")].every((input) => input.value === "");
    const blank = [...pairs.children].find(isBlank)?.cloneNode(true);
    for (const pair of [...pairs.children]) if (isBlank(pair)) pair.remove();
    $("[data-add]", pairs.parentElement).addEventListener("click", () => {
      pairs.append(blank.cloneNode(true));
      $("input", pairs.lastElementChild).focus();
    });
    pairs.addEventListener("click", (event) => event.target.closest("[data-remove]")?.closest(".pair").remove());
  }
}
setUpForm(document);

// One click, one run: the key in the form makes a repeat harmless, this shows that the form was sent.
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (event.target.method === "post" && button) setTimeout(() => (button.disabled = true));
});
addEventListener("pageshow", (event) => {
  if (event.persisted) for (const button of document.querySelectorAll("button[disabled]")) button.disabled = false;
});

// A switch needs no new page. If anything goes wrong, the browser sends the form as usual.
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-quiet]");
  if (!form) return;
  event.preventDefault();
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { accept: "text/html" } });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    await refresh();
  } catch {
    form.submit();
  }
});

// ---- following the server
const connection = $("[data-connection]");
function showConnection(state) {
  if (!connection) return;
  connection.className = `dot ${state === "open" ? "on" : state === "retry" ? "retry" : ""}`;
  $("[data-connection-words]").textContent = state === "open" ? "live" : state === "retry" ? "reconnecting" : "not live";
}

let refreshing = null;
let refreshAgain = false;
function refreshSoon() {
  if (refreshing) {
    refreshAgain = true;
    return;
  }
  const start = performance.now();
  refreshing = refresh()
    .then((isLive) => isLive === false && stopFollowing())
    .catch(() => {})
    .then(() => new Promise((done) => setTimeout(done, Math.max(PAUSE_MS, 10 * (performance.now() - start)))))
    .then(() => {
      refreshing = null;
      if (refreshAgain) {
        refreshAgain = false;
        refreshSoon();
      }
    });
}
const live = document.body.dataset.live;
let end = () => {};
if (live) {
  end = follow(live, (event) => void (event === "changed" && refreshSoon()), { onState: showConnection, pauseWhenHidden: true });
  document.addEventListener("over", refreshSoon);
}
function stopFollowing() {
  end();
  showConnection("closed");
}
