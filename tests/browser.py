"""Open the built pages in a browser and say what a reader would stumble over: ``python tests/browser.py _build/html``.

Every page is loaded at the width of a desk and of a phone, in light and in dark colours, by the Chromium of this
machine, from a server on loopback; nothing else may be asked for. Faults are printed, one a line, and any fault fails.
Where no Chromium is installed that is said, and nothing is looked at.
"""

import argparse
import os
import re
import shutil
import sys
import threading
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from playwright.sync_api import sync_playwright

NO_BROWSER = "NO BROWSER: the pages were not looked at. Install chromium, or set CHROMIUM to a Chromium or a Chrome."
#: Widths and heights of a window, in pixels.
WIDE, PHONE = (1400, 900), (390, 844)
#: What the theme makes itself, without an author's text.
NOT_PAGES = {"genindex.html", "py-modindex.html", "search.html"}

# Text that was meant for MathJax and did not reach it. Code may hold anything.
RAW_TEX = r"""() => {
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.data, raw = /\\[(\[]|\$\$|\\[a-zA-Z]{2,}/.exec(text);
    if (raw && !walk.currentNode.parentElement.closest("code, pre, script, style, mjx-container, noscript, textarea"))
      found.push(text.slice(Math.max(0, raw.index - 20), raw.index + 40).trim());
  }
  for (const error of document.querySelectorAll("mjx-merror, [data-mjx-error]")) found.push(error.textContent);
  return found;
}"""

# The page itself must not scroll sideways, nor may it hide what sticks out; a box that scrolls for itself may hold more
# than it shows, and what the reader is not meant to see (no size, or for screen readers) does not count.
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth, found = [];
  const scrolled = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth);
  if (scrolled > width + 1) found.push(`the page is ${scrolled} pixels wide`);
  const scrolls = (element) => /auto|scroll/.test(getComputedStyle(element).overflowX);
  for (const element of (document.querySelector("article") ?? document.body).querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (box.width < 2 || box.height < 2 || (box.right <= width + 1 && box.left >= -1)) continue;
    if (element.closest("mjx-assistive-mml, .visually-hidden, svg *")) continue;
    let inside = false;
    for (let box = element.parentElement; box && !inside; box = box.parentElement) inside = scrolls(box);
    const tag = `<${element.localName} class="${element.className}">`;
    if (!inside) found.push(`${tag} from ${box.left | 0} to ${box.right | 0}`);
  }
  return found.slice(0, 3);
}"""

# Figures are drawn on white: in dark colours they keep it, as a card. A transparent one would be black on black.
DARK_FIGURES = """() => [...document.querySelectorAll("article img")].filter((image) => {
  const [r, g, b, a = 1] = getComputedStyle(image).backgroundColor.match(/[0-9.]+/g).map(Number);
  return !(a === 1 && Math.min(r, g, b) > 200);
}).map((image) => image.getAttribute("src"))"""

# At a desk no line of code or of what it printed is cut off at the edge of its box.
CUT_OFF = """() => [...document.querySelectorAll("article pre")].filter((pre) => pre.scrollWidth > pre.clientWidth + 1)
  .map((pre) => pre.textContent.split("\\n").sort((a, b) => b.length - a.length)[0].trim().slice(0, 60))"""

# A click on the summary of a box turns it, and a second one turns it back; a box may answer a moment later.
STUCK = """async () => {
  const boxes = [...document.querySelectorAll("article details")], before = boxes.map((box) => box.open);
  const click = async () => {
    for (const box of boxes) box.querySelector("summary").click();
    await new Promise((done) => setTimeout(done, 50));
    return boxes.map((box) => box.open);
  };
  const once = await click(), twice = await click();
  const stuck = boxes.filter((_, n) => once[n] === before[n] || twice[n] !== before[n]);
  return stuck.map((box) => box.textContent.slice(0, 40));
}"""

SETTLED = "async () => { await document.fonts.ready; if (window.MathJax?.startup) await MathJax.startup.promise; }"
OPEN_ALL = "() => document.querySelectorAll('details').forEach((box) => { box.open = true; })"


def chromium():
    """Path of a Chromium or Chrome on this machine, or None."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, (shutil.which(name) for name in names if name)), None)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def served(folder):
    """The address under which ``folder`` is served on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def browser():
    """A running browser."""
    with sync_playwright() as play:
        # Without the sandbox, which a container's root may not set up: the pages are ours, and see no network.
        running = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


class Targets(HTMLParser):
    """The anchors of a page and the addresses that it asks for."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.update(attributes[key] for key in ("id", "name") if attributes.get(key))
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key) is not None]


def dead_links(folder):
    """Links of the pages in ``folder`` that lead nowhere within it, anchors included, as messages."""
    paths = [path for path in sorted(Path(folder).rglob("*.html")) if "_static" not in path.parts]  # templates
    pages = {path: Targets(path.read_text()) for path in paths}
    for path, page in pages.items():
        if "_modules" in path.parts:
            continue  # Sphinx's view of the source leads back by one name only where a module is listed under two
        here = path.relative_to(folder).as_posix()
        for link in dict.fromkeys(page.links):
            address, anchor = urldefrag(urljoin(f"http://book/{here}", link))
            if urlsplit(address).netloc != "book":
                continue
            target = Path(folder) / unquote(urlsplit(address).path).lstrip("/")
            target = target / "index.html" if target.is_dir() else target
            if not link or not target.is_file():
                yield f"{here}: dead link {link!r}"
            elif anchor and target in pages and unquote(anchor) not in pages[target].ids:
                yield f"{here}: dead anchor {link!r}"


