const TILE = 76, HIGH = 92, WAIT_MS = 80, CHUNK = 1000, SHOWN_PX = 640;

function render({model, el}) {
  const root = make("div", {className: "inspector"});
  own(root);
  el.append(root);
  const send = content => {
    try { model.send(content); } catch (fault) { said.textContent = "The kernel is gone: run the cell again."; }
  };
  const said = make("p", {className: "said"});
  said.setAttribute("role", "status");
  let data, begun = false;

  function begin(content, buffers) {
    begun = true;
    data = {...content, models: {}};
    const count = data.particles.length, classes = data.classes.length;
    content.models.forEach(([name, called], k) => {
      const p = new Float32Array(buffers[k].buffer.slice(buffers[k].byteOffset, buffers[k].byteOffset + buffers[k].byteLength));
      data.models[name] = {called, p: Array.from({length: count}, (_, i) => p.subarray(i * classes, (i + 1) * classes))};
    });
    const grid = browse();
    said.textContent = data.said;
    root.append(said);
    if (data.sources.length) micrographs(grid);
    if (content.models.length && data.truth.some(t => t >= 0)) {
      const section = make("section");
      root.append(section);
      threshold(section, data);
    }
  }

  const small = {side: 0, kept: null, ready: new Set()}, listeners = {};
  let tiles, view, opened = -1;

  function browse() {
    const {classes, truth, particles} = data, names = Object.keys(data.models), indices = truth.map((_, i) => i).slice(0, data.pictured);
    small.side = data.small;
    small.kept = new Uint8Array(indices.length * small.side ** 2);
    tiles = new Tiles(data.side, which => send({do: "tiles", which}));
    const options = {};
    const select = (title, choices, first) => {
      const [node, field] = choice(title, choices, first);
      options[title] = field;
      return node;
    };
    const folds = [...new Set(data.fold)].filter(f => f !== null).sort((a, b) => a - b).map(f => [String(f), String(f)]);
    const classed = number(classes), [low, high] = ["probability from", "to"].map((title, k) => {
      const field = make("input", {type: "number", min: 0, max: 1, step: .05, value: k});
      return [make("label", {}, title, field), field];
    });
    const fields = [
      select("labelled", all.concat(classed, [["-1", "no class"]])),
      ...names.length ? [select("model", names.map(n => [n, n]), names[0]), select("called", all.concat(classed)), select("call", all.concat([["1", "right"], ["0", "wrong"]]))] : [],
      select("micrograph", all.concat(number(data.micrographs))),
      ...folds.length ? [select("fold", all.concat(folds))] : [],
      ...data.refused ? [select("refused", all.concat([["1", "yes"], ["0", "no"]]))] : [],
      ...names.length ? [select("probability of", classed, "0"), low[0], high[0]] : [],
      select("order", [["", "as in the table"], ["random", "at random"], ...names.length ? [["1", "probability, falling"], ["-1", "probability, rising"]] : []])];
    const value = title => options[title]?.value ?? "", count = make("output");
    const scroller = make("div", {className: "scroller", tabIndex: 0}), sizer = make("div"), pane = make("div", {className: "pane"}), detail = make("div", {className: "detail"});
    scroller.setAttribute("role", "group");
    scroller.setAttribute("aria-label", "Particles");
    sizer.append(pane);
    scroller.append(sizer);
    const chance = indices.map(i => (i * 2654435761 >>> 0) / 2 ** 32);  // always the same order at random
    let found = indices, cells = [], timer;

    function filtered() {
      const m = data.models[value("model")], k = +value("probability of"), [from, to] = [low, high].map(pair => +pair[1].value);
      const called = i => m ? m.called[i] : -1, bounded = m && (from > 0 || to < 1), order = value("order");
      const tests = [
        ["labelled", i => truth[i] == value("labelled")], ["called", i => called(i) == value("called")],
        ["call", i => called(i) >= 0 && truth[i] >= 0 && (called(i) === truth[i]) === (value("call") === "1")],
        ["micrograph", i => data.micrograph[i] == value("micrograph")], ["fold", i => String(data.fold[i]) === value("fold")],
        ["refused", i => data.refused[i] == value("refused")]].filter(([title]) => value(title) !== "").map(pair => pair[1]);
      if (bounded) tests.push(i => m.p[i][k] >= from && m.p[i][k] <= to);
      found = indices.filter(i => tests.every(test => test(i)));
      if (order === "random") found.sort((a, b) => chance[a] - chance[b]);
      else if (order) found.sort((a, b) => order * (m.p[b][k] - m.p[a][k]) || a - b);
      count.textContent = `${found.length.toLocaleString("en")} of ${indices.length.toLocaleString("en")} particles`;
      scroller.scrollTop = 0;
      lay(true);
    }

    // Only the tiles in view exist. The pane stays in view by itself, so that no scrolling outruns what is drawn.
    function lay(anew) {
      const across = Math.max(1, Math.floor((scroller.clientWidth - 8) / TILE)), rows = Math.ceil(scroller.clientHeight / HIGH) + 1;
      if (cells.length !== across * rows) {
        cells = Array.from({length: across * rows}, cell);
        pane.replaceChildren(...cells);
        anew = true;
      }
      sizer.style.height = `${Math.ceil(found.length / across) * HIGH}px`;
      pane.style.height = `${scroller.clientHeight}px`;
      const top = scroller.scrollTop, first = Math.floor(top / HIGH);
      for (let row = first; row < first + rows; row++) for (let column = 0; column < across; column++) {
        const node = cells[row % rows * across + column], i = found[row * across + column];
        node.style.transform = `translate(${column * TILE + 4}px, ${row * HIGH - top + 4}px)`;
        node.hidden = i === undefined;
        if (i !== undefined && (anew || node.at !== i)) dress(node, i);
      }
      clearTimeout(timer);
      timer = setTimeout(sharpen, WAIT_MS);
    }
    function cell() {
      const node = make("button", {type: "button", className: "tile"}, make("canvas"), make("span"));
      node.onclick = () => open(node.at);
      return node;
    }
    function dress(node, i) {
      const m = data.models[value("model")], called = m ? m.called[i] : -1, own = tiles.kept.get(i), ordered = Math.abs(value("order")) === 1;
      const meant = ordered ? +value("probability of") : called, p = called >= 0 ? m.p[i][meant] : -1, label = truth[i] >= 0 ? classes[truth[i]] : data.aside[i] || "no label";
      node.at = i;
      node.dataset.particle = particles[i];
      node.dataset.pixels = own ? "own" : small.ready.has(i) ? "small" : "";
      node.classList.toggle("wrong", called >= 0 && truth[i] >= 0 && called !== truth[i]);
      node.classList.toggle("open", i === opened);
      node.lastChild.textContent = called < 0 ? label : p >= 0 ? `${p.toFixed(2)} ${classes[meant]}` : classes[called];
      node.title = `${particles[i]}, labelled ${label}` + (called < 0 ? "" : `, called ${classes[called]}${p < 0 ? "" : `, ${p.toFixed(2)} ${classes[meant]}`}`);
      node.setAttribute("aria-label", node.title);
      const size = small.side ** 2, now = view.now;
      if (own) paint(node.firstChild, own, data.side, now);
      else paint(node.firstChild, small.kept.subarray(i * size, (i + 1) * size), small.side, {...now, sigma: now.sigma * small.side / data.side});
    }
    // The particles' own pixels come when scrolling rests.
    function sharpen() {
      if (small.side < data.side) tiles.want(cells.filter(node => !node.hidden).map(node => node.at));
    }
    function refresh(which) {
      const set = which && new Set(which);
      for (const node of cells) if (!node.hidden && (!set || set.has(node.at))) dress(node, node.at);
    }

    function open(i) {
      opened = i;
      refresh();
      const label = truth[i] >= 0 ? classes[truth[i]] : data.aside[i] || "no label", nm = data.pixel_nm && data.pixel_nm * data.side, size = 240;
      const canvas = make("canvas"), figure = make("figure", {}, canvas), profile = make("div"), place = make("figure"), looked = make("div", {className: "row"});
      canvas.style.cssText = `width:${size}px;height:${size}px`;
      if (nm) figure.append(make("div", {className: "bar", style: `width:${size * nice(nm) / nm}px`}), make("figcaption", {}, `${nice(nm)} nm`));
      const told = names.filter(n => data.models[n].called[i] >= 0), rows = [["called", ...told.map(n => classes[data.models[n].called[i]])],
        ...classes.map((name, k) => [name, ...told.map(n => data.models[n].p[i][k]).map(p => p < 0 ? "–" : p.toFixed(2))])];
      detail.replaceChildren(make("p", {}, make("b", {}, particles[i]), `, micrograph ${data.micrographs[data.micrograph[i]]}, labelled ${label}` +
        (data.fold[i] === null ? "" : `, held out in fold ${data.fold[i]}`) + (data.refused && data.refused[i] ? ", refused" : "")),
        figure, looked, ...told.length ? [scroll(table(["", ...told], rows), "Probabilities")] : [], profile, place);
      detail.dataset.particle = particles[i];
      const draw = () => {
        const own = tiles.kept.get(i), at = small.side ** 2;
        paint(canvas, own || small.kept.subarray(i * at, (i + 1) * at), own ? data.side : small.side, view.now);
      };
      draw();
      detail.draw = draw;
      tiles.want([i]);
      send({do: "open", i});
      listeners.open = (content, buffers) => {
        if (content.i !== opened) return;
        profile.replaceChildren(line(content.profile, content.step_nm));
        looked.replaceChildren(...content.looked.map((name, k) => {
          const map = make("canvas", {style: "width:120px;height:120px"});
          paint(map, new Uint8Array(buffers[k].buffer, buffers[k].byteOffset, buffers[k].byteLength), content.map_side);
          return make("figure", {}, map, make("figcaption", {}, `where ${name} looked`));
        }));
        if (data.source[i] >= 0) send({do: "micrograph", k: data.source[i]});
      };
      listeners.place = sheet => {
        if (data.source[i] === sheet.k && i === opened) place.replaceChildren(boxed(sheet, [i], () => "#d55e00", 240, open), make("figcaption", {}, `its place on ${data.sources[sheet.k]}`));
      };
    }

    view = looks(data.pixel_nm, () => { refresh(); detail.draw?.(); });
    const form = make("form", {className: "row", onsubmit: event => event.preventDefault(), oninput: filtered}, ...fields);
    root.append(form, make("div", {className: "row"}, view.node, count), make("div", {className: "both"}, scroller, detail));
    scroller.addEventListener("scroll", () => lay(false));
    new ResizeObserver(() => lay(false)).observe(scroller);
    filtered();
    const ask = start => start < indices.length && send({do: "small", start, stop: Math.min(start + CHUNK, indices.length)});
    listeners.small = (content, buffer) => {
      small.kept.set(new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength), content.start * small.side ** 2);
      const which = indices.slice(content.start, content.stop);
      which.forEach(i => small.ready.add(i));
      refresh(which);
      ask(content.stop);
    };
    listeners.tiles = which => { refresh(which); if (which.includes(opened)) detail.draw(); };
    ask(0);
    return {open: i => { open(i); detail.scrollIntoView({block: "nearest"}); }, called: i => data.models[value("model")]?.called[i] ?? -1, form};
  }

  const signed = x => x.toFixed(1).replace("-", "−");
  // The mean intensity on rings around the centre.
  function line(values, step) {
    const width = 240, height = 70, least = Math.min(...values), most = Math.max(...values);
    const at = (v, k) => `${(k + .5) / values.length * width} ${height - 4 - (v - least) / (most - least || 1) * (height - 8)}`;
    const figure = make("figure"), unit = step ? "nm" : "pixels", reach = values.length * (step || 1);
    figure.innerHTML = `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img"><path d="M${values.map(at).join("L")}" fill="none" stroke="currentColor"/></svg>`;
    figure.firstChild.setAttribute("aria-label", "radial profile");
    figure.append(make("figcaption", {}, `mean intensity from the centre to ${reach.toPrecision(3)} ${unit}, ${signed(least)} to ${signed(most)} robust units`));
    return figure;
  }

  // A micrograph with the boxes of some of its particles, each of which opens the particle.
  function boxed(sheet, which, colour, width, open) {
    const canvas = make("canvas", {width: sheet.columns, height: sheet.rows}), context = canvas.getContext("2d"), image = context.createImageData(sheet.columns, sheet.rows);
    const words = new Uint32Array(image.data.buffer);
    sheet.pixels.forEach((v, k) => { words[k] = 0xff000000 | v << 16 | v << 8 | v; });
    context.putImageData(image, 0, 0);
    const node = make("div", {className: "sheet", style: `width:${width}px`}, canvas);
    node.insertAdjacentHTML("beforeend", `<svg viewBox="0 0 ${sheet.columns} ${sheet.rows}"></svg>`);
    const svg = node.lastChild;
    for (const i of which) {
      const [y, x, side] = data.boxes[i].map(v => v / sheet.step), box = document.createElementNS(svg.namespaceURI, "rect");
      for (const [name, v] of Object.entries({x, y, width: side, height: side, stroke: colour(i), tabindex: 0, role: "button", "aria-label": data.particles[i]})) box.setAttribute(name, v);
      if (data.refused && data.refused[i]) box.setAttribute("stroke-dasharray", "4 3");
      if (i === opened) box.setAttribute("class", "open");
      const title = document.createElementNS(svg.namespaceURI, "title");
      title.textContent = data.particles[i];
      box.append(title);
      box.dataset.particle = data.particles[i];
      box.onclick = () => open(i);
      box.onkeydown = event => { if (event.key === "Enter") open(i); };
      svg.append(box);
    }
    return node;
  }

  const sheets = new Map();
  function micrographs(grid) {
    const names = Object.keys(data.models), [ofName, which] = choice("micrograph shown", [["", "none"], ...number(data.sources)]);
    const [ofColour, by] = choice("boxes coloured by", [["label", "label"], ...names.length ? [["call", "call"], ["error", "right or wrong"]] : []]);
    if (!data.truth.some(t => t >= 0) && names.length) by.value = "call";
    const place = make("div"), legend = make("p", {className: "small"});
    const label = i => data.truth[i] >= 0 ? data.truth[i] : -1;
    const colour = i => {
      const called = grid.called(i);
      if (by.value === "error") return called < 0 || label(i) < 0 ? "#999" : called === label(i) ? "#56b4e9" : "#d55e00";
      const k = by.value === "call" ? called : label(i);
      return k < 0 ? "#999" : data.colours[k];
    };
    const show = () => {
      if (which.value === "") return place.replaceChildren();
      const sheet = sheets.get(+which.value);
      if (!sheet) { place.textContent = "reading…"; return send({do: "micrograph", k: +which.value}); }
      const mine = data.particles.map((_, i) => i).filter(i => data.source[i] === sheet.k);
      const kinds = by.value === "error" ? [["right", "#56b4e9"], ["wrong", "#d55e00"]] : data.classes.map((name, k) => [name, data.colours[k]]);
      legend.replaceChildren(...kinds.flatMap(([name, ink]) => [make("b", {style: `color:${ink}`}, "□ "), `${name} · `]), `${mine.length} particles; other: grey; refused: dashed`);
      place.replaceChildren(boxed(sheet, mine, colour, Math.min(SHOWN_PX, root.clientWidth - 24), i => { grid.open(i); show(); }), legend);
    };
    listeners.sheet = sheet => { if (+which.value === sheet.k && which.value !== "") show(); };
    const form = make("form", {className: "row", onsubmit: event => event.preventDefault(), oninput: show}, ofName, ofColour);
    grid.form.addEventListener("input", show);
    root.append(make("section", {}, make("h3", {}, "Micrograph"), form, place));
  }

  const heard = (content, buffers) => {
    if (content.do === "begin" && !begun) begin(content, buffers);
    else if (content.do === "said") said.textContent = content.said;
    if (!data) return;
    if (content.do === "small") listeners.small(content, buffers[0]);
    else if (content.do === "tiles") { tiles.add(content.which, buffers[0]); listeners.tiles(content.which); }
    else if (content.do === "open") listeners.open?.(content, buffers);
    else if (content.do === "micrograph") {
      const sheet = {...content, pixels: new Uint8Array(buffers[0].buffer, buffers[0].byteOffset, buffers[0].byteLength)};
      sheets.set(content.k, sheet);
      listeners.sheet?.(sheet);
      listeners.place?.(sheet);
    }
  };
  model.on("msg:custom", heard);
  send({do: "begin"});
  return () => model.off("msg:custom", heard);
}
export default { render };
