// The style sheet of every report. Colours have names, so that dark mode only renames them.
#pragma once

namespace thorax::app {

inline constexpr const char* kReportStyle = R"css(
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c1c1c; --soft: #5c5c5c;
  --line: #d8d8d8; --shade: #f5f5f3; --accent: #00598c; --note: #eaf3f9; --warn: #fdf0e6;
  --warn-line: #b84a00; --card: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181a; --ink: #e6e6e3; --soft: #a3a8ab;
  --line: #3a3f43; --shade: #202427; --accent: #7cc4ef; --note: #16293a; --warn: #3a2413;
  --warn-line: #f0a35c; --card: #0d0d0d; } 
  figure.plot svg { filter: invert(0.95) hue-rotate(180deg); } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 70rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 "Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0.5rem 0 0.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 0.75rem; padding-bottom: 0.2rem;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
h3 { font-size: 1.1rem; margin: 1.75rem 0 0.5rem; overflow-wrap: anywhere; }
p, ul { max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--accent); }
.subtitle { color: var(--soft); margin: 0 0 1.5rem; }
nav { background: var(--shade); border: 1px solid var(--line); border-radius: 6px;
  padding: 0.75rem 1.25rem; margin: 1rem 0; font-size: 0.95rem; }
nav h2 { font-size: 1rem; margin: 0 0 0.25rem; border: 0; padding: 0; }
nav ol { margin: 0; padding-left: 1.3rem; columns: 20rem; }
nav ol ol { columns: 1; }
nav li { break-inside: avoid; overflow-wrap: anywhere; }
.box { border-left: 4px solid var(--accent); background: var(--note); padding: 0.6rem 1rem;
  margin: 1rem 0; max-width: 46rem; border-radius: 0 4px 4px 0; overflow-wrap: anywhere; }
.box.warning { border-color: var(--warn-line); background: var(--warn); }
.box strong { display: block; font-size: 0.85rem; }
dl { display: grid; grid-template-columns: fit-content(18rem) minmax(0, 1fr); gap: 0.2rem 1.25rem;
  margin: 1rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.table { overflow-x: auto; margin: 1.25rem 0; }
table { border-collapse: collapse; font-size: 0.92rem; line-height: 1.4; }
caption { text-align: left; font-weight: 600; padding: 0 0 0.4rem; }
th, td { text-align: left; vertical-align: top; padding: 0.28rem 0.9rem 0.28rem 0; 
  border-bottom: 1px solid var(--line); min-width: 2.5rem; }
thead th { border-bottom: 2px solid var(--soft); vertical-align: bottom; }
tbody th { font-weight: 400; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th.number { white-space: normal; }
tbody.summary td, tbody.summary th { font-weight: 600; }
tbody.summary tr:first-child td, tbody.summary tr:first-child th { 
  border-top: 2px solid var(--soft); }
.table-note { font-size: 0.88rem; color: var(--soft); margin: 0.4rem 0 0; }
.figures { display: flex; flex-wrap: wrap; gap: 1.25rem; margin: 1.25rem 0; align-items: flex-start; }
figure { margin: 0; }
figure.plot { flex: 1 1 24rem; }
figure.plot svg { display: block; max-width: 100%; height: auto; background: #ffffff; }
figcaption { font-size: 0.88rem; color: var(--soft); margin-top: 0.35rem; overflow-wrap: anywhere; }
.images { display: grid; gap: 1rem; margin: 1.25rem 0; }
.images img { display: block; max-width: 100%; height: auto; background: var(--card); }
details { border: 1px solid var(--line); border-radius: 6px; padding: 0.4rem 1rem; margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
pre { background: var(--shade); padding: 0.75rem 1rem; overflow-x: auto; font-size: 0.85rem;
  line-height: 1.4; }
footer { margin-top: 3rem; color: var(--soft); font-size: 0.88rem; }
@media print {
  :root { --paper: #ffffff; --ink: #000000; --soft: #444444; --line: #bbbbbb; --shade: #f4f4f4;
    --note: #f4f4f4; --warn: #f4f4f4; --accent: #000000; --warn-line: #000000; --card: #ffffff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure.plot svg { filter: none; }
  h2, h3 { break-after: avoid; }
  figure, tr, .box { break-inside: avoid; }
  .table { overflow: visible; }
  pre { white-space: pre-wrap; }
}
)css";

}  // namespace thorax::app
