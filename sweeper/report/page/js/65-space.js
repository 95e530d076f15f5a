// Three quantities at once: a box seen in parallel projection, turned by dragging or by two sliders.
const DRAWN_DOMINATED = 2000;

// Places of values along an edge of the box, which spans the front with a margin: 0 to 1, infinite beyond it.
function edge(a) {
  const V = values(a.name), log = wide(a), of = log ? Math.log10 : (v) => v;
  const shown = front.map((i) => of(V[i])).filter(Number.isFinite);
  const low = Math.min(...shown), high = Math.max(...shown), margin = 0.08 * (high - low || Math.abs(high) || 1);
  const place = (i) => { const t = (of(V[i]) - low + margin) / (high - low + 2 * margin); return t >= 0 && t <= 1 ? t : Infinity; };
  const value = (t) => { const v = low - margin + t * (high - low + 2 * margin); return show(Number((log ? 10 ** v : v).toPrecision(3))); };
  return { place, value, name: a.label + (log ? ", log" : "") + (a.direction ? (a.direction === "minimize" ? " ↓" : " ↑") : "") };
}

function drawSpace() {
  const chosen = ["x3", "y3", "z3"].map((id) => axes.find((a) => a.name === at(id).value));
  if (!front.length || chosen.some((a) => !a)) { empty("space", "no front yet"); return; }
  const [x, y, z] = chosen.map(edge);
  const turn = Number(at("turn").value) * Math.PI / 180, tilt = Number(at("tilt").value) * Math.PI / 180;
  const project = (u, v, w) => {
    const away = (u - 0.5) * Math.sin(turn) + (v - 0.5) * Math.cos(turn);
    return [(u - 0.5) * Math.cos(turn) - (v - 0.5) * Math.sin(turn), (w - 0.5) * Math.cos(tilt) + away * Math.sin(tilt)];
  };
  const dots = (name, rows, more) => ({ name, type: "scatter", ...more,
    data: rows.map((i) => [[x, y, z].map((e) => e.place(i)), i]).filter(([p]) => p.every(Number.isFinite)).map(([p, i]) => [...project(...p), i]) });
  const segments = (name, pairs, lineStyle) => ({ name, type: "line", symbol: "none", silent: true, lineStyle, connectNulls: false, z: 1,
    data: pairs.flatMap(([a, b]) => [project(...a), project(...b), [null, null]]) });
  const corners = [[0, 0], [0, 1], [1, 0], [1, 1]];
  const box = corners.flatMap(([a, b]) => [[[0, a, b], [1, a, b]], [[a, 0, b], [a, 1, b]], [[a, b, 0], [a, b, 1]]]);
  const stems = front.map((i) => [x, y, z].map((e) => e.place(i))).filter((p) => p.every(Number.isFinite)).map(([u, v, w]) => [[u, v, 0], [u, v, w]]);
  const out = -0.06; // labels stand a little outside the box
  const ends = [[x, (t) => [t, out, out], "right"], [y, (t) => [out, t, out], "left"], [z, (t) => [out, 1 - out, t], "left"]].flatMap(([e, along, side]) => [
    [1, e.value(1)], [0.5, e.name], [0.04, e.value(0)]].map(([t, text]) => ({ value: project(...along(t)), text, label: { position: side } })));
  const some = feasible.filter((i) => !onFront.has(i)), step = Math.ceil(some.length / DRAWN_DOMINATED) || 1;
  const wideness = at("space").clientWidth / at("space").clientHeight;
  const hidden = (half) => ({ type: "value", show: false, min: -half, max: half });
  const made = chart("space", { grid: { left: 0, right: 0, top: 30, bottom: 0 }, tooltip: tooltip((p) => (p.data[2] === undefined ? "" : describe(p.data[2]))),
    legend: { data: ["dominated", "Pareto front", "baselines", "selected"], textStyle: { color: theme("--ink") }, top: 0 },
    xAxis: hidden(0.95 * wideness), yAxis: hidden(0.95), series: [
      segments("box", box, { color: theme("--line"), width: 1 }),
      segments("stems", stems, { color: theme("--front"), width: 1, opacity: 0.25 }),
      dots("dominated", some.filter((i, k) => k % step === 0), { symbolSize: 4, itemStyle: { color: COLOUR.dominated, opacity: 0.5 } }),
      dots("Pareto front", front, { symbolSize: 9, itemStyle: { color: theme("--front"), borderColor: theme("--paper"), borderWidth: 1 }, z: 4 }),
      dots("baselines", all.filter((i) => baseline(i)), { symbol: "diamond", symbolSize: 14, itemStyle: { color: COLOUR.baseline }, z: 5,
        label: { show: true, position: "right", color: theme("--ink"), formatter: (p) => baseline(p.data[2]) } }),
      dots("selected", selected >= 0 ? [selected] : [], { symbolSize: 18, silent: true, itemStyle: { color: "transparent", borderColor: COLOUR.selected, borderWidth: 3 }, z: 6 }),
      { name: "ends", type: "scatter", silent: true, symbolSize: 0.1, data: ends, label: { show: true, color: theme("--ink"), backgroundColor: theme("--paper"), padding: 1, fontSize: 11, formatter: (p) => p.data.text } }] });
  made.off("click");
  made.on("click", (p) => { if (p.data[2] !== undefined) select(p.data[2]); });
}

function turnByDragging() {
  let from = null;
  at("space").addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse") from = [event.clientX, event.clientY]; });
  addEventListener("pointerup", () => { from = null; });
  at("space").addEventListener("pointermove", (event) => {
    if (!from) return;
    at("turn").value = Number(at("turn").value) + (event.clientX - from[0]) / 3;
    at("tilt").value = Number(at("tilt").value) + (event.clientY - from[1]) / 3;
    from = [event.clientX, event.clientY];
    drawSpace();
  });
}
