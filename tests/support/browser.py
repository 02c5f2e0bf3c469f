"""Loads a page in Qt WebEngine, which is Chromium, and says in JSON what a reader would get.

Run as a process of its own by tests/scripts/test_report.py, which sets Qt's environment: python
browser.py PAGE FOLDER.  FOLDER gets screenshots and the page as PDF.  For each width the result
has what sticks out of the page, and the size of every picture, plot and table; and once, what the
console said and which addresses were asked for.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from PyQt6.QtCore import QTimer, QUrl
from PyQt6.QtWebEngineCore import QWebEnginePage, QWebEngineUrlRequestInterceptor
from PyQt6.QtWebEngineWidgets import QWebEngineView
from PyQt6.QtWidgets import QApplication

WIDTHS = (400, 1200)
SETTLE_MS = 300
"""After a change of width, before the page is measured."""
WATCHDOG_MS = 60_000

MEASURE = """
(() => {
  const box = e => { const r = e.getBoundingClientRect();
                     return [r.left, r.top, r.right, r.bottom].map(Math.round); };
  const all = [...document.body.querySelectorAll('*')];
  const named = (selector, extra) => [...document.querySelectorAll(selector)].map(
    e => ({box: box(e), ...extra(e)}));
  const page = getComputedStyle(document.body);
  return JSON.stringify({
    inner: innerWidth,
    scroll: document.documentElement.scrollWidth,
    height: document.documentElement.scrollHeight,
    dark: matchMedia('(prefers-color-scheme: dark)').matches,
    outside: all.filter(e => { const r = e.getBoundingClientRect();
                               return r.width && (r.right > innerWidth + 1 || r.left < -1); })
                .map(e => e.outerHTML.slice(0, 120)),
    clipped: all.filter(e => !e.closest('svg') && e.clientWidth
                             && e.scrollWidth > e.clientWidth + 1)
                .concat([...document.querySelectorAll('svg text')].filter(e => {
                  const r = e.getBoundingClientRect(), s = e.closest('svg').getBoundingClientRect();
                  return r.left < s.left || r.right > s.right || r.top < s.top - 1
                         || r.bottom > s.bottom; }))
                .map(e => e.outerHTML.slice(0, 120)),
    images: named('img', e => ({natural: e.naturalWidth, alt: e.alt})),
    plots: named('svg', e => ({label: e.getAttribute('aria-label'),
                               curves: [...e.querySelectorAll('path')].filter(
                                 p => p.getTotalLength() > 0 && getComputedStyle(p).stroke != 'none'
                               ).length,
                               font: 12 * e.getBoundingClientRect().width / e.viewBox.baseVal.width
                             })),
    tables: named('table', e => ({rows: e.rows.length, caption: e.caption.textContent})),
    headings: [...document.querySelectorAll('h1, h2, h3')].map(e => [e.tagName, e.textContent]),
    title: document.title,
    text: document.body.innerText,
    colours: {
      page: page.backgroundColor, text: page.color,
      quiet: getComputedStyle(document.querySelector('caption')).color,
      axis: getComputedStyle(document.querySelector('svg text')).fill,
      cost: getComputedStyle(document.querySelector('svg .cost')).stroke,
      accuracy: getComputedStyle(document.querySelector('svg .accuracy')).stroke,
    },
  });
})()
"""


class Page(QWebEnginePage):
    def __init__(self, parent) -> None:
        super().__init__(parent)
        self.said: list[str] = []

    def javaScriptConsoleMessage(self, _level, message, line, _source) -> None:  # noqa: N802
        self.said.append(f"line {line}: {message}")


class Requests(QWebEngineUrlRequestInterceptor):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def interceptRequest(self, info) -> None:  # noqa: N802
        address = info.requestUrl().toString()
        if not address.startswith("data:"):
            self.asked.append(address)


def main(path: str, folder: str) -> None:
    app = QApplication(["browser"])
    view = QWebEngineView()
    page, requests = Page(view), Requests()
    page.setUrlRequestInterceptor(requests)
    view.setPage(page)
    view.show()
    states: list[dict] = []

    def arrange() -> None:
        view.resize(WIDTHS[len(states)], 900)
        QTimer.singleShot(SETTLE_MS, lambda: page.runJavaScript(MEASURE, measured))

    def measured(text: str) -> None:
        states.append({"width": view.width(), **json.loads(text)})
        view.resize(view.width(), states[-1]["height"])
        QTimer.singleShot(SETTLE_MS, shot)

    def shot() -> None:
        view.grab().save(f"{folder}/{view.width()}.png")
        if len(states) < len(WIDTHS):
            arrange()
            return
        page.pdfPrintingFinished.connect(lambda _path, done: finish(done))
        page.printToPdf(f"{folder}/page.pdf")

    def finish(printed: bool) -> None:
        said = {"printed": printed, "said": page.said, "asked": requests.asked}
        print(json.dumps({"states": states, **said}))
        sys.stdout.flush()
        os._exit(0)  # Qt's threads take seconds to end

    page.loadFinished.connect(lambda loaded: arrange() if loaded else os._exit(3))
    QTimer.singleShot(WATCHDOG_MS, lambda: os._exit(4))
    page.load(QUrl.fromLocalFile(str(Path(path).resolve())))
    app.exec()


if __name__ == "__main__":
    main(*sys.argv[1:])
