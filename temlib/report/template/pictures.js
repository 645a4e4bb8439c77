// What pages gain by a script: pictures to save as SVG or PNG, and long tables to sort and to search.
(() => {
  const made = (name, words, parent, more = {}) => parent.appendChild(Object.assign(document.createElement(name), { textContent: words }, more));

  // A picture as it stands in the page, in the colours of light pages.
  function drawing(figure) {
    const box = figure.querySelector(".drawing"), frame = box.getBoundingClientRect(), range = document.createRange();
    const plain = text => text.replace(/var\(--[\w-]+,\s*([^)]+)\)/g, "$1").replace(/#8884/g, "#ddd").replaceAll("currentColor", "#000");
    const family = getComputedStyle(box).fontFamily.replaceAll('"', "'");
    let parts = "", width = 0;
    for (const svg of box.querySelectorAll("svg")) {
      const place = svg.getBoundingClientRect(), copy = svg.cloneNode(true);
      for (const [name, value] of [["x", place.x - frame.x], ["y", place.y - frame.y], ["width", place.width], ["height", place.height]]) copy.setAttribute(name, value);
      parts += plain(new XMLSerializer().serializeToString(copy));
      width = Math.max(width, place.right - frame.x);
    }
    const words = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
    for (let node; (node = words.nextNode()); ) {
      if (node.parentElement.closest("svg")) continue;
      const look = getComputedStyle(node.parentElement), colour = plain(node.parentElement.style.color || "#000");
      for (const word of node.data.matchAll(/\S+/g)) {
        range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
        const place = range.getBoundingClientRect(), text = document.createElementNS("http://www.w3.org/2000/svg", "text");
        Object.entries({ x: place.x - frame.x, y: place.bottom - frame.y - place.height / 4, "font-size": look.fontSize, "font-weight": look.fontWeight, fill: colour }).forEach(pair => text.setAttribute(...pair));
        text.textContent = word[0];
        parts += new XMLSerializer().serializeToString(text);
        width = Math.max(width, place.right - frame.x);
      }
    }
    return { width, height: frame.height, text: `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${frame.height}" font-family="${family}"><rect width="100%" height="100%" fill="#fff"/><g style="image-rendering:pixelated">${parts}</g></svg>` };
  }
  const save = (address, name) => Object.assign(document.createElement("a"), { href: address, download: name }).click();
  const address = text => "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
  function png(figure, name) {
    const { width, height, text } = drawing(figure), image = new Image(), canvas = document.createElement("canvas");
    image.onload = () => {
      canvas.width = 3 * width; canvas.height = 3 * height;
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      save(canvas.toDataURL("image/png"), name);
    };
    image.src = address(text);
  }
  document.querySelectorAll("figure.picture").forEach((figure, k) => {
    if (!figure.querySelector(".drawing svg")) return;
    const line = figure.querySelector(".save") || made("p", "", figure, { className: "save" });
    const name = `picture-${k + 1}`;
    for (const [words, act] of [["SVG", () => save(address(drawing(figure).text), name + ".svg")], ["PNG", () => png(figure, name + ".png")]]) {
      if (line.hasChildNodes()) line.append(" · ");
      made("button", words, line, { type: "button", onclick: act });
    }
  });

  const value = cell => { const text = cell.textContent.replace(/,/g, "").replace("−", "-"), number = parseFloat(text); return isNaN(number) || /^[^\d-]/.test(text) ? text : number; };
  for (const table of document.querySelectorAll("table.dataframe")) {
    const body = table.tBodies[0], rows = [...body.rows];
    if (rows.length <= 15) continue;
    const find = document.createElement("input");
    Object.assign(find, { type: "search", className: "find", placeholder: `Search ${rows.length} rows` }).setAttribute("aria-label", "Search the rows of the table below");
    find.oninput = () => rows.forEach(row => (row.hidden = !row.textContent.toLowerCase().includes(find.value.toLowerCase())));
    (table.closest(".scroll") || table).before(find);
    [...table.tHead.rows[0].cells].forEach((head, k) => {
      const button = document.createElement("button");
      button.type = "button"; button.append(...head.childNodes); head.append(button);
      button.onclick = () => {
        const way = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
        const keys = new Map(rows.map(row => [row, value(row.cells[k])]));
        const order = (a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1);
        body.append(...rows.sort((a, b) => way * order(keys.get(a), keys.get(b))));
      };
    });
  }
})();
