/* Keeps the dashboard up to date. Without it the page works as well: its buttons are forms, and reloading shows the news. */
"use strict";

(() => {
  const PATIENCE = 8000;
  const live = document.getElementById("bronto-live");
  const refresh = document.getElementById("bronto-refresh");
  const news = document.getElementById("bronto-news");
  const [words, button] = refresh.children;
  const period = Number(live.dataset.seconds) * 1000;
  let stopped = false;
  let loading = false;
  let timer = 0;

  // What came is laid over what is there. What is the same stays untouched, and with it focus, selection and scroll.

  const nameOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset.key || node.id : "");
  const isAlike = (old, fresh) => old.nodeName === fresh.nodeName && nameOf(old) === nameOf(fresh);
  // Whether a list is open is the reader's to say.
  const isReaders = (element, name) => name === "open" && element.localName === "details";

  function overlay(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !isReaders(old, name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    overlayChildren(old, fresh);
  }

  function overlayChildren(old, fresh) {
    let next = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      let match = next;
      while (match && !isAlike(match, wanted)) match = match.nextSibling;
      if (!match) {
        old.insertBefore(document.importNode(wanted, true), next);
        continue;
      }
      while (next !== match) next = discard(next);
      next = match.nextSibling;
      overlay(match, wanted);
    }
    while (next) next = discard(next);
  }

  function discard(node) {
    const next = node.nextSibling;
    node.remove();
    return next;
  }

  const states = () => new Map([...live.querySelectorAll("[data-state]")].map((card) => [card.id, card.dataset.state]));

  function show(text) {
    const before = states();
    const focused = live.contains(document.activeElement) ? document.activeElement : null;
    const place = focused?.closest("[id][aria-labelledby]");
    const page = new DOMParser().parseFromString(`<div>${text}</div>`, "text/html");
    overlayChildren(live, page.body.firstChild);
    if (focused && !focused.isConnected) place?.querySelector("h2")?.focus({ preventScroll: true });
    const changed = [...live.querySelectorAll("[data-state]")].filter((card) => before.get(card.id) !== card.dataset.state);
    if (changed.length) news.textContent = changed.map((card) => card.dataset.news).join(" ");
  }

  async function load() {
    clearTimeout(timer);
    if (loading || stopped || document.hidden) return;
    loading = true;
    try {
      const answer = await fetch(live.dataset.url, {
        cache: "no-store", credentials: "same-origin", redirect: "manual", signal: AbortSignal.timeout(PATIENCE),
      });
      if (answer.type === "opaqueredirect" || answer.status === 403) {
        end();
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const text = await answer.text();
      if (!stopped) {
        show(text);
        tell("live");
      }
    } catch {
      if (!stopped) tell("lost");
    } finally {
      loading = false;
      schedule();
    }
  }

  function schedule() {
    clearTimeout(timer);
    if (!stopped) timer = setTimeout(load, period);
  }

  function tell(mood) {
    refresh.className = `bronto-refresh bronto-refresh-${mood}`;
    if (words.textContent !== refresh.dataset[mood]) words.textContent = refresh.dataset[mood];
    button.textContent = stopped ? button.dataset.go : button.dataset.stop;
  }

  // Somebody has logged out, or may no longer see this.
  function end() {
    stopped = true;
    tell("ended");
    news.textContent = refresh.dataset.ended;
    button.remove();
  }

  button.addEventListener("click", () => {
    stopped = !stopped;
    tell(stopped ? "stopped" : "live");
    load();
  });
  document.addEventListener("visibilitychange", load);
  // A page that the browser had put aside may be old.
  window.addEventListener("pageshow", (event) => event.persisted && load());

  refresh.hidden = false;
  tell("live");
  schedule();
})();
