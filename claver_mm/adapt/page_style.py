"""How the report's page is laid out and coloured. Pure: imports the standard library alone."""
from __future__ import annotations

from string import Template

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root { --paper: #fff; --ink: #222; --quiet: #5f5f5f; --rule: #d8d8d8; --track: #e6e6e6; --right: #0072b2;
  --wrong: #d55e00; --hit: 0 114 178; --miss: 213 94 0; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #e8e8e8; --quiet: #a8a8a8; --rule: #3b3f44; --track: #33373c; --right: #56b4e9;
    --wrong: #f08a3c; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--paper); overflow-wrap: break-word; }
h1 { font-size: 1.75rem; font-weight: 600; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--rule); }
p { max-width: 48rem; margin: .5rem 0; }
header p, footer, .note, caption, figcaption .note { color: var(--quiet); font-size: .875rem; }
figure { margin: 0; }
table { border-collapse: collapse; }
caption, figure > figcaption { text-align: start; margin-bottom: .35rem; }
th, td { padding: .25rem .5rem; text-align: start; vertical-align: top; }
th:first-child, td:first-child { padding-left: 0; }
thead th { color: var(--quiet); font-size: .8125rem; font-weight: 500; vertical-align: bottom; }
tbody th { font-weight: 500; }
tbody tr { border-top: 1px solid var(--rule); }
figcaption, p, li, details td { overflow-wrap: anywhere; }
.number { text-align: end; white-space: nowrap; font-variant-numeric: tabular-nums; }
thead .number { white-space: normal; }
.large { font-size: 1.25rem; font-weight: 700; line-height: 1.2; }
.result td, .result tbody th { vertical-align: middle; }
.result .wide { width: 22rem; }
.classes { width: 100%; max-width: 56rem; }
.classes td:first-child { width: 1.75rem; }
.classes .wide { width: 14rem; min-width: 4rem; vertical-align: middle; }
.scroll { max-height: 36rem; overflow: auto; border-bottom: 1px solid var(--rule); }
.scroll thead tr > * { position: sticky; top: 0; background: var(--paper); }
.across { overflow-x: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem 2rem;
  align-items: start; margin-top: .75rem; }
.pair > * { min-width: 0; }
svg { display: block; }
svg text { fill: var(--quiet); font-size: 12px; }
.chart { width: 100%; max-width: 32rem; }
.map { width: 100%; max-width: 40rem; }
.map text { font-size: 18px; }
.map .ground { fill: none; stroke: var(--rule); }
.bar { width: 100%; height: 1rem; }
.track { fill: var(--track); }
.right { fill: var(--right); }
.wrong { fill: var(--wrong); }
.ends { fill: none; stroke: var(--ink); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.grid { stroke: var(--rule); }
.line { fill: none; stroke: var(--right); stroke-width: 2; stroke-linejoin: round; }
.chosen { fill: var(--paper); stroke: var(--wrong); stroke-width: 3; }
.chart .said { fill: var(--ink); font-weight: 600; font-size: 13px; paint-order: stroke; stroke: var(--paper);
  stroke-width: 5px; }
.ideal { stroke: var(--quiet); stroke-dasharray: 2 4; }
.error { stroke: var(--ink); stroke-width: 1.5; }
.matrix td, .matrix thead th { text-align: center; min-width: 2.1rem; padding: .25rem; }
.matrix tbody th { padding: .25rem .5rem .25rem 0; min-width: 6rem; }
.matrix tbody tr { border: 0; }
.matrix tbody td { border: 1px solid var(--paper); font-variant-numeric: tabular-nums; overflow-wrap: normal; }
.matrix caption { white-space: nowrap; }
.matrix abbr { text-decoration: none; }
.hit { background: rgb(var(--hit) / var(--a)); }
.miss { background: rgb(var(--miss) / calc(var(--a) + .12)); }
.none { color: var(--rule); }
.strip { margin: 1.25rem 0; }
.frames { display: grid; grid-template-columns: repeat(6, 1fr); gap: 3px; }
.frames img { display: block; width: 100%; max-height: 14rem; object-fit: contain; background: var(--track); }
.unread { border-left: 3px solid var(--wrong); padding-left: .75rem; margin: .25rem 0; }
summary { cursor: pointer; }
footer { margin: 3rem 0 1rem; }
@media (max-width: 40rem) {
  .frames { grid-template-columns: repeat(3, 1fr); }
  body { padding: 0 .75rem; }
  table { font-size: .875rem; }
  th, td { padding: .25rem; }
  .matrix td, .matrix thead th { min-width: 1.65rem; padding: .25rem .1rem; }
  .matrix tbody th { min-width: 5rem; }
  .result .wide { display: none; }
  .classes .wide { width: 3rem; min-width: 3rem; }
  .classes th, .classes td { padding: .25rem .15rem; } }
@media print { .scroll { max-height: none; } }
</style>
</head>
<body>
<header><h1>$title</h1>
$about</header>
<main>
$sections
</main>
<footer>Made by $made</footer>
</body>
</html>
""")
