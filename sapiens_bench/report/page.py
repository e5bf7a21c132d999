"""Template and style of the HTML report."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ table.title | clean }}</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<header>
<p class="eyebrow">sapiens-bench report</p>
<h1>{{ {"pose": "2D human pose", "seg": "Body-part segmentation", "depth": "Depth", "normal": "Surface normals"}.get(table.task, table.task) | clean }}</h1>
{% if table.incomplete %}
<p class="alarm"><strong>INCOMPLETE</strong> {{ table.incomplete | clean }}</p>
{% endif %}
</header>
{% macro scores(columns, groups, sides, bars) %}
<div class="scroll">
<table>
<thead>
<tr>
<th class="rank">#</th><th>Model</th>
{% if bars %}<th class="bar" aria-label="interval"></th>{% endif %}
{% for column in columns %}
<th class="num{{ ' ranks' if column.ranks and not column.published }}{{ ' published' if column.published }}">{{ column.title | clean }}{% if column.published %}<small>published</small>{% endif %}</th>
{% endfor %}
{% for title, right in sides %}
<th class="{{ 'num' if right }}">{{ title }}</th>
{% endfor %}
</tr>
</thead>
{% for group in groups %}
<tbody class="{{ group.name }}">
{% if group.title %}
<tr class="group"><th colspan="{{ 2 + (1 if bars else 0) + columns | length + sides | length }}" scope="rowgroup">{{ group.title }}</th></tr>
{% endif %}
{% for line in group.rows %}
<tr>
<td class="rank">{{ line.row.rank or "" }}</td>
<th scope="row"><span title="{{ line.row.model | clean }}">{{ line.row.title | clean }}</span>{% if line.row.notes %}<sup>{{ line.row.notes | join(",") }}</sup>{% endif %}</th>
{% if bars %}
<td class="bar">{% if line.bar %}<svg width="{{ line.bar.w }}" height="{{ line.bar.h }}" role="img" aria-label="interval"><line x1="0" x2="{{ line.bar.w }}" y1="7" y2="7" class="axis"/><rect x="{{ line.bar.low }}" y="3.5" width="{{ line.bar.width }}" height="7" rx="3"/><circle cx="{{ line.bar.value }}" cy="7" r="3"/></svg>{% endif %}</td>
{% endif %}
{% for cell in line.cells %}
<td class="num{{ ' published' if cell and cell.published }}">{% if cell %}<span class="value{{ ' best' if cell.best }}" title="{{ cell.hint | clean }}">{{ cell.value }}{{ cell.mark }}</span>{% if cell.notes %}<sup>{{ cell.notes | join(",") }}</sup>{% endif %}{% if cell.interval %}<small>{{ cell.interval }}</small>{% endif %}{% endif %}</td>
{% endfor %}
{% for text in line.sides %}
<td class="{{ 'num' if sides[loop.index0][1] else 'text' }}">{{ text | clean }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
{% endfor %}
</table>
</div>
{% endmacro %}
{% for view in blocks %}
<section>
<h2>{{ view.block.title | clean }}</h2>
<p class="protocol"><code>{{ view.block.dataset | clean }}</code> protocol <code>{{ view.block.protocol | clean }}</code>{% if view.block.protocol_title %} {{ view.block.protocol_title | clean }}{% endif %}{% if view.block.n_images %} <span class="dot">·</span> {{ view.block.n_images }} images{% endif %}</p>
{{ scores(view.columns, view.groups, view.sides, view.has_bars) }}
{% if view.block.remarks or view.block.footnotes %}
<div class="notes">
{% for remark in view.block.remarks %}
<p class="{{ 'alarm' if remark.startswith('SUBSET') }}">{{ remark | clean }}</p>
{% endfor %}
{% for note in view.block.footnotes %}
<p><sup>{{ loop.index }}</sup> {{ note | clean }}</p>
{% endfor %}
</div>
{% endif %}
{% if view.details %}
<details><summary>All scores</summary>
{{ scores(view.details.columns, view.details.groups, [], false) }}
</details>
{% endif %}
{% if view.absent %}
<details><summary>Not measured here ({{ view.absent | length }})</summary>
<div class="scroll">
<table class="small">
<thead><tr>{% for title, right in view.absent_heads %}<th class="{{ 'num' if right }}">{{ "Model" if loop.first else title }}</th>{% endfor %}</tr></thead>
<tbody class="unavailable">
{% for line in view.absent %}
<tr>{% for text in line %}{% if loop.first %}<th scope="row">{{ text | clean }}</th>{% else %}<td class="{{ 'num' if view.absent_heads[loop.index0][1] }}">{{ text | clean }}</td>{% endif %}{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
</details>
{% endif %}
{% if view.remedies %}
<details><summary>How to measure the other rows</summary>
<dl>
{% for models, how in view.remedies %}
<dt>{{ models | clean }}</dt><dd>{{ how | clean }}</dd>
{% endfor %}
</dl>
</details>
{% endif %}
</section>
{% endfor %}
{% if table.legend or table.notes %}
<div class="notes">
{% for text in table.legend %}
<p>{{ text | clean }}</p>
{% endfor %}
{% for text in table.notes %}
<p>{{ text | clean }}</p>
{% endfor %}
</div>
{% endif %}
{% if table.facts %}
<footer>
<dl>
{% for name, value in table.facts.items() %}
<dt>{{ name }}</dt><dd>{% if name == "command" %}<code>{{ value | clean }}</code>{% else %}{{ value | clean }}{% endif %}</dd>
{% endfor %}
</dl>
</footer>
{% endif %}
</main>
</body>
</html>"""  # noqa: E501 - markup

