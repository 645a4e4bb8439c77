// What each threshold gives, and costs. `data` holds classes, models (called and p, −1 where unknown), truth (−1: no class),
// micrographs, the micrograph of each particle, and t quantiles.

// A share with its 95 % interval, as `evaluate.intervals.of_values` makes it: whole micrographs are the units, and few
// errors are never surer than none, for which an intra-class correlation of 0.3 is assumed.
function share(data, of, among) {
  const size = data.micrographs.length, hit = new Float64Array(size), base = new Float64Array(size), z2 = 1.959964 ** 2;
  data.truth.forEach((_, i) => { if (among(i)) { base[data.micrograph[i]]++; hit[data.micrograph[i]] += of(i); } });
  const sum = f => base.reduce((total, b, k) => total + f(b, hit[k]), 0);
  const n = sum(b => b), value = sum((b, h) => h) / n, square = sum(b => b * b), m = base.filter(b => b).length;
  if (!n) return "–, n = 0";
  const free = Math.max(1, n * n / square - 1), whole = Math.min(Math.floor(free), data.t.length - 1);
  const t = data.t[whole - 1] + (data.t[whole] - data.t[whole - 1]) * (1 / free - 1 / whole) / (1 / (whole + 1) - 1 / whole);
  const most = n / Math.max(1, 1 + (square / n - 1) * 0.3), near = Math.max(value, 1 - value);
  const seen = m > 1 ? m / (m - 1) * sum((b, h) => (h - value * b) ** 2) / n / n : 0;
  const limit = most / (most + z2) - 0.25 * (1 - near);
  const sure = seen < 1e-15 ? most : Math.min(value * (1 - value) / Math.max(seen, value * (1 - value) / n) * z2 / t ** 2,
    near > limit ? z2 * limit * (1 - limit) / (near - limit) ** 2 : Infinity);
  const middle = (value + z2 / (2 * sure)) / (1 + z2 / sure);
  const half = Math.sqrt(z2 * (value * (1 - value) + z2 / (4 * sure)) / sure) / (1 + z2 / sure);
  return `${percent(value)} (${Math.round(100 * Math.max(0, middle - half))}–${Math.round(100 * Math.min(1, middle + half))}), n = ${n}`;
}

// What wrong calls cost at each hundredth, of particles that are `yes` or not: those missed and those called wrongly.
function costs(p, yes, missed, wrong) {
  const found = new Float64Array(102), others = new Float64Array(102);
  p.forEach((value, j) => { (yes[j] ? found : others)[Math.floor(value * 100 + 1e-6)]++; });
  const total = new Float64Array(101);
  let lost = 0, called = others.reduce((a, b) => a + b, 0);
  for (let at = 0; at <= 100; at++) {
    total[at] = missed * lost + wrong * called;
    lost += found[at];
    called -= others[at];
  }
  return total;
}

function threshold(root, data) {
  const {classes, models, truth} = data, names = Object.keys(models);
  const able = names.filter(n => models[n].p.every((p, i) => models[n].called[i] < 0 || p.every(x => x >= 0)));
  if (!able.length) return;
  const [ofModel, model] = choice("model", able.map(n => [n, n]), able[0]);
  const [ofClass, positive] = choice("class", number(classes));
  const slider = make("input", {type: "range", min: 0, max: 1, step: .01, value: .5}), said = make("output"), tables = make("div");
  const cost = (title, value) => make("label", {}, title, make("input", {type: "number", min: 0, step: "any", value}));
  const missed = cost("cost of one missed", 1), wrong = cost("cost of one called wrongly", 1), priced = make("p");
  function show() {
    const m = models[model.value], k = +positive.value, name = classes[k], limit = +slider.value;
    const known = i => m.called[i] >= 0 && truth[i] >= 0, yes = i => truth[i] == k, called = i => m.p[i][k] >= limit;
    const cell = (a, b) => truth.reduce((sum, _, i) => sum + (known(i) && yes(i) == a && called(i) == b), 0);
    said.textContent = limit.toFixed(2);
    tables.replaceChildren(
      scroll(table(["", `called ${name}`, "not called"], [[`labelled ${name}`, cell(true, true), cell(true, false)], ["other", cell(false, true), cell(false, false)]]), "Counts"),
      scroll(table(["", "95 % interval by micrograph"], [
        [`found of ${name} (TPR)`, share(data, called, i => known(i) && yes(i))],
        ["left alone of the others (TNR)", share(data, i => !called(i), i => known(i) && !yes(i))],
        [`right when called ${name} (PPV)`, share(data, yes, i => known(i) && called(i))],
        ["called, of all", share(data, called, i => m.called[i] >= 0)], ["labelled, of all", share(data, yes, known)]]), "Measures"));
    const kept = truth.map((_, i) => i).filter(known), prices = [missed, wrong].map(label => +label.lastChild.value || 0);
    const total = costs(kept.map(i => m.p[i][k]), kept.map(yes), ...prices), per = x => (100 * x / kept.length).toPrecision(3);
    const least = total.reduce((best, x, at) => x < total[best] ? at : best, 0);
    priced.textContent = `At these costs: ${per(total[Math.round(limit * 100)])} for each 100 particles; least, ${per(total[least])}, at ${(least / 100).toFixed(2)}.`;
  }
  const form = make("form", {onsubmit: event => event.preventDefault(), oninput: show}, ofModel, ofClass, make("label", {}, "called from probability", slider), said, missed, wrong);
  root.append(make("h3", {}, "Threshold"), form, tables, priced, make("p", {className: "small"},
    "For looking only: a threshold that is chosen by what is seen here is optimistic. The table of thresholds chooses it on other particles."));
  show();
}

