"use strict";
// Draws the heat map from the counts in the page, and answers what is pointed at. Names come from disks:
// they are set as text, never as markup; where plotly reads markup in labels, they come escaped.

const figure = JSON.parse(document.getElementById("figure").textContent);
const counts = JSON.parse(document.getElementById("counts").textContent);
const map = document.getElementById("map");
const readout = document.getElementById("readout");
const caption = document.getElementById("view-caption");
const tip = document.getElementById("tip");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const rows = counts.symbols.map((_, row) => row);
const bins = counts.timestamps.map((_, bin) => bin);

// What the symbol of a row has in a bin.
function cell(row, bin) {
  const timestamps = counts.timestamps[bin];
  const one_sided = counts.one_sided[row][bin];
  const missing = counts.missing[row][bin];
  return { timestamps, one_sided, missing, present: timestamps - one_sided - missing, dropped: counts.dropped[row][bin] };
}

function state({ timestamps, one_sided, missing, dropped }) {
  if (timestamps === 0) return dropped > 0 ? 4 : null;
  if (missing === timestamps) return 3;
  if (missing > 0) return 2;
  return one_sided > 0 ? 1 : 0;
}

const share = (part) => (one) => (one.timestamps === 0 ? null : one[part] / one.timestamps);
const STATES = ["present", "one-sided at times", "missing at times", "missing", "only dropped rows"];
// Of a light and of a dark page. Those of states are told apart without red and green, too.
const STATE_COLORS = [["#8fc7d6", "#f0d264", "#ee9a4d", "#a8324a", "#8c86a3"], ["#2f7489", "#d9b93f", "#d97b2b", "#e4627b", "#6f6989"]];

const VIEWS = {
  state: {
    z: state,
    caption: "State: the worst that a symbol has in a bin of time. Present: all price types at every timestamp. " +
      "One-sided at times: somewhere one price type lacks. Missing at times, or throughout: it has no candle " +
      "where another symbol has one. Only dropped rows: no symbol has a candle, and rows of this one were dropped.",
  },
  present: {
    z: share("present"), percent: true, fixed: 1, colors: [["#a8324a", "#f3e9dc", "#8fc7d6", "#14566b"], ["#e4627b", "#4a4450", "#2f7489", "#9fdcec"]],
    caption: "Present: the share of the union's timestamps in a bin at which the symbol has all price types.",
  },
  one_sided: {
    z: share("one_sided"), percent: true, colors: [["#eef1f4", "#f0d264", "#8a6a00"], ["#232c37", "#8a6d13", "#ffe17a"]],
    caption: "One-sided: the share of the union's timestamps in a bin at which the symbol has some price types, and others not.",
  },
  missing: {
    z: share("missing"), percent: true, colors: [["#eef1f4", "#ee9a4d", "#8d1f38"], ["#232c37", "#a34a2c", "#ff8fa3"]],
    caption: "Missing: the share of the union's timestamps in a bin at which the symbol has no candle, though another symbol has one.",
  },
  dropped: {
    z: (one) => (one.timestamps === 0 && one.dropped === 0 ? null : one.dropped), colors: [["#eef1f4", "#a79fd0", "#3d2f7d"], ["#232c37", "#5a4fa0", "#c9c1ff"]],
    caption: "Dropped: how many rows of the symbol's files in a bin the session filter or the rule of duplicates dropped.",
  },
};

const even = (colors) => colors.map((color, place) => [place / (colors.length - 1), color]);
const stepped = (colors) => colors.flatMap((color, place) => [[place / colors.length, color], [(place + 1) / colors.length, color]]);

// What a view changes of the trace.
function trace(name) {
  const view = VIEWS[name];
  const theme = dark.matches ? 1 : 0;
  const z = rows.map((row) => bins.map((bin) => view.z(cell(row, bin))));
  const bar = { thickness: 14, outlinewidth: 0, ticks: "", tickfont: { size: 11 } };
  if (name === "state") {
    const places = STATES.map((_, place) => place);
    return { z, zmin: -0.5, zmax: STATES.length - 0.5, colorscale: stepped(STATE_COLORS[theme]),
      colorbar: { ...bar, tickvals: places, ticktext: STATES } };
  }
  const most = z.reduce((most, line) => line.reduce((most, value) => Math.max(most, value ?? 0), most), 0);
  const zmax = view.fixed ?? (most > 0 ? most : 1);
  return { z, zmin: 0, zmax, colorscale: even(view.colors[theme]),
    colorbar: { ...bar, ...(view.percent ? { tickformat: zmax < 0.05 ? ".2~%" : ".0%" } : { tickformat: ",d" }) } };
}