STYLE = """
:root { --ink: #1b1f24; --soft: #5b6470; --faint: #8b949e; --line: #e3e6ea; --ground: #f6f7f9; --card: #ffffff;
  --accent: #0b6e4f; --alarm: #9a3412; --alarm-ground: #fff4ed; --printed: #6b4fa0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #a3adb8; --faint: #77818c; --line: #2c333b; --ground: #12161b; --card: #1a2027;
    --accent: #4cc38a; --alarm: #ffb38a; --alarm-ground: #3a2116; --printed: #b9a3e8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.5; font-size: 15px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
.eyebrow { margin: 0; color: var(--accent); font-size: .8rem; font-weight: 600; letter-spacing: .06em;
  text-transform: uppercase; }
h1 { margin: .1rem 0 1.2rem; font-size: 2rem; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; }
h2 { margin: 0; font-size: 1.2rem; font-weight: 620; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.4rem 1.5rem;
  margin: 0 0 1.5rem; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .88em;
  overflow-wrap: anywhere; }
.protocol { margin: .2rem 0 1rem; color: var(--soft); }
.dot { color: var(--faint); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .75rem; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-size: .78rem; font-weight: 600; white-space: nowrap; vertical-align: bottom;
  border-bottom: 2px solid var(--line); }
thead th.ranks { color: var(--ink); }
tbody th { font-weight: 500; min-width: 11rem; }
tbody tr:last-child > * { border-bottom-color: transparent; }
tbody + tbody tr:first-child > * { border-top: 2px solid var(--line); }
.rank { width: 2.2rem; color: var(--faint); text-align: right; }
.num { text-align: right; white-space: nowrap; }
.num small { display: block; color: var(--faint); font-size: .76rem; font-weight: 400; }
.value.best { font-weight: 700; color: var(--accent); }
.published, .published small { color: var(--printed); font-style: italic; }
.text { color: var(--soft); font-size: .88rem; min-width: 9rem; }
.bar { width: 1%; padding-right: 0; vertical-align: middle; }
.bar svg { display: block; overflow: visible; }
.bar .axis { stroke: var(--line); }
.bar rect { fill: var(--accent); opacity: .3; }
.bar circle { fill: var(--accent); }
.floor .bar rect, .floor .bar circle { fill: var(--faint); }
.small { font-size: .85rem; }
.small th, .small td { padding: .3rem .75rem; }
.group th { padding-top: .9rem; color: var(--faint); font-size: .78rem; font-weight: 600; border-bottom: 0; }
.unavailable td, .unavailable tr:not(.group) th { color: var(--soft); }
sup { font-size: .7em; line-height: 0; color: var(--soft); padding-left: .1em; }
.notes { margin-top: 1rem; color: var(--soft); font-size: .85rem; }
.notes p { margin: .2rem 0; }
.alarm, .notes .alarm { display: inline-block; margin: .3rem 0; padding: .35rem .7rem; border-radius: 6px;
  color: var(--alarm); background: var(--alarm-ground); }
details { margin-top: 1rem; }
summary { cursor: pointer; color: var(--soft); font-size: .88rem; font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; font-size: .85rem; }
dt { color: var(--soft); max-width: 22rem; } dd { margin: 0; overflow-wrap: anywhere; }
footer { color: var(--soft); }
@media (max-width: 640px) { dl { grid-template-columns: 1fr; } main { padding: 1.5rem .8rem; } }
@media print { body { background: none; } section { break-inside: avoid; } }
"""
