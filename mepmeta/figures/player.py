"""Frames that follow one another in a page: a slider, a button, and a still where no script runs and on paper."""

import html
import json
import zlib
from collections.abc import Sequence

__all__ = ["hidden", "played"]

#: Frames a second.
SPEED = 6
#: Everything is in the page itself, so that it needs no network and moves in any notebook.
PAGE = """<figure class="player" id="{id}" style="margin: 0 auto">
{body}
<div class="controls" style="display: flex; gap: 0.8em; align-items: center; flex-wrap: wrap">
<button type="button" aria-label="play or stop" style="min-width: 3em">&#9654;</button>
<input type="range" min="0" max="{last}" value="{still}" aria-label="frame" style="flex: 1; min-width: 8em">
<output style="flex-basis: 100%">{label}</output></div>
<style>@media print {{ .player .controls {{ display: none !important }} }}</style>
<script>(() => {{
  const player = document.getElementById("{id}"), labels = {labels};
  const [button, slider, text] = ["button", "input", "output"].map((name) => player.querySelector(name));
  const frames = player.querySelectorAll(".frame");
  let timer = null;
  const show = () => {{
    frames.forEach((frame, k) => {{ frame.style.display = k == slider.value ? "" : "none"; }});
    text.textContent = labels[slider.value];
  }};
  const stop = () => {{ clearInterval(timer); timer = null; button.innerHTML = "&#9654;"; }};
  slider.addEventListener("input", () => {{ stop(); show(); }});
  button.addEventListener("click", () => {{
    if (timer) return stop();
    if (slider.value == slider.max) slider.value = 0;
    show();
    button.innerHTML = "&#10073;&#10073;";
    timer = setInterval(() => {{
      slider.value = +slider.value + 1;
      show();
      if (slider.value == slider.max) stop();
    }}, {pause});
  }});
}})();</script>
</figure>"""


def hidden(frame: int, still: int) -> str:
    """What a frame is styled with before a script runs: only the still is shown."""
    return "" if frame == still else "display: none"


def played(body: str, labels: Sequence[str], still: int = 0) -> str:
    """A body whose elements of class ``frame`` are shown one at a time, each with its label below."""
    return PAGE.format(
        id=f"player-{zlib.crc32(body.encode()):08x}", body=body, last=len(labels) - 1, still=still,
        label=html.escape(labels[still]), labels=json.dumps([*labels]).replace("<", "\\u003c"), pause=1000 // SPEED,
    )  # fmt: skip
