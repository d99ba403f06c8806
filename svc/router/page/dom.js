// Creates and updates elements. Text is always set as text, never as HTML: it may come from instances and clients.

export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Sets the text of an element that holds only text. Setting an equal text again would cost a layout.
export function put(node, text) {
  const held = node.firstChild;
  if (held === null) {
    if (text !== "") node.append(text);
  } else if (held.data !== text) held.data = text;
}

export function set(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

// Makes `nodes` the children of `parent`, in this order; a node that is in its place already is not moved.
export function arrange(parent, nodes) {
  keepFocus(parent, () => {
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
  });
}

// Calls `change`, which moves elements of `parent`. The focus stays on its element. If that element is removed, the nearest
// focusable element around it gets the focus.
export function keepFocus(parent, change) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  change();
  if (focused && focused !== document.activeElement) (focused.isConnected ? focused : parent.closest("[tabindex]"))?.focus({ preventScroll: true });
}

export const mark = (level) => make("span", { class: "mark", "data-level": level, "aria-hidden": "true" });

// Scrolls to an element and focuses it. It scrolls twice: rows out of sight have an estimated height until they come near.
export function go(node) {
  const look = () => node.scrollIntoView({ block: "center" });
  look();
  node.focus({ preventScroll: true });
  requestAnimationFrame(() => requestAnimationFrame(look));
}

// Lets a button copy the text of a node. A page that came over plain HTTP from another machine has no clipboard.
export function copies(button, node) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(node.textContent).catch(() => {});
    put(button, "Copied");
    setTimeout(() => put(button, "Copy"), 1500);
  });
}
