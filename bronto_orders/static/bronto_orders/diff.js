/* Buttons that copy. Without this file the texts can be selected as usual. */

"use strict";

function copy(button, source, news) {
    const tell = (text) => { news.textContent = text; };
    tell("");
    const select = () => {
        const range = document.createRange();
        range.selectNodeContents(source);
        const selection = window.getSelection();
        selection.removeAllRanges();
        selection.addRange(range);
        source.focus();
    };
    const failed = () => { select(); tell(news.dataset.failed); };
    const done = () => {
        tell(news.dataset.text);
        const label = button.textContent;
        button.textContent = news.dataset.text;
        button.disabled = true;
        window.setTimeout(() => {
            button.textContent = label;
            button.disabled = false;
        }, 1500);
    };
    // There is no clipboard on a page that was not loaded securely.
    if (navigator.clipboard) {
        navigator.clipboard.writeText(source.textContent).then(done, failed);
    } else {
        failed();
    }
}

for (const button of document.querySelectorAll("[data-bronto-copy]")) {
    const source = document.getElementById(button.dataset.brontoCopy);
    const news = document.getElementById("bronto-copied");
    if (source && news) {
        button.hidden = false;
        button.addEventListener("click", () => copy(button, source, news));
    }
}
