// The page from top to bottom.
at("name").textContent = study.name;
at("description").textContent = study.description;
facts(at("facts"), study.facts);
if (study.cache.length) facts(at("cache"), study.cache); else { at("cache").remove(); at("cache-title").remove(); }
for (const [id, k] of [["x", 0], ["y", 1]]) options(id, axes.map((a) => [a.name, a.label]), (axes[Math.min(k, axes.length - 1)] || {}).name);
if (axes.length > 2) {
  ["x3", "y3", "z3"].forEach((id, k) => options(id, axes.map((a) => [a.name, a.label]), axes[k].name));
  ["x3", "y3", "z3"].forEach((id) => at(id).addEventListener("change", drawSpace));
  ["turn", "tilt"].forEach((id) => at(id).addEventListener("input", drawSpace));
  turnByDragging();
  PARTS.space = drawSpace;
} else at("space-section").remove();
at("log").checked = study.objectives.slice(0, 2).some(wide);
at("among").value = front.length >= 8 ? "front" : "feasible";
options("sliced", [...new Set(study.slices.map((s) => s.number))].map((n) => [String(n), `trial ${n} (${role(study.decision.picks.find((p) => p.number === n))})`]));
options("sliced-objective", study.objectives.map((o, k) => [String(k), o.label]));
options("importance-objective", study.importance.objectives.map((i) => [i.objective, i.objective]));
options("timed", study.anatomies.filter((a) => a.timeline).map((a) => [String(a.number), named(a.number)]));
at("slices-note").textContent = study.slicesNote;
at("importance-note").textContent = `${study.importance.note}.`;
for (const id of ["x", "y", "log", "outliers", "infeasible", "dominated"]) at(id).addEventListener("change", drawScatter);
for (const [id, part] of [["among", "parallel"], ["by", "anatomy"], ["sliced", "slices"], ["sliced-objective", "slices"], ["importance-objective", "importance"], ["timed", "timeline"]]) at(id).addEventListener("change", () => redraw(part));
PARTS.parallel = drawParallel;
drawDecision();
if (N) { selected = front.length ? position.get(study.decision.picks[0].number) : 0; detail(selected); }
drawn.set("scatter", drawScatter);
drawScatter();
drawBaselines();
drawFront();
Object.entries(PARTS).forEach(([id, draw]) => whenSeen(id, draw));
document.body.dataset.readyMs = Math.round(performance.now()); // how long the page took to open
