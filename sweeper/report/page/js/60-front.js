// The trade-offs: any pair of quantities, parallel coordinates, and the front as a table.
function range(V, log) {
  const of = (rows) => rows.map((i) => V[i]).filter((v) => Number.isFinite(v) && (!log || v > 0));
  const some = of(feasible).sort((a, b) => a - b);
  const kept = [...of(front), ...of(all.filter((i) => baseline(i))), ...some.slice(Math.floor(some.length * 0.03), Math.ceil(some.length * 0.97))];
  if (kept.length < 2 || at("outliers").checked) return {};
  const low = kept.reduce((a, b) => Math.min(a, b)), high = kept.reduce((a, b) => Math.max(a, b));
  const margin = log ? (high / low) ** 0.06 : 0.06 * (high - low || Math.abs(high) || 1);
  const round = (v) => Number(v.toPrecision(3));
  return log ? { min: round(low / margin), max: round(high * margin) } : { min: round(low >= 0 ? Math.max(low - margin, 0) : low - margin), max: round(high + margin) };
}

// Whether a quantity spans so much on the front that a log scale shows it better.
const wide = (o) => { const V = front.map((i) => values(o.name)[i]); return V.length && Math.min(...V) > 0 && Math.max(...V) / Math.min(...V) > 20; };

function drawScatter() {
  const [x, y] = ["x", "y"].map((id) => axes.find((a) => a.name === at(id).value));
  if (!x || !y) { empty("scatter", "no design has results yet"); return; }
  const X = values(x.name), Y = values(y.name), log = at("log").checked;
  const there = (i) => Number.isFinite(X[i]) && Number.isFinite(Y[i]) && (!log || (X[i] > 0 && Y[i] > 0));
  const name = (a) => a.label + (a.direction ? (a.direction === "minimize" ? " ←" : " →") : "");
  const dots = (text, rows, more) => ({ name: text, type: "scatter", data: rows.filter(there).map((i) => [X[i], Y[i], i]), ...more });
  const series = [];
  if (at("infeasible").checked) series.push(dots("infeasible", all.filter((i) => status[i] && !baseline(i)), { symbol: "triangle", symbolSize: 5, itemStyle: { color: COLOUR.infeasible, opacity: 0.35 }, large: true, largeThreshold: 3000 }));
  if (at("dominated").checked) series.push(dots("dominated", feasible.filter((i) => !onFront.has(i)), { symbolSize: 5, itemStyle: { color: COLOUR.dominated, opacity: 0.6 }, large: true, largeThreshold: 3000 }));
  series.push(dots("Pareto front", front, { symbolSize: 9, itemStyle: { color: theme("--front"), borderColor: theme("--paper"), borderWidth: 1 }, z: 4 }));
  series.push(dots("baselines", all.filter((i) => baseline(i)), { symbol: "diamond", symbolSize: 15, itemStyle: { color: COLOUR.baseline, borderColor: theme("--paper") }, z: 5,
    label: { show: true, position: "right", color: theme("--ink"), formatter: (p) => baseline(p.data[2]) }, labelLayout: { moveOverlap: "shiftY" } }));
  if (selected >= 0) series.push(dots("selected", [selected], { symbol: "circle", symbolSize: 18, silent: true, itemStyle: { color: "transparent", borderColor: COLOUR.selected, borderWidth: 3 }, z: 6 }));
  const type = log ? "log" : "value";
  const made = chart("scatter", { series, grid: { left: 70, right: 30, top: 40, bottom: 55 }, tooltip: tooltip((p) => describe(p.data[2])),
    xAxis: axis(name(x), { type, scale: true, ...range(X, log) }), yAxis: axis(name(y), { type, scale: true, nameGap: 52, ...range(Y, log) }) });
  made.off("click");
  made.on("click", (p) => select(p.data[2]));
}

function drawParallel() {
  const shown = at("among").value === "front" ? front : feasible;
  if (!shown.length) { empty("parallel", "no feasible design yet"); return; }
  const step = Math.ceil(shown.length / 2000); // lines beyond that cannot be told apart
  const rows = shown.filter((i, k) => k % step === 0 || onFront.has(i));
  const dims = [...study.parameters.filter((p) => new Set(rows.map((i) => settings(p.name)[i])).size > 1), ...study.objectives];
  const listed = (d) => d.labels && ["-", ...d.labels];
  const value = (d, i) => (d.direction ? values(d.name)[i] : d.labels ? settingLabel(d, i) : setting(d, i));
  const parallelAxis = dims.map((d, dim) => ({ dim, name: d.direction ? d.label : d.name.split(".").pop(), ...(listed(d) ? { type: "category", data: listed(d) } : { type: "value", scale: true }),
    nameRotate: 25, nameLocation: "end", nameTextStyle: { color: theme("--ink"), fontSize: 11, align: "left" }, axisLabel: { color: theme("--ink"), fontSize: 10, formatter: listed(d) ? undefined : show }, axisLine: { lineStyle: { color: theme("--soft") } } }));
  const data = (some) => some.map((i) => dims.map((d) => value(d, i)));
  const line = (name, some, color, width, opacity, z) => ({ name, type: "parallel", data: data(some), lineStyle: { color, width, opacity }, z, inactiveOpacity: 0.02, activeOpacity: Math.min(1, opacity * 1.5), silent: true });
  chart("parallel", { parallel: { left: 40, right: 70, top: 90, bottom: 30, parallelAxisDefault: { areaSelectStyle: { color: COLOUR.selected } } }, parallelAxis,
    series: [line("dominated", rows.filter((i) => !onFront.has(i)), COLOUR.dominated, 1, 0.12, 2), line("Pareto front", rows.filter((i) => onFront.has(i)), theme("--front"), 1.5, 0.5, 3),
      line("selected", selected >= 0 && feasible.includes(selected) ? [selected] : [], COLOUR.selected, 3, 1, 4)] });
}

function drawFront() {
  const table = at("front"), most = 300;
  const columns = [{ label: "trial", of: (i) => number[i], text: (i) => number[i] },
    ...study.objectives.map((o) => ({ label: o.label, of: (i) => values(o.name)[i], text: (i) => measured({ ...o, unit: "" }, i), objective: true })),
    ...study.parameters.map((p) => ({ label: p.label, of: (i) => settings(p.name)[i], text: (i) => settingLabel(p, i) })),
    ...study.metrics.map((m) => ({ label: m.label, of: (i) => values(m.name)[i], text: (i) => show(values(m.name)[i]) }))];
  let rows = front.slice(0, most), sorted = -1;
  const body = element("tbody"), head = element("tr"), top = element("thead");
  const fill = () => body.replaceChildren(...rows.map((i) => {
    const row = element("tr", undefined, i === selected ? "pick selected" : "pick");
    row.dataset.trial = i;
    columns.forEach((c) => row.append(element("td", c.text(i))));
    byClickOrKey(row, () => select(i));
    return row;
  }));
  columns.forEach((c, k) => {
    const cell = element("th", c.label.replace(/[_.]/g, "$&\u200b"), c.objective ? "objective" : "");
    byClickOrKey(cell, () => {
      const sign = sorted === k ? -1 : 1;
      sorted = sorted === k ? -1 : k;
      rows = [...rows].sort((a, b) => sign * (c.of(a) - c.of(b)));
      fill();
    });
    head.append(cell);
  });
  top.append(head);
  fill();
  table.append(top, body);
  at("front-note").textContent = front.length > most ? `The first ${most} of ${front.length}; pareto.csv has all.` : "";
}
