for (const root of document.querySelectorAll(".browser[hidden]")) {
  const data = JSON.parse(root.firstElementChild.textContent), {classes, models, truth} = data;
  const percent = x => isNaN(x) ? "–" : Math.round(100 * x) + " %";
  const make = (tag, options = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), options);
    node.append(...children);
    return node;
  };
  const choice = (title, options, first) => {
    const select = make("select", {}, ...options.map(([value, text]) => new Option(text, value, false, value === first)));
    select.setAttribute("aria-label", title);
    return [make("label", {}, title, select), select];
  };
  const all = [["", "all"]], number = names => names.map((name, k) => [String(k), name]);
  const names = Object.keys(models), shown = Object.keys(data.shown).map(Number);

  // One picture holds all particles, another all maps: a tile is a place in one.
  const sprite = (node, which, place, size) => {
    const [key, , across] = data.sprites[which];
    if (!document.getElementById(`sprite-${key}`)) {  // a rule of its own, so that its text is read once and not for each tile
      const address = document.querySelector(`.sprite[data-key="${key}"]`).textContent;
      document.head.append(make("style", {id: `sprite-${key}`, textContent: `.sprite-${key}{background-image:url(${address})}`}));
    }
    node.className = `sprite-${key}`;
    node.style.cssText = `width:${size}px;height:${size}px;background-size:${across * size}px;` +
      `background-position:${-(place % across) * size}px ${-Math.floor(place / across) * size}px`;
    return node;
  };
  const table = (heads, rows) => make("table", {}, make("thead", {}, make("tr", {}, ...heads.map(h => make("th", {scope: "col"}, h)))),
    make("tbody", {}, ...rows.map(row => make("tr", {}, ...row.map((cell, k) => k ? make("td", {}, cell) : make("th", {scope: "row"}, cell))))));
  const scroll = (node, name) => {
    const region = make("div", {className: "scroll", tabIndex: 0}, node);
    region.setAttribute("role", "region");
    region.setAttribute("aria-label", name);
    return region;
  };

  function browse() {
    const [ofModel, model] = choice("model", names.map(n => [n, n]), names[0]);
    const [ofTruth, label] = choice("labelled", all.concat(number(classes)));
    const [ofCall, call] = choice("called", all.concat(number(classes)));
    const [ofRight, right] = choice("call", all.concat([["1", "right"], ["0", "wrong"]]));
    const [ofPlace, place] = choice("micrograph", all.concat(number(data.micrographs)));
    const [ofOrder, order] = choice("order", [["", "as in the table"], ...number(classes).map(([k, n]) => [k, "probability of " + n])]);
    const count = make("output"), grid = make("div", {className: "grid", tabIndex: 0});
    grid.setAttribute("role", "group");
    grid.setAttribute("aria-label", "Particles");
    const tiles = new Map(shown.map(i => {
      const tile = make("button", {type: "button", className: "tile", onclick: () => enlarge(i)}, sprite(make("i"), 0, data.shown[i], 64), make("span"));
      return [i, tile];
    }));
    const dialog = make("dialog");
    function show() {
      const m = models[model.value];
      let found = shown.filter(i => m.called[i] >= 0 && (!label.value || truth[i] == label.value) && (!call.value || m.called[i] == call.value) &&
        (!right.value || (truth[i] == m.called[i]) == (right.value == "1")) && (!place.value || data.micrograph[i] == place.value));
      if (order.value) found = found.toSorted((a, b) => m.p[b][order.value] - m.p[a][order.value]);
      for (const i of found) {
        const tile = tiles.get(i), p = m.p[i][order.value || m.called[i]];
        tile.classList.toggle("wrong", truth[i] != m.called[i]);
        tile.lastChild.textContent = p < 0 ? classes[m.called[i]] : p.toFixed(2);
        tile.setAttribute("aria-label", `${data.particles[i]}, labelled ${classes[truth[i]]}, called ${classes[m.called[i]]}${p < 0 ? "" : " " + p.toFixed(2)}`);
      }
      grid.replaceChildren(...found.map(i => tiles.get(i)));
      count.textContent = `${found.length} of ${shown.length} particles` +
        (shown.length < data.particles.length ? `; ${data.particles.length} were held out` : "");
    }
    function enlarge(i) {
      const size = Math.min(320, innerWidth - 80), nm = data.pixel_nm && data.pixel_nm * data.sprites[0][1];
      const picture = make("figure", {}, sprite(make("i"), 0, data.shown[i], size));
      if (nm) {
        const long = [1, 2, 5, 10, 20, 50, 100, 200, 500].filter(n => n < nm / 2).pop() || nm / 4;
        picture.append(make("div", {className: "bar", style: `width:${size * long / nm}px`}), make("figcaption", {}, `${long} nm`));
      }
      const looks = names.filter(n => data.maps[n] && i in data.maps[n]);
      const rows = names.filter(n => models[n].called[i] >= 0).map(n => [n, classes[models[n].called[i]], ...models[n].p[i].map(p => p < 0 ? "–" : p.toFixed(2))]);
      const close = make("button", {type: "button", onclick: () => dialog.close()}, "Close");
      dialog.setAttribute("aria-label", data.particles[i]);
      dialog.replaceChildren(make("p", {}, make("b", {}, data.particles[i]), `, micrograph ${data.micrographs[data.micrograph[i]]}, labelled ${classes[truth[i]]}`),
        make("div", {}, picture, ...looks.map(n => make("figure", {}, sprite(make("i"), 1, data.maps[n][i], size / 2), make("figcaption", {}, `where ${n} looked`)))),
        scroll(table(["model", "called", ...classes], rows), "Probabilities"), close);
      dialog.showModal();
    }
    const form = make("form", {onsubmit: event => event.preventDefault(), oninput: show}, ofModel, ofTruth, ofCall, ofRight, ofPlace, ofOrder, count);
    root.append(make("h3", {}, "Particles"), form, grid, dialog);
    show();
  }

  // A share with its 95 % interval, as `evaluate.intervals.of_values` makes it: whole micrographs are the units, and few
  // errors are never surer than none, for which an intra-class correlation of 0.3 is assumed.
  function share(of, among) {
    const size = data.micrographs.length, hit = new Float64Array(size), base = new Float64Array(size), z2 = 1.959964 ** 2;
    truth.forEach((_, i) => { if (among(i)) { base[data.micrograph[i]]++; hit[data.micrograph[i]] += of(i); } });
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

  function threshold() {
    const able = names.filter(n => models[n].p.every((p, i) => models[n].called[i] < 0 || p.every(x => x >= 0)));
    if (!able.length) return;
    const [ofModel, model] = choice("model", able.map(n => [n, n]), able[0]);
    const [ofClass, positive] = choice("class", number(classes));
    const slider = make("input", {type: "range", min: 0, max: 1, step: .01, value: .5}), said = make("output"), tables = make("div");
    function show() {
      const m = models[model.value], k = +positive.value, name = classes[k], limit = +slider.value;
      const known = i => m.called[i] >= 0, yes = i => truth[i] == k, called = i => m.p[i][k] >= limit;
      const cell = (a, b) => truth.reduce((sum, _, i) => sum + (known(i) && yes(i) == a && called(i) == b), 0);
      said.textContent = limit.toFixed(2);
      tables.replaceChildren(
        scroll(table(["", `called ${name}`, "not called"], [[`labelled ${name}`, cell(true, true), cell(true, false)], ["other", cell(false, true), cell(false, false)]]), "Counts"),
        scroll(table(["", "95 % interval by micrograph"], [
          [`found of ${name} (TPR)`, share(called, i => known(i) && yes(i))],
          ["left alone of the others (TNR)", share(i => !called(i), i => known(i) && !yes(i))],
          [`right when called ${name} (PPV)`, share(yes, i => known(i) && called(i))],
          ["called, of all", share(called, known)], ["labelled, of all", share(yes, known)]]), "Measures"));
    }
    const form = make("form", {onsubmit: event => event.preventDefault(), oninput: show}, ofModel, ofClass, make("label", {}, "called from probability", slider), said);
    root.append(make("h3", {}, "Threshold"), form, tables, make("p", {className: "small"},
      "For looking only: a threshold that is chosen by what is seen here is optimistic. The table above chooses it on other particles."));
    show();
  }

  root.hidden = false;
  if (shown.length) browse();
  threshold();
}
