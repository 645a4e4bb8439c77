// Elements of which the browser of a report and the live widgets are made.
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
const table = (heads, rows) => make("table", {}, make("thead", {}, make("tr", {}, ...heads.map(h => make("th", {scope: "col"}, h)))),
  make("tbody", {}, ...rows.map(row => make("tr", {}, ...row.map((cell, k) => k ? make("td", {}, cell) : make("th", {scope: "row"}, cell))))));
const scroll = (node, name) => {
  const region = make("div", {className: "scroll", tabIndex: 0}, node);
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", name);
  return region;
};
const NICE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const nice = nm => NICE.filter(n => n < nm / 2).pop() || nm / 4;
