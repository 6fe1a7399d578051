"""The style sheet of the page: follows the light or dark mode of the system and any width."""

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --paper: #ffffff; --faint: #667085;
  --rule: #e3e6eb; --card: #f6f7f9; --one: #1f5fa8; --two: #d9661f; --good: #2f8f5b;
  --bad: #d24141; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ec; --paper: #14181f; --faint: #98a2b3; --rule: #2c333e; --card: #1c222b;
    --one: #6ea8e8; --two: #f2975a; --good: #4db37c; --bad: #ee6a6a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 3rem; max-width: 70rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; border-bottom: 1px solid var(--rule);
  padding-bottom: .25rem; }
h3 { font-size: .95rem; margin: .3rem 0; }
p { margin: .2rem 0 .6rem; }
.faint { color: var(--faint); }
.note { background: var(--card); border-left: 3px solid var(--two); padding: .5rem .8rem; }
.grid { display: grid; gap: 1rem 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.grid > * { min-width: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .2rem .7rem .2rem 0; }
td { border-top: 1px solid var(--rule); overflow-wrap: anywhere; }
td:first-child { white-space: nowrap; }
th { font-weight: 600; }
.n { text-align: right; white-space: nowrap; }
.matrix th, .matrix td { padding: .25rem .55rem; border: 1px solid var(--rule); }
figure { margin: 0; }
figcaption { font-size: .9rem; }
svg { display: block; width: 100%; max-width: 34rem; height: auto; }
.key { margin-left: 1rem; color: var(--faint); }
.key::before { content: ""; display: inline-block; width: 1.1em; height: 3px; margin-right: .35em;
  vertical-align: middle; background: currentColor; }
.key.c0::before { background: var(--one); } .key.c1::before { background: var(--two); }
.rule { stroke: var(--rule); } .tick { font-size: 11px; fill: var(--faint); }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.line.c0 { stroke: var(--one); } .line.c1 { stroke: var(--two); }
.line.faint { stroke: var(--faint); }
.dot.c0, .spot { fill: var(--one); } .dot.c1 { fill: var(--two); } .spot { opacity: .5; }
.cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
.card { background: var(--card); padding: .6rem; border-radius: 6px; text-align: center; }
.card img { width: 6rem; height: 6rem; object-fit: contain; image-rendering: pixelated; }
.short { grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); }
@media (max-width: 40rem) { .matrix { font-size: .8rem; } .matrix th, .matrix td {
  padding: .15rem .3rem; } }
@media print { section { break-inside: avoid; } }
"""
