"""What ``tests/browser.py`` has to find, planted in tiny pages, one fault each, and what it must let pass."""

import pytest
from browser import NO_BROWSER, Looker, browser, chromium, dead_links, served

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_BROWSER)

FIGURE = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
MOVEMENT = """<div class="player"><svg><circle r="{start}"/></svg><input type="range" min="0" max="9" value="0">
<button>play</button></div><script>
const [slider, button, circle] = ["input", "button", "circle"].map((name) => document.querySelector(name));
let timer = null;
const show = () => circle.setAttribute("r", slider.value);
{slide}
button.onclick = () => {{ if (timer) {{ {stop} }} else timer = setInterval(() => {{
  slider.value = (Number(slider.value) + 1) % 10; {play} }}, 50); }};
</script>"""
GOOD = {"start": 0, "slide": "slider.oninput = show;", "stop": "clearInterval(timer); timer = null;", "play": "show();"}

#: Body of a page, and what is said of it.
PLANTED = {
    "overflow": ("<div style='width: 2000px'>wide</div>", "the page is 20"),
    "cut": ("<div style='overflow: hidden'><div style='width: 2000px'>wide</div></div>", 'too wide: <div class="">'),
    "left": ("<p style='margin-left: -100px'>out on the left</p>", "too wide: <p"),
    "inline": (r"<p>The angle \(\theta\) is small.</p>", "raw TeX"),
    "display": ("<p>$$E = 0$$</p>", "raw TeX"),
    "environment": (r"<p>\begin{aligned} a \end{aligned}</p>", "raw TeX"),
    "folded": (r"<details><summary>more</summary>\(\theta\)</details>", "raw TeX"),
    "mathjax": ("<mjx-merror>Undefined control sequence</mjx-merror>", "raw TeX 'Undefined"),
    "console": ("<script>console.error('went wrong')</script>", "error: went wrong"),
    "exception": ("<script>throw new Error('went wrong')</script>", "went wrong"),
    "missing": ("<script src='missing.js'></script>", "404"),
    "network": ("<script src='https://example.org/a.js'></script>", "asks for https://example.org/a.js"),
    "code": (f"<pre style='overflow: auto'>{'long ' * 100}</pre>", "cut off: long long"),
    "figure": (f"<img width=9 height=9 src='{FIGURE}'>", "dark figure data:image"),
    "toggle": ("<details ontoggle='this.open = false'><summary>more</summary>text</details>", "does not open"),
    "slider": (MOVEMENT.format(**GOOD | {"slide": ""}), "slider of a movement moves nothing"),
    "still": (MOVEMENT.format(**GOOD | {"play": ""}), "does not play and stop"),
    "endless": (MOVEMENT.format(**GOOD | {"stop": ""}), "does not play and stop"),
}
#: Pages without a fault that look a little like one.
CLEAN = {
    "scrolls": "<div style='overflow-x: auto'><div style='width: 2000px'>wide, in a box that scrolls</div></div>",
    "quoted": r"<p>Write <code>\(x\)</code> or <code>$$</code>. It costs $5, or C:\ .</p>",
    "card": f"<img width=9 height=9 style='background: #fff' src='{FIGURE}'>",
    "toggles": "<details><summary>more</summary><details><summary>and more</summary>text</details></details>",
    "moves": MOVEMENT.format(**GOOD),
    "warning": "<script>console.warn('only a warning')</script>",
}


def page(body):
    return f"<!doctype html><html><head><meta charset='utf-8'></head><body><article>{body}</article></body></html>"


@pytest.fixture(scope="module")
def looker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, body in [*CLEAN.items(), *((name, body) for name, (body, _) in PLANTED.items())]:
        (folder / f"{name}.html").write_text(page(body))
    (folder / "favicon.ico").touch()
    with browser() as running, served(folder) as root:
        yield Looker(running, root)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(looker, name):
    faults = list(looker.faults(f"{name}.html"))
    assert any(PLANTED[name][1] in fault for fault in faults), faults


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_page_passes(looker, name):
    assert list(looker.faults(f"{name}.html")) == []


def test_dead_links_and_anchors_are_found(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.html").write_text(page("<a href='deep/b.html#there'>b</a> <a href='#here'>up</a> <i id='here'></i>"))
    (tmp_path / "deep" / "b.html").write_text(
        page("<i id='there'></i> <a href='../a.html'>a</a> <a href='mailto:x@y'>x</a>")
    )
    assert list(dead_links(tmp_path)) == []
    links = "<a href='deep/c.html'>c</a> <a href='deep/b.html#gone'>b</a> <img src='gone.png'> <a href=''>none</a>"
    (tmp_path / "d.html").write_text(page(links))
    assert list(dead_links(tmp_path)) == [
        "d.html: dead link 'deep/c.html'",
        "d.html: dead anchor 'deep/b.html#gone'",
        "d.html: dead link 'gone.png'",
        "d.html: dead link ''",
    ]
