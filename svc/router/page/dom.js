// Elements and their texts. Text of others is always set as text, never as HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Sets the text of an element that holds nothing else. An equal text is not set again, to avoid a layout.
export function put(node, text) {
  const held = node.firstChild;
  if (held === null) {
    if (text !== "") node.append(text);
  } else if (held.data !== text) held.data = text;
}

export function set(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

// Puts `nodes` into `parent` in their order, and moves only those that are elsewhere. It keeps the focus; where the
// focused element is gone, its surroundings get the focus.
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

// Scrolls to an element and focuses it. Rows out of sight have an estimated height until they come near, so it scrolls
// twice.
export function go(node) {
  const look = () => node.scrollIntoView({ block: "center" });
  look();
  node.focus({ preventScroll: true });
  requestAnimationFrame(() => requestAnimationFrame(look));
}
