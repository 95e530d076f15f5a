// Charts. Colours follow the page's theme; a chart is drawn when it first comes into view.
const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const COLOUR = { infeasible: "#d9705f", baseline: "#e08a00", dominated: "#9aa7b4", selected: "#d6249f",
  bounds: { compute: "#4c78c8", "array fill": "#8fb1e8", vector: "#c8559b", memory: "#0a9d86", pim: "#6b9c2f", network: "#e08a00", launch: "#a05fc0", host: "#7a5a3a", idle: "#c3ccd4" } };
const drawn = new Map();

function chart(id, option) {
  const div = typeof id === "string" ? at(id) : id;
  let made = echarts.getInstanceByDom(div);
  if (!made) { div.replaceChildren(); made = echarts.init(div, null, { renderer: "canvas" }); }
  made.setOption({ animation: false, textStyle: { color: theme("--ink"), fontFamily: "system-ui, sans-serif" }, backgroundColor: "transparent",
    legend: { textStyle: { color: theme("--ink") }, top: 0, type: "scroll" }, ...option }, true);
  return made;
}

const tooltip = (formatter) => ({ trigger: "item", confine: true, backgroundColor: theme("--paper"), borderColor: theme("--line"), textStyle: { color: theme("--ink"), fontSize: 12 }, formatter });
const lines = () => ({ splitLine: { lineStyle: { color: theme("--line"), opacity: 0.5 } }, axisLine: { lineStyle: { color: theme("--soft") } }, axisLabel: { color: theme("--ink"), hideOverlap: true }, nameTextStyle: { color: theme("--ink") } });
const axis = (name, more) => ({ name, nameLocation: "middle", nameGap: 34, type: "value", ...lines(), ...more });
const empty = (id, text) => at(id).replaceChildren(element("p", text, "empty"));

// Draws a part when it first comes into view, and again at `redraw`: a page of 10,000 trials then opens as fast as a small one.
function whenSeen(id, draw) {
  const observer = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) { observer.disconnect(); drawn.set(id, draw); draw(); }
  }, { rootMargin: "200px" });
  observer.observe(at(id));
}
const redraw = (id) => { if (drawn.has(id)) drawn.get(id)(); };
const resized = () => document.querySelectorAll(".plot, .small").forEach((div) => { const made = echarts.getInstanceByDom(div); if (made) made.resize(); });
addEventListener("resize", resized);
addEventListener("beforeprint", () => { ["space", "parallel", "anatomy", "slices", "importance", "timeline", "convergence", "reasons"].forEach((id) => { if (PARTS[id] && !drawn.has(id)) PARTS[id](); }); resized(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((draw) => draw()));
const PARTS = {};

let selected = -1;
function select(i) {
  selected = i;
  detail(i);
  document.querySelectorAll("tr.pick").forEach((row) => row.classList.toggle("selected", Number(row.dataset.trial) === i));
  ["scatter", "space", "parallel"].forEach(redraw);
}
