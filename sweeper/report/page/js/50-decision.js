// What the study says should be built, in words.
function role(pick) {
  const best = pick.roles.filter((r) => r !== "compromise").map((r) => `best ${r}`);
  return [...(pick.roles.includes("compromise") ? ["compromise"] : []), ...best].join(", ");
}

function boundBy(n) {
  const found = study.anatomies.find((a) => a.number === n);
  if (!found) return "";
  const sums = {};
  found.operators.forEach(([, , bounds]) => Object.entries(bounds).forEach(([name, share]) => { sums[name] = (sums[name] || 0) + share; }));
  const busy = Object.values(sums).reduce((a, b) => a + b, 0);
  return Object.entries(sums).sort((a, b) => b[1] - a[1]).slice(0, 2).map(([name, share]) => `${name} ${Math.round(100 * share / busy)} %`).join(", ") + " of busy time";
}

function drawDecision() {
  const picks = study.decision.picks;
  if (!picks.length) { at("lead").textContent = "No design meets every constraint yet; see below why they were ruled out."; return; }
  const first = picks[0], i = position.get(first.number);
  at("lead").textContent = `Look first at trial ${first.number} (${role(first)}): ${study.objectives.map((o) => `${o.name} ${measured(o, i)}`).join(", ")}, on ${first.devices} device${first.devices === "1" ? "" : "s"}. `
    + first.compared.map(([what, text]) => `Against ${what}: ${text}.`).join(" ");
  at("rests").replaceChildren(...[...study.rests, ...study.remarks].map((text) => element("li", text)));
  for (const pick of picks) {
    const k = position.get(pick.number), card = element("div", undefined, "card"), list = element("ul");
    card.append(element("h3", `${role(pick)}: trial ${pick.number}`), element("p", study.objectives.map((o) => `${o.name} ${measured(o, k)}`).join(" · ")),
      element("p", `devices: ${pick.devices}`), element("p", study.parameters.filter((p) => setting(p, k) !== null).map((p) => `${p.name} ${settingLabel(p, k)}`).join(", "), "note"));
    const bound = boundBy(pick.number);
    if (bound) card.append(element("p", `bound by ${bound}`));
    for (const [what, text] of pick.compared) list.append(element("li", `against ${what}: ${text}`));
    if (pick.dominates.length) list.append(element("li", `no worse in any objective and better in some than ${pick.dominates.join(", ")} as it is`));
    for (const text of [...pick.rests, ...pick.remarks]) list.append(element("li", text));
    const ties = study.trials.ties && study.trials.ties[k];
    if (ties) list.append(element("li", `ties with trials ${ties}: their difference is within the noise of the seeds`));
    const button = element("button", "show it below");
    button.type = "button";
    button.addEventListener("click", () => { select(k); at("scatter").scrollIntoView({ block: "center" }); });
    card.append(list, button);
    at("picks").append(card);
  }
  at("sure").textContent = study.trials.halfWidths ? "± is the half-width of the 95 % confidence interval over replicated seeds."
    : "How sure: one trace with one seed, so differences of a few per cent may be noise; `workload: {replicates: 5}` in the space gives intervals and ties.";
  at("rule").textContent = picks.some((p) => p.roles.includes("compromise")) ? `Compromise: ${study.decision.rule}.` : "";
}

function drawBaselines() {
  const rows = study.decision.baselines;
  if (!rows.length) { at("baseline-section").remove(); return; }
  const head = element("tr");
  ["baseline", "devices", ...study.objectives.map((o) => o.label), "designs of the front that beat it"].forEach((text) => head.append(element("th", text)));
  at("baselines").append(head);
  for (const b of rows) {
    const i = position.get(b.number), row = element("tr", undefined, "pick");
    row.dataset.trial = i;
    row.append(element("td", b.name), element("td", b.devices));
    study.objectives.forEach((o, k) => {
      const cell = element("td", b.values[k] === null ? "" : measured(o, i)), column = front.map((f) => values(o.name)[f]);
      const best = column.reduce((x, y) => (o.direction === "minimize" ? Math.min(x, y) : Math.max(x, y)), column[0]);
      if (b.values[k] > 0 && front.length && b.status === "complete" && !(b.refused && o.basis)) {
        const delta = best / b.values[k] - 1;
        cell.append(element("span", ` (${percent(delta)})`, (delta < 0) === (o.direction === "minimize") ? "better" : "worse"));
      }
      row.append(cell);
    });
    row.append(element("td", (b.beaten === null ? b.reason || b.status : `${b.beaten} of ${front.length}`) + (b.refused ? `; ${b.refused}` : "")));
    row.addEventListener("click", () => select(i));
    at("baselines").append(row);
  }
}
