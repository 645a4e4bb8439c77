// What the live widgets share: elements, pixels that come from the kernel when they are asked for, and how they are drawn.
const labelled = (words, node) => make("label", {}, words, node);
const range = (title, min, max, step, value) => {
  const node = make("input", {type: "range", min, max, step, value});
  node.setAttribute("aria-label", title);
  return node;
};
// Grey images of one size, kept by the number of their particle; `ask` sends for those that are not here yet.
class Tiles {
  constructor(side, ask) {
    Object.assign(this, {side, ask, kept: new Map(), asked: new Set()});
  }
  want(numbers) {
    const missing = numbers.filter(i => !this.kept.has(i) && !this.asked.has(i));
    if (!missing.length) return;
    missing.forEach(i => this.asked.add(i));
    this.ask(missing);
  }
  add(numbers, buffer) {
    const pixels = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength), size = this.side ** 2;
    numbers.forEach((i, k) => {
      this.kept.set(i, pixels.subarray(k * size, (k + 1) * size));
      this.asked.delete(i);
    });
  }
}

// A Gaussian of `sigma` pixels along rows, then along columns; beyond the border stands the border.
function blurred(pixels, side, sigma) {
  if (!sigma) return pixels;
  const reach = Math.ceil(2.5 * sigma), weights = [];
  for (let d = -reach; d <= reach; d++) weights.push(Math.exp(-d * d / 2 / sigma / sigma));
  const sum = weights.reduce((a, b) => a + b), last = side - 1;
  const along = (from, step, across) => {
    const to = new Float32Array(side * side);
    for (let a = 0; a < side; a++) for (let b = 0; b < side; b++) {
      let total = 0;
      for (let d = -reach; d <= reach; d++) total += weights[d + reach] * from[a * across + Math.min(last, Math.max(0, b + d)) * step];
      to[a * across + b * step] = total / sum;
    }
    return to;
  };
  return along(along(pixels, 1, side), side, 1);
}

// Draw an image with its own pixels; `gain` stretches around the middle grey, `sigma` is the low-pass in pixels.
function paint(canvas, pixels, side, {gain = 1, sigma = 0} = {}) {
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d"), image = context.createImageData(side, side), values = blurred(pixels, side, sigma);
  const words = new Uint32Array(image.data.buffer);
  for (let k = 0; k < words.length; k++) {
    const v = Math.min(255, Math.max(0, 127.5 + (values[k] - 127.5) * gain)) | 0;
    words[k] = 0xff000000 | v << 16 | v << 8 | v;
  }
  context.putImageData(image, 0, 0);
}

// Contrast and low-pass, one for all pictures of a widget; `changed` is called when one moves.
function looks(nm, changed) {
  const gain = range("contrast", .4, 4, .1, 1), sigma = range("low-pass", 0, 4, .25, 0), said = make("output");
  const tell = () => {
    const px = +sigma.value;
    said.textContent = px ? `${(px * (nm || 1)).toPrecision(2)} ${nm ? "nm" : "pixels"}` : "off";
  };
  tell();
  const moved = () => { tell(); changed(); };
  gain.oninput = sigma.oninput = moved;
  return {node: make("div", {className: "row"}, labelled("contrast", gain), labelled("low-pass", sigma), said),
    get now() { return {gain: +gain.value, sigma: +sigma.value}; }};
}

// JupyterLab's own keys, such as "d d" for a cell, do not reach what happens within.
function own(root) {
  root.classList.add("temlib-live");
  root.setAttribute("data-lm-suppress-shortcuts", "true");
}
