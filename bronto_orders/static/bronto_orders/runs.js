/* Refreshes the page of a resync while it goes on. Without this file, reloading the page does the same. */
"use strict";

(() => {
    const ID = "bronto-run";
    const LEAST_PAUSE = 2000;

    // A busy database is not asked more than a tenth of the time.
    const again = (took) => window.setTimeout(refresh, Math.max(LEAST_PAUSE, 10 * took));

    const refresh = async () => {
        const region = document.getElementById(ID);
        if (!region || !region.hasAttribute("data-refresh")) {
            return;
        }
        const started = performance.now();
        if (!document.hidden) {
            try {
                const answer = await fetch(window.location.href, {credentials: "same-origin", redirect: "manual"});
                if (answer.type === "opaqueredirect" || answer.status === 403 || answer.status === 404) {
                    end(region);
                    return;
                }
                if (answer.ok) {
                    show(region, new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(ID));
                }
            } catch {
                // The next look may do better.
            }
        }
        again(performance.now() - started);
    };

    // Somebody has logged out, may no longer see this, or it is gone.
    const end = (region) => {
        region.querySelector("[role=status]").textContent = region.dataset.ended;
    };

    const show = (region, fresh) => {
        if (!fresh) {
            return;
        }
        const held = region.contains(document.activeElement) ? document.activeElement.id : "";
        // Put in the place of what was there, so that the region itself and its announcements stay.
        const status = region.querySelector("[role=status]");
        const news = fresh.querySelector("[role=status]");
        if (status.textContent !== news.textContent) {
            status.replaceChildren(...news.childNodes);
        }
        news.replaceWith(status);
        region.replaceChildren(...fresh.childNodes);
        region.toggleAttribute("data-refresh", fresh.hasAttribute("data-refresh"));
        if (held) {
            document.getElementById(held)?.focus({preventScroll: true});
        }
    };

    again(0);
})();
