"""A page with a live widget and its Python half, without a notebook: messages go both ways, as JupyterLab carries them."""

import base64
import json

PAGE = """<!DOCTYPE html><meta charset="utf-8"><style>STYLE</style><body DARK><div id="here"></div><script type="module">
const heard = new Set();
const model = {on: (name, act) => heard.add(act), off: (name, act) => heard.delete(act), async send(content) {
  for (const [answer, buffers] of await window.toKernel(JSON.stringify(content))) {
    const views = buffers.map(text => new DataView(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer));
    heard.forEach(act => act(answer, views));
  }
}};
const source = new Blob([document.getElementById("esm").textContent], {type: "text/javascript"});
const widget = await import(URL.createObjectURL(source));
widget.default.render({model, el: document.getElementById("here")});
</script><script type="text/plain" id="esm">ESM</script>"""
DARK = "--jp-layout-color1:#111;--jp-ui-font-color1:#eee;--jp-ui-font-color2:#aaa;--jp-border-color1:#444;background:#111"


def opened(page, widget, *, dark=False):
    """Show a widget in a page; what its script throws is raised when the page is closed by `closed`."""
    answers = []

    def send(content, buffers=None):
        parts = [base64.b64encode(bytes(part)).decode() for part in buffers or []]
        # As JSON, which is what the kernel sends: a number that is none would not pass.
        answers.append([json.loads(json.dumps(content, allow_nan=False)), parts])

    def to_kernel(text):
        answers.clear()
        widget._heard(widget, json.loads(text), [])
        return list(answers)

    widget.send = send
    page.expose_function("toKernel", to_kernel)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    text = PAGE.replace("STYLE", widget._css).replace("ESM", str(widget._esm))
    text = text.replace("DARK", f'data-jp-theme-light="false" style="{DARK}"' if dark else "")
    page.route(
        "http://here/", lambda route: route.fulfill(body=text, content_type="text/html; charset=utf-8")
    )
    page.goto("http://here/")
    return errors


# Milliseconds from each event to the first picture after it, as a list that the page fills; an event that changes nothing
# before the next one has none.
CLOCK = """([kinds, done]) => {
  window.took = [];
  const ready = new Function(done);
  let last = 0;
  for (const kind of kinds) document.addEventListener(kind, event => {
    const begun = event.timeStamp, before = ready(), mine = ++last;
    const look = () => {
      if (mine !== last) return;
      if (ready() === before) return requestAnimationFrame(look);
      requestAnimationFrame(() => took.push(performance.now() - begun));
    };
    look();
  }, true);
}"""
