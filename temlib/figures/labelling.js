const AHEAD = 64, LEAST = 24, SLOW_MS = 4000;

function render({model, el}) {
  const root = make("div", {tabIndex: 0, className: "labelling"});
  own(root);
  root.setAttribute("role", "application");
  root.setAttribute("aria-label", "Label particles: 1 to 9 for the classes, u could not tell, z undo, arrows move, n new class");
  el.append(root);
  const send = content => {
    try { model.send(content); } catch (fault) { tell(`The kernel is gone: run the cell again; it goes on after the last label that was saved.`); }
  };
  const canvas = make("canvas"), bar = make("div", {className: "bar"}), nm = make("span", {className: "small"});
  const place = make("output"), counts = make("p", {className: "small"}), message = make("p", {className: "said"}), keys = make("div", {className: "keys"});
  const about = make("div", {className: "small about"}), blind = make("input", {type: "checkbox"}), aside = make("div");
  message.setAttribute("role", "status");
  let state, tiles, view, at = 0, history = [], waiting = new Map(), sent = 0, since = 0, mine = crypto.getRandomValues(new Uint32Array(1))[0];
  const tell = words => { message.textContent = words; };
  const current = () => state.queue[at];

  function begin(content) {
    if (state) return;  // another view of the same widget was opened
    state = {...content, labels: new Map(content.labels)};
    tiles = new Tiles(content.side, which => send({do: "tiles", which}));
    at = content.at;
    view = looks(content.pixel_nm, show);
    lay();
    tell(content.said);
    show();
  }

  function lay() {
    const size = Math.min(360, Math.max(200, root.clientWidth - 20));
    canvas.style.cssText = `width:${size}px;aspect-ratio:1`;
    if (state.pixel_nm) {
      const whole = state.side * state.pixel_nm, long = nice(whole);
      bar.style.width = `${size * long / whole}px`;
      nm.textContent = `${long} nm`;
    }
    const legend = labelled("show predictions and what others said", blind);
    legend.className = "tick";
    blind.onchange = () => { show(); root.focus(); };
    root.replaceChildren(
      make("div", {className: "row top"}, make("div", {}, canvas, bar, nm), make("div", {className: "side"}, place, keys, counts, message, aside, about)),
      view.node, legend, make("p", {className: "small"}, `Labels of ${state.name} go into ${state.file}, column ${state.column}. What was labelled while predictions are shown is no independent check of them.`));
    root.addEventListener("keydown", pressed);
    // Where the notebook would take the keyboard back for its cell.
    root.addEventListener("click", event => { if (!event.target.closest("input, select")) root.focus(); });
    root.focus({preventScroll: true});
  }

  function show() {
    const i = current(), ready = tiles.kept.get(i);
    root.dataset.at = at;
    place.textContent = `${at + 1} of ${state.queue.length}`;
    // Many at a time, so that keys need not wait for a kernel that saves.
    if (state.queue.slice(Math.max(0, at - 2), at + LEAST).some(k => !tiles.kept.has(k))) tiles.want(state.queue.slice(Math.max(0, at - 2), at + AHEAD));
    if (ready) paint(canvas, ready, state.side, view.now);
    canvas.dataset.particle = ready ? i : "";
    canvas.style.visibility = ready ? "" : "hidden";
    const label = state.labels.get(i) || "";
    const key = (letter, words, name, act) => {
      const button = make("button", {type: "button", onclick: act}, make("kbd", {}, letter), " " + words);
      if (name !== undefined) button.setAttribute("aria-pressed", name !== "" && name === label);
      return button;
    };
    const classes = state.classes.slice(0, 9).map((name, k) => key(String(k + 1), name, name, () => give(name)));
    keys.replaceChildren(...classes, key("u", state.unsure === "uncertain" ? "could not tell" : state.unsure, state.unsure, () => give(state.unsure)),
      key("n", "new class", undefined, add), key("z", "undo", undefined, undo), key("←", "", undefined, () => go(-1)), key("→", "", undefined, () => go(1)));
    const done = state.queue.filter(k => state.labels.get(k)).length;
    counts.textContent = `${done} of these ${state.queue.length} have a label of ${state.name}` + (waiting.size ? `; ${waiting.size} not saved yet` : "") +
      (state.classes.length > 9 ? `; only the first nine classes have keys` : "");
    about.replaceChildren();
    if (blind.checked) {
      const told = state.told[i];
      if (told === undefined) send({do: "tell", i});
      else about.append(make("div", {}, make("b", {}, state.names[i]), `, micrograph ${state.micrographs[i]}`), ...told.map(words => make("div", {}, words)));
    }
  }

  function go(by) {
    at = Math.min(state.queue.length - 1, Math.max(0, at + by));
    show();
  }
  function put(i, label) {
    const id = `${mine}-${++sent}`;
    label ? state.labels.set(i, label) : state.labels.delete(i);
    waiting.set(id, i);
    since ||= Date.now();
    send({do: "label", i, label, id});
  }
  function give(label) {
    const i = current();
    if (!tiles.kept.has(i)) return;  // nobody can judge what is not seen
    history.push([i, state.labels.get(i) || "", at]);
    tell("");
    put(i, label);
    go(1);
    if (at === state.queue.length - 1 && i === current()) tell("That was the last one of this list.");
  }
  function undo() {
    const last = history.pop();
    if (!last) return tell("Nothing to undo since this was opened; go back by ← and label again.");
    tell("");
    at = last[2];
    put(last[0], last[1]);
    show();
  }
  function add() {
    const name = make("input", {maxLength: 40, placeholder: "name of the class"});
    name.setAttribute("aria-label", "name of the new class");
    name.addEventListener("keydown", event => {
      event.stopPropagation();
      if (event.key === "Enter") send({do: "class", name: name.value});
      if (event.key === "Enter" || event.key === "Escape") { aside.replaceChildren(); root.focus(); }
    });
    aside.replaceChildren(make("div", {className: "row"}, labelled("new class, then Enter", name)));
    name.focus();
  }
  function elsewhere() {
    const path = make("input", {value: state.path, size: 40});
    const button = make("button", {type: "button", onclick: () => { send({do: "move", path: path.value}); aside.replaceChildren(); }}, "Write there");
    path.addEventListener("keydown", event => event.stopPropagation());
    aside.replaceChildren(make("div", {className: "row"}, labelled("another file for the labels", path), button));
  }
  function pressed(event) {
    if (event.target.closest("input:not([type=checkbox]), select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const digit = /^[1-9]$/.test(event.key) ? event.key : (/^(?:Digit|Numpad)([1-9])$/.exec(event.code) || [])[1];
    const act = digit && digit <= state.classes.length ? () => give(state.classes[digit - 1]) : {u: () => give(state.unsure), z: undo, n: add,
      ArrowLeft: () => go(-1), ArrowRight: () => go(1), ArrowUp: () => go(-1), ArrowDown: () => go(1)}[event.key];
    if (event.key !== "Tab") { event.preventDefault(); event.stopPropagation(); }
    // A key that is held down moves, but labels only once.
    if (act && !(event.repeat && !event.key.startsWith("Arrow"))) act();
  }

  const heard = (content, buffers) => {
    if (content.do === "begin") begin(content);
    if (!state) return;
    if (content.do === "tiles") {
      tiles.add(content.which, buffers[0]);
      if (content.which.includes(current())) show();
    } else if (content.do === "saved") {
      const later = [...waiting].some(([id, i]) => id !== content.id && i === content.i);
      waiting.delete(content.id);
      since = waiting.size ? Date.now() : 0;
      if (!later) content.label ? state.labels.set(content.i, content.label) : state.labels.delete(content.i);
      if (content.said) tell(content.said);
      if (content.kept && !aside.firstChild) elsewhere();
      delete state.told[content.i];
      show();
    } else if (content.do === "class") {
      state.classes = content.classes;
      tell(content.said);
      show();
    } else if (content.do === "tell") {
      state.told[content.i] = content.lines;
      if (content.i === current()) show();
    } else if (content.do === "order") {
      // What was seen, and what comes at once, stays where it is.
      const kept = state.queue.slice(0, at + 3), seen = new Set(kept);
      state.queue = [...kept, ...content.rows.filter(i => !seen.has(i))];
      root.dataset.ordered = content.rows.length;
      show();
    } else if (content.do === "moved") {
      Object.assign(state, {path: content.path, file: content.file});
      tell(content.said || `The labels are in ${content.path} now.`);
    }
  };
  model.on("msg:custom", heard);
  const watch = setInterval(() => {
    if (since && Date.now() - since > SLOW_MS) tell(`${waiting.size} ${waiting.size === 1 ? "label is" : "labels are"} not saved yet: the kernel is busy, or gone. If it was restarted, run the cell again.`);
  }, 1000);
  send({do: "begin"});
  return () => { clearInterval(watch); model.off("msg:custom", heard); };
}
export default { render };