class Looker:
    """One tab that is led from page to page, and what went wrong in it."""

    def __init__(self, running, root):
        self.root, self.said = root, []
        self.tab = running.new_page()
        self.tab.on("console", lambda message: message.type == "error" and self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on(
            "response", lambda answer: answer.status >= 400 and self.said.append(f"{answer.status} {answer.url}")
        )
        self.tab.route(re.compile(f"^(?!{re.escape(root)}|data:|blob:)"), self.refuse)

    def refuse(self, route):
        self.said.append(f"asks for {route.request.url}")
        route.abort()

    def go(self, name, size=WIDE):
        self.tab.set_viewport_size({"width": size[0], "height": size[1]})
        self.tab.goto(self.root + name)
        self.tab.evaluate(SETTLED)

    def faults(self, name):
        """Faults of one page, at both widths and in both colours, as messages."""
        for size in (WIDE, PHONE):
            self.go(name, size)
            where = f"{name} at {size[0]}"
            yield from self.toggles(where)
            self.tab.evaluate(OPEN_ALL)
            yield from (f"{where}: raw TeX {text!r}" for text in self.tab.evaluate(RAW_TEX))
            for colours in ("light", "dark"):
                self.tab.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", colours)
                yield from (f"{where}, {colours}: too wide: {text}" for text in self.tab.evaluate(TOO_WIDE))
            yield from (f"{where}: dark figure {text}" for text in self.tab.evaluate(DARK_FIGURES))
            if size is WIDE:
                yield from (f"{where}: cut off: {text}" for text in self.tab.evaluate(CUT_OFF))
            yield from (f"{where}: error: {text}" for text in self.said)
            self.said.clear()

    def toggles(self, where):
        """Boxes that do not open and close at a click, and movements that do not move."""
        yield from (f"{where}: a box does not open and close: {text!r}" for text in self.tab.evaluate(STUCK))
        for figure in self.tab.query_selector_all(".player"):
            yield from self.movement(where, figure)

    def movement(self, where, figure):
        """A movement shows another frame when its slider is moved, and plays and stops by its button."""
        frame = "(figure) => [...figure.querySelectorAll('svg, img')].map((part) => part.outerHTML).join()"
        slider, button = figure.query_selector("input[type=range]"), figure.query_selector("button")
        shown = {}
        for end in ("min", "max"):
            slider.evaluate(f"(s) => {{ s.value = s.{end}; s.dispatchEvent(new Event('input')); }}")
            shown[end] = figure.evaluate(frame)
        if shown["min"] == shown["max"]:
            yield f"{where}: the slider of a movement moves nothing"
        button.click()
        self.tab.wait_for_timeout(400)
        playing = figure.evaluate(frame)
        button.click()
        stopped = figure.evaluate(frame)
        self.tab.wait_for_timeout(400)
        if playing == shown["max"] or figure.evaluate(frame) != stopped:
            yield f"{where}: a movement does not play and stop"

    def controls(self, name, size):
        """What the theme offers on page ``name``: other colours, and a search that finds skyrmions."""
        where = f"{name} at {size[0]}"
        self.go(name, size)
        colours = set()
        for _ in range(3):
            self.tab.locator("button.theme-switch-button:visible").first.click()
            colours.add(self.tab.evaluate("() => document.documentElement.dataset.theme"))
        if colours != {"light", "dark"}:
            yield f"{where}: the button for colours gives {sorted(colours)}"
        self.tab.locator("button.search-button:visible, button.search-button__button:visible").first.click()
        self.tab.keyboard.type("skyrmion")
        self.tab.keyboard.press("Enter")
        try:
            self.tab.wait_for_selector("#search-results li a", timeout=10_000)
        except Exception as error:
            yield f"{where}: the search finds no skyrmion ({str(error).splitlines()[0]})"
        yield from (f"{where}: error: {text}" for text in self.said)
        self.said.clear()


def look(folder, theme=True):
    """Faults of the pages under ``folder``, as messages; those of the theme's own controls where ``theme`` holds."""
    folder = Path(folder)
    yield from dead_links(folder)
    names = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.html"))}
    names = [
        name
        for name, path in names.items()
        if name not in NOT_PAGES and not name.startswith("_") and 'http-equiv="Refresh"' not in path.read_text()
    ]
    with browser() as running, served(folder) as root:
        looker = Looker(running, root)
        for name in names:
            yield from looker.faults(name)
        for size in (WIDE, PHONE) if theme else ():
            yield from looker.controls(names[-1], size)


def write_pdf(folder, file):
    """Print the one page in ``folder`` that holds the whole book to ``file``."""
    with browser() as running, served(folder) as root:
        looker = Looker(running, root)
        looker.tab.set_default_timeout(300_000)
        looker.go("index.html")
        margin = {"top": "15mm", "bottom": "15mm", "left": "15mm", "right": "15mm"}
        looker.tab.pdf(path=file, format="A4", margin=margin, print_background=True, outline=True, tagged=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("folder", help="where the built pages are")
    parser.add_argument("--pdf", help="print the book, built as one page, to this file instead")
    arguments = parser.parse_args()
    if chromium() is None:
        print(NO_BROWSER, file=sys.stderr)
        sys.exit(bool(arguments.pdf))
    if arguments.pdf:
        write_pdf(arguments.folder, arguments.pdf)
        print(f"The book: {arguments.pdf}")
        sys.exit()
    faults = 0
    for fault in look(arguments.folder):
        print(fault, flush=True)
        faults += 1
    print(f"The pages were looked at in a browser: {faults or 'no'} fault{'s' * (faults != 1)}.")
    sys.exit(faults > 0)
