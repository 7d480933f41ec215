// Updates the marked regions of this page to what the server renders now. Elements that stay keep their focus, their
// scroll position and what the user opened. Returns whether the page may still change.

const LIVES_HERE = new Set(["open", "hidden"]); // attributes that belong to the user of this page

// A page that answers a form cannot be loaded again from its own address; it names the address to use.
const { address } = document.body.dataset;
if (address) history.replaceState(history.state, "", address);

export async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
  if (answer.redirected && new URL(answer.url).pathname === "/login") return location.reload();
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of document.querySelectorAll("[data-swap]")) {
    const next = fresh.getElementById(old.id);
    if (next) morph(old, next);
  }
  document.title = fresh.title;
  document.dispatchEvent(new CustomEvent("swapped"));
  return "live" in fresh.body.dataset;
}

export function morph(old, next) {
  for (const { name } of [...old.attributes]) if (!next.hasAttribute(name) && !LIVES_HERE.has(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes) {
    if (!LIVES_HERE.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  morphChildren(old, next);
}

function morphChildren(old, next) {
  const keyed = new Map();
  for (const child of old.children) if (key(child)) keyed.set(key(child), child);
  let at = old.firstChild;
  for (const wanted of [...next.childNodes]) {
    const known = wanted.nodeType === Node.ELEMENT_NODE && key(wanted) ? keyed.get(key(wanted)) : undefined;
    if (known) {
      if (known === at) at = at.nextSibling;
      else old.insertBefore(known, at);
      morph(known, wanted);
    } else if (at && isAlike(at, wanted)) {
      if (at.nodeType === Node.ELEMENT_NODE) morph(at, wanted);
      else if (at.data !== wanted.data) at.data = wanted.data;
      at = at.nextSibling;
    } else {
      old.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) {
    const rest = at.nextSibling;
    at.remove();
    at = rest;
  }
}

const key = (element) => element.getAttribute("data-key") || element.id || null;

function isAlike(a, b) {
  if (a.nodeType !== b.nodeType) return false;
  return a.nodeType !== Node.ELEMENT_NODE || (a.nodeName === b.nodeName && !key(a) && !key(b));
}
