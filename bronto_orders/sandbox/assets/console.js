/* Keeps the page up to date. Without it the page works as well: its buttons are forms, and reloading shows the news. */

const PERIOD = 2000;
const PATIENCE = 10000;

const $ = (id) => document.getElementById(id);
const link = $("link");
const pause = $("pause");
let paused = false;
let turn = 0;
let sending = false;
let timer = 0;

// One page is laid over another: what is the same stays untouched, and with it focus, selection and open details.

const keyOf = (node) => node.nodeType === Node.ELEMENT_NODE && (node.dataset.key || node.id);

function overlay(old, wanted) {
  if (old.isEqualNode(wanted)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name) && !isOwn(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value && !isOwn(old, name)) old.setAttribute(name, value);
  }
  if (wanted.dataset.key && old.textContent !== wanted.textContent) old.classList.add("fresh");
  overlayChildren(old, wanted);
}

// Whether the reader, not the sandbox, has the say over an attribute.
const isOwn = (element, name) => name === "open" && element.localName === "details";

function overlayChildren(old, wanted) {
  const here = new Map([...old.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
  const kept = new Set([...wanted.childNodes].map(keyOf).filter((key) => key && here.has(key)));
  for (const [key, node] of here) if (!kept.has(key)) node.remove();
  let next = old.firstChild;
  for (const node of wanted.childNodes) {
    const match = keyOf(node) ? here.get(keyOf(node)) : findAlike(node, next);
    if (!match) {
      old.insertBefore(document.importNode(node, true), next);
      continue;
    }
    while (next !== match && next && !keyOf(next)) next = discard(next);
    if (next === match) next = next.nextSibling;
    else old.insertBefore(match, next);
    overlay(match, node);
  }
  while (next) next = discard(next);
}

// The nearest node that can become another. For an element it may stand further on, as after a table that has come.
function findAlike(node, next) {
  const isAlike = (other) => !keyOf(other) && other.nodeName === node.nodeName;
  if (node.nodeType !== Node.ELEMENT_NODE) return next && isAlike(next) ? next : null;
  while (next && !isAlike(next)) next = next.nextSibling;
  return next;
}

function discard(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// A page that has come: its sections, its title, and in a line what is new.

function show(page, { isAction }) {
  const focused = document.activeElement;
  const place = focused?.closest("[data-live]");
  const before = new Set(rows().map((row) => row.dataset.key));
  correctBaseUrl(page);
  for (const section of document.querySelectorAll("[data-live]")) {
    const wanted = page.getElementById(section.id);
    if (wanted) overlay(section, wanted);
  }
  if (isAction) overlay($("notice"), page.getElementById("notice"));
  document.title = page.title;
  if (place && !focused.isConnected) place.querySelector("h2")?.focus({ preventScroll: true });
  announce(rows().filter((row) => !before.has(row.dataset.key)), isAction ? "Done." : "");
  paintKeys();
}

const rows = () => [...document.querySelectorAll("[data-noun] [data-key]")];

function announce(added, otherwise) {
  const counts = new Map();
  for (const row of added) {
    const { noun } = row.closest("[data-noun]").dataset;
    counts.set(noun, (counts.get(noun) ?? 0) + 1);
    row.classList.add("fresh");
  }
  const news = [...counts].map(([noun, count]) => `${count} new ${noun}${count === 1 ? "" : "s"}`);
  const words = news.length ? `${news.join(", ")}.` : otherwise;
  if (words) $("news").textContent = words;
}

// The browser knows better than the sandbox under which address it was reached: it may be mounted below a path.
function correctBaseUrl(page) {
  const base = new URL("..", location.href).href.replace(/\/$/, "");
  for (const element of page.querySelectorAll(".base-url")) element.textContent = base;
}

function paintKeys() {
  if (!globalThis.CSS?.highlights) return;
  const ranges = [];
  for (const text of document.querySelectorAll("details[open] > pre")) {
    const node = text.firstChild;
    for (const found of node?.data?.matchAll(/^ *("(?:[^"\\]|\\.)*"):/gm) ?? []) {
      const range = new Range();
      const start = found.index + found[0].length - found[1].length - 1;
      range.setStart(node, start);
      range.setEnd(node, start + found[1].length);
      ranges.push(range);
    }
  }
  CSS.highlights.set("keys", new Highlight(...ranges));
}

// Fetching. Of several loads only the last one counts.

async function load(options, { isAction = false } = {}) {
  const mine = ++turn;
  clearTimeout(timer);
  try {
    const answer = await fetch("./", { ...options, cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    const text = await answer.text();
    if (mine !== turn) return false;
    if (!answer.headers.get("Content-Type")?.startsWith("text/html")) {
      throw new Error(answer.headers.get("X-Reason") ?? `The sandbox answered ${answer.status}.`);
    }
    show(new DOMParser().parseFromString(text, "text/html"), { isAction });
    tell(paused ? "Paused" : "Live", paused ? "paused" : "");
    return answer.ok;
  } catch (error) {
    if (mine !== turn) return false;
    tell("Connection lost, retrying", "lost");
    if (isAction) $("notice").textContent = `That was not done: ${error.message}`;
    return false;
  } finally {
    if (mine === turn) schedule();
  }
}

function tell(words, mood) {
  if (link.textContent !== words) link.textContent = words;
  link.className = `scripted ${mood}`;
}

function schedule() {
  clearTimeout(timer);
  if (!paused && !document.hidden) timer = setTimeout(load, PERIOD);
}

function refreshNow() {
  if (!paused && !document.hidden && !sending) load();
}

pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  tell(paused ? "Paused" : "Live", paused ? "paused" : "");
  if (paused) {
    turn += 1;
    clearTimeout(timer);
  } else {
    refreshNow();
  }
});

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refreshNow()));

document.addEventListener("submit", async (event) => {
  const form = event.target;
  event.preventDefault();
  if (sending) return;
  sending = true;
  const body = new URLSearchParams(new FormData(form, event.submitter));
  const isDone = await load({ method: "POST", body }, { isAction: true });
  sending = false;
  if (isDone) {
    form.reset();
    form.closest(".confirm")?.removeAttribute("open");
  }
});

document.addEventListener("click", async (event) => {
  const name = event.target.closest?.("[data-copy]")?.dataset.copy;
  if (!name) return;
  await navigator.clipboard.writeText($(name).textContent);
  $("news").textContent = "Copied.";
});

document.addEventListener("toggle", paintKeys, { capture: true });

document.documentElement.classList.add("scripts");
if (navigator.clipboard) document.documentElement.classList.add("copies");
correctBaseUrl(document);
schedule();
