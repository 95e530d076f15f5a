"use strict";
// Draws the study in the JSON element `data`. Texts from the study only ever become text nodes or plotly labels
// (escaped by `plain`, because plotly reads some HTML).
const study = JSON.parse(document.getElementById("data").textContent);
const T = study.trials, N = T.number.length;
const COLOUR = { front: "#0a7d6c", dominated: "#aab4be", infeasible: "#d9705f", baseline: "#e08a00" };
const at = (id) => document.getElementById(id);
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const all = [...Array(N).keys()];
const outside = (i) => T.baseline[i] !== "" && study.parameters.every((p) => T.settings[p.name][i] === null);
const feasible = all.filter((i) => T.status[i] === "complete" && !outside(i));
const position = new Map(T.number.map((number, i) => [number, i]));
const front = study.front.map((number) => position.get(number));
const axes = [...study.objectives, ...study.metrics];

// Made once: toLocaleString makes a formatter at every call, 0.4 s for 10,000 trials.
const WHOLE = new Intl.NumberFormat("en"), DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

function show(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? WHOLE.format(value) : DIGITS.format(Number(value.toPrecision(4)));
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function facts(list, entries) {
  for (const [name, value] of entries) {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", value));
    list.append(pair);
  }
}

function layout(x, y, more) {
  const title = (axis) => plain(axis.label) + (axis.direction ? (axis.direction === "minimize" ? " ←" : " →") : "");
  const scale = at("log").checked ? "log" : "linear";
  const axis = { gridcolor: "#edf0f3", zerolinecolor: "#dde3e9", automargin: true, type: scale };
  return { margin: { l: 60, r: 10, t: 10, b: 50 }, paper_bgcolor: "#fff", plot_bgcolor: "#fff", hovermode: "closest", height: 400,
    font: { family: "system-ui, sans-serif", size: 12, color: "#1d2733" }, legend: { orientation: "h", y: 1.08 },
    xaxis: { ...axis, title: { text: title(x) } }, yaxis: { ...axis, title: { text: title(y) } }, ...more };
}

function describe(i) {
  const lines = [`<b>trial ${T.number[i]}</b>` + (T.baseline[i] ? ` (${plain(T.baseline[i])})` : "")];
  for (const o of study.objectives) lines.push(`${plain(o.label)}: ${show(T.values[o.name][i])}`);
  if (T.reason[i]) lines.push(`<i>${plain(T.reason[i].slice(0, 90))}</i>`);
  for (const p of study.parameters) if (T.settings[p.name][i] !== null) lines.push(`${plain(p.label)} = ${plain(T.settings[p.name][i])}`);
  return lines.join("<br>");
}
const hovers = all.map(describe);

// The range that shows the front, the baselines and nearly all feasible designs; outliers are a double click away.
function range(values, log) {
  const of = (rows) => rows.map((i) => values[i]).filter((v) => v !== null && (!log || v > 0));
  const some = of(feasible).sort((a, b) => a - b);
  const kept = [...of(front), ...of(all.filter((i) => T.baseline[i])), ...some.slice(Math.floor(some.length * 0.03), Math.ceil(some.length * 0.97))];
  if (kept.length < 2) return undefined;
  const place = (v) => (log ? Math.log10(v) : v);
  const low = place(kept.reduce((a, b) => Math.min(a, b))), high = place(kept.reduce((a, b) => Math.max(a, b)));
  const margin = (high - low || Math.abs(high) || 1) * 0.08;
  return [low - margin, high + margin];
}

function scatter(div, x, y, legend) {
  const X = T.values[x.name], Y = T.values[y.name];
  const kind = N > 3000 ? "scattergl" : "scatter";
  const dots = (name, chosen, marker, more) => ({ type: kind, mode: "markers", name, x: chosen.map((i) => X[i]),
    y: chosen.map((i) => Y[i]), customdata: chosen, text: chosen.map((i) => hovers[i]), hovertemplate: "%{text}<extra></extra>",
    marker, showlegend: legend, ...more });
  const drawn = (i) => X[i] !== null && Y[i] !== null;
  const onFront = new Set(front);
  const traces = [];
  if (at("infeasible").checked) traces.push(dots("infeasible", all.filter((i) => T.status[i] !== "complete" && drawn(i) && !T.baseline[i]),
    { color: COLOUR.infeasible, symbol: "x", size: 5, opacity: 0.35 }));
  if (at("dominated").checked) traces.push(dots("dominated", feasible.filter((i) => !onFront.has(i) && drawn(i)), { color: COLOUR.dominated, size: 5, opacity: 0.6 }));
  traces.push(dots("Pareto front", front.filter(drawn), { color: COLOUR.front, size: 8, line: { width: 1, color: "#fff" } }));
  const marks = all.filter((i) => T.baseline[i] && drawn(i));
  traces.push(dots("baselines", marks, { color: COLOUR.baseline, symbol: "star", size: 14, line: { width: 1, color: "#fff" } },
    { mode: "markers+text", type: "scatter", text: marks.map((i) => plain(T.baseline[i])), textposition: marks.map((_, k) => ["top center", "bottom center", "middle right", "middle left"][k % 4]),
      hovertext: marks.map((i) => hovers[i]), hovertemplate: "%{hovertext}<extra></extra>" }));
  const frame = layout(x, y, { showlegend: legend });
  const log = at("log").checked;
  frame.xaxis.range = range(X, log);
  frame.yaxis.range = range(Y, log);
  Plotly.react(div, traces, frame, { responsive: true, displaylogo: false });
  if (!div.listening) { div.listening = true; div.on("plotly_click", (event) => detail(event.points[0].customdata)); }
}

function detail(i) {
  const panel = at("detail");
  panel.replaceChildren(element("h3", `Trial ${T.number[i]}` + (T.baseline[i] ? `, baseline ${T.baseline[i]}` : "")));
  const status = { complete: T.pareto[i] ? "on the Pareto front" : "feasible, dominated", infeasible: "infeasible", failed: "failed" }[T.status[i]];
  panel.append(element("p", outside(i) && T.status[i] === "complete" ? "baseline outside the space" : status + (T.reason[i] ? `: ${T.reason[i]}` : "")));
  const table = element("table");
  const row = (name, value) => { if (value !== null) { const r = element("tr"); r.append(element("td", name), element("td", show(value))); table.append(r); } };
  for (const axis of axes) row(axis.label, T.values[axis.name][i]);
  for (const p of study.parameters) row(p.label, T.settings[p.name][i]);
  if (study.replicates > 1) {  // half of the 95 % confidence interval over the replicates
    for (const o of study.objectives) row(`± ${o.label}`, T.halfWidths[o.name][i]);
    if (T.tiesWith[i].length) row("ties within the noise with", T.tiesWith[i].join(" "));
    if (T.unsure[i].length) row("may be missed as well as met", T.unsure[i].join(", "));
  }
  panel.append(table);
  if (study.front.slice(0, study.maxBest).includes(T.number[i])) {
    panel.append(element("p", "Run it alone, in the study's folder:"));
    panel.append(element("code", `python -m simulator run best/trial-${String(T.number[i]).padStart(5, "0")}.yaml`));
  }
}

function drawPairs() {
  const pairs = [];
  study.objectives.forEach((x, a) => study.objectives.slice(a + 1).forEach((y) => pairs.push([x, y])));
  if (!pairs.length && study.objectives.length) pairs.push([{ name: "#", label: "trial" }, study.objectives[0]]);
  T.values["#"] = T.number;
  const grid = at("pairs");
  const drawn = pairs.slice(0, 6);
  while (grid.children.length < drawn.length) grid.append(element("div")); // all first: their widths depend on it
  drawn.forEach(([x, y], k) => scatter(grid.children[k], x, y, false));
}

function drawFree() {
  const chosen = (id) => axes.find((axis) => axis.name === at(id).value);
  if (axes.length > 1) scatter(at("free"), chosen("x"), chosen("y"), true);
}

// Draws a part when it first comes into view: a page of 10,000 trials then opens as fast as a small one.
function whenSeen(id, draw) {
  new IntersectionObserver((entries, observer) => {
    if (entries.some((entry) => entry.isIntersecting)) { observer.disconnect(); draw(); }
  }, { rootMargin: "200px" }).observe(at(id));
}

function drawParallel() {
  const rows = at("among").value === "front" ? front : feasible;
  if (!rows.length) { at("parallel").replaceChildren(element("p", "no feasible design yet", "empty")); return; }
  const objective = study.objectives.find((o) => o.name === at("colour").value);
  const dimensions = study.parameters.map((p) => {
    const raw = rows.map((i) => T.settings[p.name][i]);
    const short = p.label.split(".").pop();
    const names = p.labels ? [...p.labels] : null;
    if (!names) return { label: plain(short), values: raw.map((v) => (v === null ? NaN : v)) };
    if (raw.includes(null)) names.unshift("-");
    return { label: plain(short), values: raw.map((v) => names.indexOf(v === null ? "-" : String(v))), range: [0, Math.max(names.length - 1, 1)],
      tickvals: names.map((_, k) => k), ticktext: names.map(plain) };
  });
  for (const o of study.objectives) dimensions.push({ label: plain(o.label), values: rows.map((i) => T.values[o.name][i]) });
  const colour = rows.map((i) => T.values[objective.name][i]);
  Plotly.react(at("parallel"), [{ type: "parcoords", dimensions, line: { color: colour, colorscale: "Viridis",
    reversescale: objective.direction === "minimize", showscale: true, colorbar: { title: { text: plain(objective.label), side: "right" }, thickness: 12 } },
    labelangle: -25, labelside: "top" }], { margin: { l: 60, r: 60, t: 110, b: 20 }, font: { size: 11 } }, { responsive: true, displaylogo: false });
}

function drawFront() {
  const table = at("front"), most = 500;
  const columns = [{ label: "trial", of: (i) => T.number[i], name: true },
    ...study.objectives.map((o) => ({ label: o.label, of: (i) => T.values[o.name][i], objective: true })),
    ...(study.replicates > 1 ? study.objectives.map((o) => ({ label: `± ${o.label}`, of: (i) => T.halfWidths[o.name][i] })) : []),
    ...(study.replicates > 1 ? [{ label: "ties with", of: (i) => T.tiesWith[i].join(" "), name: true }] : []),
    ...study.parameters.map((p) => ({ label: p.label, of: (i) => T.settings[p.name][i] })),
    ...study.metrics.map((m) => ({ label: m.label, of: (i) => T.values[m.name][i] }))];
  let rows = front.slice(0, most), sorted = -1;
  const body = element("tbody");
  const fill = () => body.replaceChildren(...rows.map((i) => {
    const row = element("tr", undefined, "pick");
    columns.forEach((c) => row.append(element("td", c.name ? c.of(i) : show(c.of(i)))));
    row.addEventListener("click", () => { detail(i); at("detail").scrollIntoView({ behavior: "smooth", block: "center" }); });
    return row;
  }));
  const head = element("tr");
  columns.forEach((c, k) => {
    const cell = element("th", c.label.replace(/[_.]/g, "$&\u200b"), c.objective ? "objective" : "");
    cell.addEventListener("click", () => {
      const sign = sorted === k ? -1 : 1;
      sorted = sorted === k ? -1 : k;
      rows = [...rows].sort((a, b) => { const [u, v] = [c.of(a), c.of(b)]; return sign * (u === null ? 1 : v === null ? -1 : u < v ? -1 : u > v ? 1 : 0); });
      fill();
    });
    head.append(cell);
  });
  const top = element("thead");
  top.append(head);
  fill();
  table.append(top, body);
  at("front-note").textContent = front.length > most ? `The first ${most} of ${front.length}; pareto.csv has all.` : "";
}

function drawBaselines() {
  if (!study.baselines.length) { at("baseline-section").remove(); return; }
  const head = element("tr");
  ["baseline", ...study.objectives.map((o) => o.label), "designs better in every objective"].forEach((text) => head.append(element("th", text)));
  at("baselines").append(head);
  for (const b of study.baselines) {
    const row = element("tr", undefined, "pick");
    row.append(element("td", b.name));
    study.objectives.forEach((o, k) => {
      const cell = element("td", show(b.values[k]));
      const delta = b.deltas[k];
      if (delta !== undefined && delta !== null) {
        const better = o.direction === "minimize" ? delta < 0 : delta > 0;
        cell.append(element("span", ` (${delta > 0 ? "+" : ""}${(100 * delta).toFixed(0)} %)`, better ? "better" : "worse"));
      }
      row.append(cell);
    });
    row.append(element("td", b.dominated === null ? b.reason || b.status : show(b.dominated)));
    row.addEventListener("click", () => detail(position.get(b.number)));
    at("baselines").append(row);
  }
}

function drawConvergence() {
  const linear = { xaxis: { type: "linear", gridcolor: "#edf0f3", title: { text: "trial" } },
    yaxis: { type: "linear", gridcolor: "#edf0f3", tickformat: ".0%", title: { text: "hypervolume" }, rangemode: "tozero" } };
  if (study.convergence.length) Plotly.newPlot("convergence", [{ type: "scatter", mode: "lines", line: { shape: "hv", color: COLOUR.front, width: 2 },
    x: study.convergence.map((p) => p[0]), y: study.convergence.map((p) => p[1]) }], { ...layout({ label: "" }, { label: "" }, linear), showlegend: false }, { responsive: true, displaylogo: false });
  else at("convergence").append(element("p", "no feasible design yet", "empty"));
}

function drawReasons() {
  const reasons = [...study.reasons].reverse();
  if (reasons.length) Plotly.newPlot("reasons", [{ type: "bar", orientation: "h", marker: { color: COLOUR.infeasible }, x: reasons.map((r) => r[1]),
    y: reasons.map((r) => plain(r[0].length > 40 ? r[0].slice(0, 38) + "…" : r[0])), hovertext: reasons.map((r) => plain(r[0])), text: reasons.map((r) => r[1]) }],
    { ...layout({ label: "" }, { label: "" }, { xaxis: { title: { text: "designs" }, gridcolor: "#edf0f3" },
      yaxis: { automargin: true, type: "category" } }), showlegend: false },
    { responsive: true, displaylogo: false });
  else at("reasons").append(element("p", "every design was feasible", "empty"));
}

at("name").textContent = study.name;
at("description").textContent = study.description;
facts(at("facts"), study.facts);
if (study.cache.length) facts(at("cache"), study.cache); else at("cache-section").remove();
for (const [id, k] of [["x", 0], ["y", 1]]) axes.forEach((axis, n) => at(id).append(new Option(axis.label, axis.name, false, n === Math.min(k, axes.length - 1))));
study.objectives.forEach((o) => at("colour").append(new Option(o.label, o.name)));
at("among").value = front.length >= 8 ? "front" : "feasible";
const wide = study.objectives.slice(0, 2).some((o) => {
  const found = feasible.map((i) => T.values[o.name][i]).filter((v) => v > 0);
  return found.length && found.reduce((a, b) => Math.max(a, b)) / found.reduce((a, b) => Math.min(a, b)) > 50;
});
at("log").checked = wide;
for (const id of ["log", "infeasible", "dominated"]) at(id).addEventListener("change", () => { drawPairs(); drawFree(); });
for (const id of ["x", "y"]) at(id).addEventListener("change", drawFree);
for (const id of ["among", "colour"]) at(id).addEventListener("change", drawParallel);
drawPairs(); drawBaselines(); drawFront();
whenSeen("free", drawFree); whenSeen("parallel", drawParallel); whenSeen("convergence", drawConvergence); whenSeen("reasons", drawReasons);
if (N) detail(front.length ? front[0] : 0);
document.body.dataset.readyMs = Math.round(performance.now()); // how long the page took to open