// The layout in the page's colours.
function style(layout) {
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const line = { linecolor: color("--line") };
  return { ...layout, uirevision: "one map", font: { color: color("--ink") },
    paper_bgcolor: color("--paper"), plot_bgcolor: color("--paper"),
    xaxis: { ...layout.xaxis, ...line, range: [...layout.xaxis.range] },
    yaxis: { ...layout.yaxis, ...line, range: [...layout.yaxis.range] },
    modebar: { color: color("--quiet"), activecolor: color("--accent"), bgcolor: "rgba(0,0,0,0)" } };
}

let shown = "state";
// Draws the view that is shown; what is zoomed to stays so.
function show() {
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", String(button.dataset.view === shown));
  }
  caption.textContent = VIEWS[shown].caption;
  const layout = style(figure.layout);
  return Plotly.react(map, [{ ...figure.data[0], ...trace(shown) }], layout, figure.config);
}

const number = new Intl.NumberFormat("en");
const moment = (bin) => new Date(counts.first_ms + bin * counts.bin_ms).toISOString().slice(0, 19).replace("T", " ");
// Never rounded up: 100 % is all.
const percent = (part, all) => `${(Math.floor((part / all) * 10000 + 1e-9) / 100).toFixed(2)} %`;

function words(row, bin) {
  const one = cell(row, bin);
  const of = (part) => (one.timestamps === 0 ? "0" : `${number.format(one[part])} (${percent(one[part], one.timestamps)})`);
  const lines = [counts.symbols[row], `${moment(bin)} to before ${moment(bin + 1)} UTC`, `timestamps of the union: ${number.format(one.timestamps)}`];
  lines.push(`present ${of("present")}`, `one-sided ${of("one_sided")}`, `missing ${of("missing")}`, `dropped rows ${number.format(one.dropped)}`);
  return lines;
}

function point(event) {
  const [row, bin] = event.points[0].pointNumber;
  const lines = words(row, bin);
  readout.textContent = lines.join(" · ");
  tip.textContent = lines.join("\n");
  tip.hidden = false;
  const { clientX, clientY } = event.event;
  const right = clientX + 16 + tip.offsetWidth > window.innerWidth;
  const below = clientY + 16 + tip.offsetHeight > window.innerHeight;
  tip.style.left = `${Math.max(0, right ? clientX - 16 - tip.offsetWidth : clientX + 16)}px`;
  tip.style.top = `${Math.max(0, below ? clientY - 16 - tip.offsetHeight : clientY + 16)}px`;
}

async function draw() {
  await show();
  map.on("plotly_hover", point);
  map.on("plotly_unhover", () => { tip.hidden = true; });
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => {
      shown = button.dataset.view;
      show();
    });
  }
  document.getElementById("whole").addEventListener("click", () => {
    const { xaxis, yaxis } = figure.layout;
    Plotly.relayout(map, { "xaxis.range": [...xaxis.range], "yaxis.range": [...yaxis.range] });
  });
  dark.addEventListener("change", show);
  map.dataset.drawn = "true";
}

// Sorts a table by a column: numbers first from the largest, words from the first. Of a long table the first
// rows are shown, until all are asked for.
function sortable(table) {
  const headers = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const button = table.closest("section").querySelector("button.all");
  let first_rows = Number(table.dataset.firstRows);
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const put = (rows) => {
    rows.forEach((row, place) => { row.hidden = place >= first_rows; });
    body.append(...rows);
  };
  button?.addEventListener("click", () => {
    first_rows = Infinity;
    button.hidden = true;
    put([...body.rows]);
  });
  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const is_number = "number" in header.dataset;
      const first = is_number ? "descending" : "ascending";
      const other = is_number ? "ascending" : "descending";
      const order = header.getAttribute("aria-sort") === first ? other : first;
      headers.forEach((one) => one.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const compare = is_number ? (a, b) => Number(a) - Number(b) : words_in_order.compare;
      const lines = [...body.rows].map((row) => [value(row, column), row]);
      lines.sort((a, b) => sign * compare(a[0], b[0]));
      put(lines.map(([, row]) => row));
    });
  });
}

const words_in_order = new Intl.Collator("en", { numeric: true });
document.querySelectorAll("table").forEach(sortable);
if (bins.length > 0) draw();
