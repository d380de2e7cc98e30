"""The style sheet of the page: one column on a phone, light or dark as the reader has it."""

CSS = '''
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --page: #ffffff; --box: #f4f6f8; --rule: #d0d7de;
  --a: #0b62b0; --b: #b1490a; --c: #57606a; --good: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #a9b3be; --page: #14181d; --box: #1d232a;
  --rule: #3a434d; --a: #6cb0f5; --b: #f2a064; --c: #a9b3be; --good: #56c271; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p.verdict { font-size: 1.15rem; padding: .8rem 1rem; background: var(--box); border-left: 4px solid var(--a); }
p.small, figcaption, li, summary, .cut { color: var(--soft); font-size: .9rem; }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  align-items: start; }
.grid > * { min-width: 0; }
.tiles { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); margin: 0; }
.tiles div { background: var(--box); padding: .6rem .8rem; } .tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.25rem; }
figure { margin: 0; background: var(--box); padding: .8rem; min-width: 0; }
svg { width: 100%; height: auto; max-width: 34rem; display: block; margin: 0 auto; }
svg text { fill: var(--ink); font-size: 12px; } svg .rule { stroke: var(--rule); stroke-width: 1; }
.line { fill: none; stroke-width: 2; stroke: currentColor; } .dot, .bar, .band { fill: currentColor; }
.a { color: var(--a); } .b { color: var(--b); } .c { color: var(--c); stroke-dasharray: 5 4; }
.band { opacity: .22; } .good, .best { color: var(--good); } .best { stroke-dasharray: 2 3; } .few { opacity: .35; }
.key { display: inline-block; width: .8em; height: .8em; background: currentColor; }
.scroll { overflow: auto; max-width: 100%; max-height: 32rem; }
thead th { position: sticky; top: 0; background: var(--page); } figure thead th { background: var(--box); }
.scroll:focus { outline: 2px solid var(--a); }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.words { white-space: normal; min-width: 9rem; }
th, td { padding: .25rem .5rem .25rem 0; text-align: right; border-bottom: 1px solid var(--rule); }
th { font-weight: 600; } th:first-child, td:first-child, .words { text-align: left; }
.cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 11rem), 1fr)); }
.cards figure { font-size: .85rem; } .cards img { width: 7rem; height: 7rem; object-fit: contain; display: block; }
.cards img.tiny { image-rendering: pixelated; } .cards ol { list-style: none; margin: .4rem 0 0; padding: 0; }
.cards li { display: grid; grid-template-columns: 1fr auto; gap: .5rem; color: var(--ink); }
.cards i { grid-column: 1 / -1; height: 4px; background: var(--a); } .cards .right i { background: var(--good); }
.cards .right { font-weight: 600; }
'''
