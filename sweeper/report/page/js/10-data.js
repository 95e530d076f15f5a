// The study in the JSON element `data`; columns of trials are unpacked from base64 when they are first read.
const study = JSON.parse(document.getElementById("data").textContent);
const KINDS = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array, u2: Uint16Array };

function unpack(column) {
  const bytes = Uint8Array.from(atob(column.data), (c) => c.charCodeAt(0));
  return new KINDS[column.type](bytes.buffer);
}

function once(make) {
  const made = new Map();
  return (key) => { if (!made.has(key)) made.set(key, make(key)); return made.get(key); };
}

const N = study.trials.count;
const all = [...Array(N).keys()];
const number = unpack(study.trials.number), status = unpack(study.trials.status);
const reasonCodes = unpack(study.trials.reason.codes);
const reason = (i) => study.trials.reason.list[reasonCodes[i]];
const baseline = (i) => study.trials.baseline[i] || "";
const values = once((name) => unpack(study.trials.values[name]));
const halfWidths = once((name) => (study.trials.halfWidths && study.trials.halfWidths[name] ? unpack(study.trials.halfWidths[name]) : null));
const parameter = new Map(study.parameters.map((p) => [p.name, p]));
const settings = once((name) => {
  const column = study.trials.settings[name];
  return unpack(column.codes || column.numbers);
});

// What trial i sets the parameter to, as its YAML says it; null where the parameter does not exist there.
function setting(p, i) {
  const code = settings(p.name)[i];
  if (!p.values) return Number.isNaN(code) ? null : code;
  return code < p.values.length ? p.values[code] : null;
}
const settingLabel = (p, i) => {
  const code = settings(p.name)[i];
  return p.labels ? (code < p.labels.length ? p.labels[code] : "-") : Number.isNaN(code) ? "-" : show(code);
};

const position = new Map([...number].map((n, i) => [n, i]));
const front = study.front.map((n) => position.get(n));
const onFront = new Set(front);
const outside = (i) => baseline(i) !== "" && study.parameters.every((p) => setting(p, i) === null);
const feasible = all.filter((i) => status[i] === 0 && !outside(i));
const axes = [...study.objectives, ...study.metrics].filter((a) => study.trials.values[a.name]);
