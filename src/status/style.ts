/** The style of the page: light or dark as the reader's system is, unless the button says otherwise. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: light-dark(#fff, #14171a);
  --card: light-dark(#f6f7f9, #1c2126);
  --line: light-dark(#d5dae0, #363d45);
  --ink: light-dark(#1b2026, #e6e9ec);
  --soft: light-dark(#59636e, #9aa5b1);
  --blue: light-dark(#0b62c4, #6cb1ff);
  --good: light-dark(#1a7f37, #4cc26b);
  --warn: light-dark(#8f5b00, #e0a82e);
  --bad: light-dark(#c11c28, #ff7b78);
  --bad-back: light-dark(#ffebec, #3a1a1d);
  font: 14px/1.45 system-ui, sans-serif;
}
:root[data-theme=light] { color-scheme: light; }
:root[data-theme=dark] { color-scheme: dark; }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0 auto; padding: 0 16px 32px; max-width: 1500px; background: var(--paper); color: var(--ink); }
header { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: center;
  padding: 10px 0; background: var(--paper); border-bottom: 1px solid var(--line); }
h1 { margin: 0; font-size: 20px; overflow-wrap: anywhere; }
h2 { margin: 0; font-size: 17px; overflow-wrap: anywhere; }
#link { margin: 0; color: var(--good); }
body[data-live=no] #link { color: var(--bad); font-weight: 600; }
body[data-live=no] main { opacity: .55; }
.tools { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center; margin-left: auto; }
input, button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
input[type=search] { padding: 5px 8px; width: 230px; max-width: 100%; }
button { padding: 4px 10px; cursor: pointer; }
button:disabled { opacity: .4; cursor: default; }
:focus-visible { outline: 2px solid var(--blue); outline-offset: 1px; }
a { color: var(--blue); }
.pool { margin: 20px 0; }
.sum { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 6px 0 10px; }
.sum div { display: flex; gap: 6px; align-items: baseline; }
.sum dt { color: var(--soft); }
.sum dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 12px; margin-bottom: 12px; }
figure { margin: 0; padding: 8px; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
figcaption { color: var(--soft); font-size: 12.5px; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: 64px; overflow: visible; }
path { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.main { stroke: var(--blue); }
.fill { fill: var(--blue); opacity: .14; stroke: none; }
.second { stroke: var(--warn); }
.alarm { stroke: var(--bad); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 7px; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
thead th { border: 0; color: var(--soft); font-weight: 500; background: var(--card); }
th:first-child, td.state, td.circuit, thead th:nth-child(-n+3) { text-align: left; }
tbody th { font-weight: 500; max-width: 340px; overflow: hidden; text-overflow: ellipsis; border-left: 4px solid var(--good); }
.state { font-weight: 600; color: var(--good); }
[data-level=warn] .state { color: var(--warn); }
[data-level=warn] th { border-left-color: var(--warn); }
[data-level=bad] { background: var(--bad-back); }
[data-level=bad] .state { color: var(--bad); }
[data-level=bad] th { border-left-color: var(--bad); }
[data-level=off] .state { color: var(--soft); }
[data-level=off] th { border-left-color: var(--line); }
.spark svg { width: 100px; height: 22px; margin-left: auto; }
.actions { white-space: nowrap; }
.actions button { padding: 1px 7px; }
footer { color: var(--soft); }
#said { min-height: 1.45em; color: var(--ink); }
@media (max-width: 760px) {
  .tools { margin-left: 0; width: 100%; }
  .tools input[type=search] { flex: 1; min-width: 120px; }
  table, tbody { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr { display: grid; grid-template-columns: 1fr 1fr; gap: 2px 14px; padding: 8px 10px; border-top: 1px solid var(--line); }
  tbody th { grid-column: 1 / -1; max-width: none; padding-left: 8px; white-space: normal; overflow-wrap: anywhere; }
  th, td { border: 0; padding: 1px 0; white-space: normal; }
  td, td.state, td.circuit { display: flex; justify-content: space-between; gap: 8px; text-align: right; }
  td::before { content: attr(data-label); color: var(--soft); font-weight: 400; }
  td.state, td.bytes, td.spark, td.actions { grid-column: 1 / -1; }
  .actions button { padding: 6px 14px; }
}
`;
