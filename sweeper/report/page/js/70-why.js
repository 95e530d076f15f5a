// Where time goes, what a knob would change, which knobs matter, and what happens while a design serves.
const named = (n) => { const i = position.get(n); return baseline(i) || `trial ${n}`; };

PARTS.anatomy = () => {
  const rows = study.anatomies;
  if (!rows.length) { empty("anatomy", "no design was simulated for this report"); return; }
  const byBound = at("by").value === "bound", parts = rows.map((a) => {
    const sums = {};
    a.operators.forEach(([name, , bounds]) => Object.entries(bounds).forEach(([bound, share]) => { const key = byBound ? bound : name; sums[key] = (sums[key] || 0) + share; }));
    return { ...sums, idle: a.idle };
  });
  const total = (key) => parts.reduce((sum, part) => sum + (part[key] || 0), 0);
  const keys = [...new Set(parts.flatMap((p) => Object.keys(p)))].filter((k) => k !== "idle").sort((a, b) => total(b) - total(a));
  at("anatomy").style.height = `${110 + 30 * rows.length}px`;
  chart("anatomy", { grid: { left: 120, right: 30, top: 40, bottom: 50 }, tooltip: tooltip((p) => plain(`${p.seriesName}: ${(100 * p.value).toFixed(1)} %`)),
    xAxis: axis("share of wall time", { axisLabel: { formatter: (v) => `${Math.round(100 * v)} %`, color: theme("--ink") } }),
    yAxis: { type: "category", inverse: true, data: rows.map((a) => named(a.number)), axisLabel: { color: theme("--ink"), width: 110, overflow: "truncate" } },
    series: [...keys, "idle"].map((key) => ({ name: key, type: "bar", stack: "time", data: parts.map((p) => p[key] || 0),
      itemStyle: byBound || key === "idle" ? { color: COLOUR.bounds[key] } : {} })) }).resize();
};

PARTS.slices = () => {
  const chosen = study.slices.filter((s) => String(s.number) === at("sliced").value), k = Number(at("sliced-objective").value), o = study.objectives[k];
  if (!chosen.length) { empty("slices", "no slices"); return; }
  const seen = chosen.flatMap((s) => s.steps.filter((t) => t.values).map((t) => t.values[k]));
  const low = Math.min(...seen), high = Math.max(...seen), type = low > 0 && high / low > 10 ? "log" : "value";
  at("slices").replaceChildren(...chosen.map(() => element("div", undefined, "small")));
  chosen.forEach((s, n) => chart(at("slices").children[n], { title: { text: s.parameter, textStyle: { fontSize: 13, color: theme("--ink") } }, grid: { left: 62, right: 20, top: 36, bottom: 30 },
    tooltip: tooltip((p) => { const t = s.steps[p.dataIndex]; return plain(`${s.parameter} = ${t.value}: ${t.values ? show(t.values[k]) : ""} ${o.unit}`) + (t.reason ? `<br><i>${plain(t.reason)}</i>` : ""); }),
    xAxis: { type: "category", data: s.steps.map((t) => t.value), axisLabel: { color: theme("--ink"), hideOverlap: true } }, yAxis: { ...lines(), type, scale: true, min: type === "log" ? Number((low / 1.1).toPrecision(2)) : undefined, max: type === "log" ? Number((high * 1.1).toPrecision(2)) : undefined, axisLabel: { color: theme("--ink"), formatter: show } },
    series: [{ type: "line", data: s.steps.map((t, j) => ({ value: t.values ? t.values[k] : null, symbol: t.status === "complete" ? "circle" : "emptyCircle", symbolSize: j === s.own ? 13 : 8,
      itemStyle: { color: t.status === "complete" ? theme("--front") : COLOUR.infeasible } })), lineStyle: { color: theme("--front"), width: 1.5 }, showAllSymbol: true, connectNulls: false }] }));
};

