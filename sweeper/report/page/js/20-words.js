// Texts and elements. Texts from the study only ever become text nodes, canvas text, or pass `plain`.
const at = (id) => document.getElementById(id);
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const WHOLE = new Intl.NumberFormat("en"), DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

function show(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? WHOLE.format(value) : DIGITS.format(value);
}
const percent = (share) => `${share > 0 ? "+" : ""}${(100 * share).toFixed(Math.abs(share) < 0.1 ? 1 : 0)} %`;

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

function options(id, entries, chosen) {
  entries.forEach(([value, text]) => at(id).append(new Option(text, value, false, value === chosen)));
}

// "12.3 ms", with the half-width of the 95 % interval where the study has replicates.
function measured(o, i) {
  const half = halfWidths(o.name);
  return `${show(values(o.name)[i])}${half && !Number.isNaN(half[i]) ? ` ± ${show(half[i])}` : ""}${o.unit ? ` ${o.unit}` : ""}`;
}

const title = (i) => (baseline(i) ? `${baseline(i)} (trial ${number[i]})` : `trial ${number[i]}`);

function describe(i) {
  const lines = [`<b>${plain(title(i))}</b>`, ...study.objectives.filter((o) => !Number.isNaN(values(o.name)[i])).map((o) => plain(`${o.name}: ${measured(o, i)}`))];
  if (status[i]) lines.push(`<i>${plain(reason(i))}</i>`);
  for (const p of study.parameters) if (setting(p, i) !== null) lines.push(plain(`${p.label} = ${settingLabel(p, i)}`));
  return lines.join("<br>");
}

// Does it on a click, and on Enter or the space bar once the element has the focus.
function byClickOrKey(made, act) {
  made.tabIndex = 0;
  made.addEventListener("click", act);
  made.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); } });
}
