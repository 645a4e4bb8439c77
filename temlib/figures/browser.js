for (const root of document.querySelectorAll(".browser[hidden]")) {
  const data = JSON.parse(root.firstElementChild.textContent), {classes, models, truth} = data;
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
        const long = nice(nm);
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

  root.hidden = false;
  if (shown.length) browse();
  threshold(root, data);
}
