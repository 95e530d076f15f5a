// A trial's complete design: the base design with the trial's settings at their keys, as `simulator run` reads it.
const NAMED = ["model", "hardware", "serving", "workload", "costs"];

function design(i) {
  if (outside(i)) return study.designs.baselines[baseline(i)];
  const made = JSON.parse(JSON.stringify(study.designs.base));
  const changes = study.parameters.flatMap((p) => {
    const value = setting(p, i);
    return value === null ? [] : p.keys.map((key) => [key.split("."), p.unit ? `${value} ${p.unit}` : value]);
  });
  changes.sort((a, b) => a[0].length - b[0].length); // whole sections first, then their parts
  for (const [path, value] of changes) {
    let node = made;
    path.slice(0, -1).forEach((part, depth) => {
      if (typeof node[part] === "string" && depth === 0 && NAMED.includes(part)) node[part] = { base: node[part] };
      if (node[part] === null || node[part] === undefined) node[part] = {};
      node = node[part];
    });
    node[path[path.length - 1]] = value;
  }
  return made;
}

function yaml(node, indent = "") {
  return Object.entries(node).map(([key, value]) => {
    const nested = value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length;
    return `${indent}${/^[A-Za-z_]\w*$/.test(key) ? key : JSON.stringify(key)}:` + (nested ? `\n${yaml(value, `${indent}  `)}` : ` ${JSON.stringify(value)}\n`);
  }).join("");
}

const designYaml = (i) => `# trial ${number[i]} of ${study.name.replace(/\s+/g, " ")}\n${yaml(design(i))}`;

function copyButton(text, of) {
  const button = element("button", text);
  button.type = "button";
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(of()); } catch {
      const area = element("textarea", of()); // pages opened from a disk may not reach the clipboard
      document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = text; }, 1500);
  });
  return button;
}

function detail(i) {
  const panel = at("detail");
  const kind = status[i] ? `${study.statuses[status[i]]}: ${reason(i)}` : outside(i) ? "baseline outside the space" : onFront.has(i) ? "on the Pareto front" : "feasible, dominated";
  panel.replaceChildren(element("h3", title(i)), element("p", kind));
  const ties = study.trials.ties && study.trials.ties[i], unsure = study.trials.unsure && study.trials.unsure[i];
  if (ties) panel.append(element("p", `ties with trials ${ties}`));
  if (unsure) panel.append(element("p", `may hold or not: ${unsure}`));
  const table = element("table");
  const row = (name, text) => { if (text) { const r = element("tr"); r.append(element("td", name), element("td", text)); table.append(r); } };
  for (const o of study.objectives) row(o.name, Number.isNaN(values(o.name)[i]) ? "" : measured(o, i));
  for (const p of study.parameters) if (setting(p, i) !== null) row(p.label, settingLabel(p, i));
  for (const m of study.metrics) row(m.label, show(values(m.name)[i]));
  const text = element("pre", designYaml(i)), run = "python -m simulator run design.yaml";
  panel.append(element("p", "Run it again: save the YAML as design.yaml, then"), element("code", run), copyButton("copy YAML", () => designYaml(i)),
    copyButton("copy command", () => run), element("p", "In the folder above the study:"), element("code", `python -m sweeper explain STUDY ${number[i]}`), table, text);
}