PARTS.importance = () => {
  const found = study.importance.objectives.find((i) => i.objective === at("importance-objective").value);
  if (!found) { at("importance").style.height = "auto"; empty("importance", "no importance is shown"); return; }
  const names = Object.keys(found.fanova).sort((a, b) => found.fanova[a] - found.fanova[b]);
  const bars = (name, shares, color) => ({ name, type: "bar", data: names.map((n) => shares[n] || 0), itemStyle: { color } });
  chart("importance", { grid: { left: 170, right: 40, top: 40, bottom: 50 }, tooltip: tooltip((p) => plain(`${p.seriesName}, ${p.name}: ${(100 * p.value).toFixed(1)} %`)),
    xAxis: axis(`share${found.log ? `, of log ${found.objective}` : ""}`, { axisLabel: { formatter: (v) => `${Math.round(100 * v)} %`, color: theme("--ink") } }), yAxis: { type: "category", data: names, axisLabel: { color: theme("--ink") } },
    series: [bars("PED-ANOVA", found.pedAnova, COLOUR.baseline), bars("fANOVA", found.fanova, theme("--front"))] });
};

PARTS.timeline = () => {
  const found = study.anatomies.find((a) => String(a.number) === at("timed").value);
  if (!found) { empty("timeline", "no design was simulated for this report"); return; }
  const t = found.timeline, line = (name, column, color, more) => {
    const V = unpack(t[column]);
    return { name, type: "line", step: "start", symbol: "none", data: [...V].map((v, k) => [k * t.end / V.length, v]), lineStyle: { color, width: 1.3 }, itemStyle: { color }, ...more };
  };
  chart("timeline", { grid: { left: 60, right: 60, top: 40, bottom: 50 }, tooltip: { ...tooltip(), trigger: "axis", formatter: undefined, valueFormatter: show },
    xAxis: axis("time since the first arrival (s)", { max: t.end, axisLabel: { color: theme("--ink"), formatter: show } }),
    yAxis: [axis("requests", { nameGap: 42 }), axis("KV blocks in use", { min: 0, max: 1, nameGap: 44, splitLine: { show: false }, axisLabel: { formatter: (v) => `${Math.round(100 * v)} %`, color: theme("--ink") } })],
    series: [line("running", "running", theme("--front")), line("waiting", "waiting", COLOUR.infeasible), line("KV use, fullest replica", "kv_use", COLOUR.bounds.compute, { yAxisIndex: 1 })] });
};

PARTS.convergence = () => {
  const h = study.history;
  if (!h.hypervolume.length) { empty("convergence", "no feasible design yet"); return; }
  const line = (name, data, more) => ({ name, type: "line", step: "end", symbol: "none", data, ...more });
  chart("convergence", { grid: { left: 60, right: 60, top: 40, bottom: 50 }, tooltip: { ...tooltip(), trigger: "axis", formatter: undefined, valueFormatter: show },
    xAxis: axis("trial", { max: "dataMax" }), yAxis: [axis("share of final hypervolume", { min: 0, max: 1, nameGap: 42 }), axis("best over final best", { scale: true, nameGap: 42, splitLine: { show: false } })],
    series: [line("hypervolume", h.hypervolume, { lineStyle: { color: theme("--front"), width: 2 }, itemStyle: { color: theme("--front") } }),
      ...study.objectives.map((o) => line(o.name, h.best[o.name].map(([n, v]) => [n, v / (h.best[o.name][h.best[o.name].length - 1][1] || 1)]), { yAxisIndex: 1, lineStyle: { width: 1.2, type: "dashed" } }))] });
};

PARTS.reasons = () => {
  const rows = [...study.reasons].reverse();
  if (!rows.length) { empty("reasons", "every design was feasible"); return; }
  chart("reasons", { grid: { left: 150, right: 50, top: 20, bottom: 50 }, tooltip: tooltip((p) => plain(`${rows[p.dataIndex][0]}: ${show(p.value)}`)), xAxis: axis("designs"),
    yAxis: { type: "category", data: rows.map((r) => r[0]), axisLabel: { color: theme("--ink"), width: 140, overflow: "truncate" } },
    series: [{ type: "bar", barMaxWidth: 30, data: rows.map((r) => r[1]), itemStyle: { color: COLOUR.infeasible }, label: { show: true, position: "right", color: theme("--ink") } }] });
};
