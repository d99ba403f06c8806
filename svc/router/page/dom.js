// Elements and their texts. What others wrote is only ever text, never HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// The text of an element that holds nothing else; an equal one is left alone, so that nothing is laid out again.
export function put(node, text) {
  const held = node.firstChild;
  if (held === null) {
    if (text !== "") node.append(text);
  } else if (held.data !== text) held.data = text;
}

export function set(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

// Puts `nodes` into `parent` in their order; moves only those that are elsewhere, and keeps the focus: where what had it
// is gone, on what is around.
export function arrange(parent, nodes) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  let at = parent.firstElementChild;
  for (const node of nodes) {
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
  while (at !== null) {
    const next = at.nextElementSibling;
    at.remove();
    at = next;
  }
  if (focused && focused !== document.activeElement) (focused.isConnected ? focused : parent.closest("[tabindex]"))?.focus({ preventScroll: true });
}

export const mark = (level) => make("span", { class: "mark", "data-level": level, "aria-hidden": "true" });

// A place to look at: there, and with the focus. Rows out of sight have a guessed height until they come near, so that
// a second look is needed.
export function go(node) {
  const look = () => node.scrollIntoView({ block: "center" });
  look();
  node.focus({ preventScroll: true });
  requestAnimationFrame(() => requestAnimationFrame(look));
}
