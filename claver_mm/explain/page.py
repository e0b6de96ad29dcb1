"""An explanation as one HTML page that needs nothing beside it: no other file, no network.

Pure: imports NumPy, OpenCV and nothing of ``mm*``.
"""
from __future__ import annotations

import base64
import html
from pathlib import Path
from string import Template

import cv2
import numpy as np

from .explanation import Explanation
from .pictures import image_rows, word_shades

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; font-weight: 500; line-height: 2; margin: 0; }
h1 span { padding: .15em .35em; border-radius: .2em; }
h2 { font-size: 1rem; margin: 2rem 0 .5rem; }
.note { color: #666; font-size: .875rem; }
.player { display: flex; flex-wrap: wrap; gap: .5rem; }
figure { margin: 0; text-align: center; }
img { display: block; width: 100%; image-rendering: auto; }
.player figure { flex: 1 1 12rem; }
.controls { display: flex; gap: .75rem; align-items: center; margin: .75rem 0; }
.controls input { flex: 1; }
.strip { overflow-x: auto; }
table { border-spacing: .25rem; }
th { font-weight: 500; text-align: right; padding-right: .5rem; white-space: nowrap; }
.strip td { min-width: 6rem; }
.bar { background: #999; height: 1rem; display: inline-block; vertical-align: middle; }
.own, .own th { font-weight: 700; } .own .bar { background: #d55e00; }
.share { width: 24rem; white-space: nowrap; }
</style>
</head>
<body>
<h1>$words</h1>
<p class="note">$about</p>
<div class="player">$player</div>
<div class="controls"><button id="play">play</button>
<input id="time" type="range" min="0" max="$last" value="0" aria-label="frame"><output id="number"></output></div>
<h2>Labels</h2>
<table>$labels</table>
<h2>All frames</h2>
<div class="strip"><table>$strip</table></div>
<p class="note">Light is relevance (Chefer et al., 2021), scaled by the largest value of a row. Spatial: what is read of
a frame behind the image tower took from its patches. Temporal: what is read behind the temporal transformer took from
the tokens of all frames. Both: the second rolled on through the first. Hover over a word for its share.$absent</p>
<script>
const numbers = $numbers, time = document.getElementById("time"), play = document.getElementById("play");
let timer = null;
function show() {
  for (const image of document.querySelectorAll(".player img"))
    image.src = document.getElementById(image.dataset.row + "-" + time.value).src;
  document.getElementById("number").textContent = "frame " + numbers[time.value];
}
function stop() { clearInterval(timer); timer = null; play.textContent = "play"; }
time.addEventListener("input", () => { stop(); show(); });
play.addEventListener("click", () => {
  if (timer) return stop();
  play.textContent = "stop";
  timer = setInterval(() => { time.value = (Number(time.value) + 1) % numbers.length; show(); }, 300);
});
show();
</script>
</body>
</html>
""")


def write_page(explanation: Explanation, path: str | Path) -> None:
    """Write an ``.html`` file with a player, the words, the labels and all frames under their maps."""
    rows = image_rows(explanation)
    about = f"Similarity {explanation.similarity:.3f}."
    if explanation.against:
        about += " What speaks for it and not for: " + "; ".join(map(html.escape, explanation.against)) + "."
    strip = []
    for number, (name, images) in enumerate(rows.items()):
        cells = "".join(f'<td><img id="{number}-{t}" src="{_data_uri(image)}" alt="{name}, frame {place}"></td>'
                        for t, (image, place) in enumerate(zip(images, explanation.frame_numbers)))
        strip.append(f"<tr><th>{name}</th>{cells}</tr>")
    whole = explanation.frame_relevance.sum()
    if whole:  # of a temporal transformer
        shares = "".join(f"<td>{100 * value / whole:.0f} %</td>" for value in explanation.frame_relevance)
        strip.append(f'<tr class="note"><th>frame\'s share</th>{shares}</tr>')
    own = explanation.label or explanation.text
    labels = "".join(
        f'<tr{" class=own" * (label == own)}><th>{html.escape(label)}</th><td class="share">'
        f'<span class="bar" style="width:{75 * score:.2f}%"></span> {100 * score:.1f} %</td></tr>'
        for label, score in explanation.ranked)
    player = "".join(f'<figure><img data-row="{number}" alt="{name}"><figcaption>{name}</figcaption></figure>'
                     for number, name in enumerate(rows))
    Path(path).write_text(PAGE.substitute(
        title=html.escape(explanation.text), words=_words(explanation), about=about, player=player, labels=labels,
        absent="".join(f" Here is {note}." for note in explanation.absent), strip="\n".join(strip),
        last=len(explanation.frames) - 1, numbers=explanation.frame_numbers), encoding="utf-8")


def _words(explanation: Explanation) -> str:
    if explanation.words is None:
        return html.escape(explanation.text)
    total = sum(value for _, value in explanation.words) or 1
    return " ".join(
        f'<span style="background:rgb({",".join(str(round(255 * x)) for x in shade)});color:black" '
        f'title="{100 * value / total:.0f} % of the text\'s relevance">{html.escape(word)}</span>'
        for (word, shade), (_, value) in zip(word_shades(explanation), explanation.words))


def _data_uri(image: np.ndarray) -> str:
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()
