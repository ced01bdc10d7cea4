/* Tells the shop by which campaign link a visitor has come to a page, for pages that come from a cache.

   <script src="{% static 'bronto_orders/tracking.js' %}" data-url="{% url 'bronto_orders:tracking' %}" defer></script>

   Sets no cookie, and reads none but Django's token against forgery, whose name data-csrf-cookie may change. Sends
   nothing unless the page's address holds a tracking ID; whether it may be kept, the shop decides. */
(() => {
  "use strict";

  const { url, csrfCookie = "csrftoken" } = document.currentScript.dataset;
  // The last one, as the shop itself reads it.
  const tid = new URLSearchParams(location.search).getAll("_bta_tid").pop();
  if (!tid || !url) return;

  const cookies = document.cookie.split("; ").map((pair) => pair.split("="));
  const token = (cookies.find(([name]) => name === csrfCookie) || [])[1];
  const headers = { "Content-Type": "application/json", ...(token && { "X-CSRFToken": token }) };
  // The page may be left at once.
  fetch(url, { method: "POST", headers, body: JSON.stringify({ tid }), credentials: "same-origin", keepalive: true })
    .catch(() => {});
})();
