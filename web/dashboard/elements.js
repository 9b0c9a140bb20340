"use strict";
// Changes of the page, only where something differs: nothing flickers, the focus stays where it
// is, and a screen reader hears a change once.

const SVG = "http://www.w3.org/2000/svg";

function byId(id) {
  return document.getElementById(id);
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

function show(element, shown) {
  if (element.hidden === Boolean(shown)) element.hidden = !shown;
}

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function makeSvg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function setIcon(svg, name) {
  setAttribute(svg.querySelector("use"), "href", `#icon-${name}`);
}

// A copy of the only element of <template id="…">.
function stamp(template) {
  return byId(template).content.firstElementChild.cloneNode(true);
}

// The element with data-field="…" below `root`.
function field(root, name) {
  return root.querySelector(`[data-field="${name}"]`);
}

function writeFields(root, texts) {
  for (const [name, text] of Object.entries(texts)) {
    write(field(root, name), text);
    show(field(root, name), text !== "");
  }
}

// `address` is empty if there is nothing to read. Links with the same words are told apart by
// what they are `about`.
function setLink(anchor, address, about) {
  if (address) setAttribute(anchor, "href", address);
  setAttribute(anchor, "aria-label", `${anchor.textContent}: ${about}`);
  show(anchor, address);
}

// One child of `list` for each item, made from `template`; those with a known key stay.
function fill(list, template, items, keyOf, update) {
  const left = new Map([...list.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const key = String(keyOf(item));
    const child = left.get(key) || stamp(template);
    left.delete(key);
    child.dataset.key = key;
    update(child, item);
    if (list.children[index] !== child) list.insertBefore(child, list.children[index] || null);
  });
  left.forEach((child) => child.remove());
}

// The service's clock, which can differ from the browser's.
const serverClock = {
  ahead: 0,
  set(now) { this.ahead = now - Date.now() / 1000; },
  now() { return Date.now() / 1000 + this.ahead; },
};

// Lets a <time> say how long ago `at` was; it counts on until the next call.
function setAge(element, at, never = "never") {
  if (at === null) {
    delete element.dataset.at;
    element.removeAttribute("datetime");
    element.removeAttribute("title");
    write(element, never);
    return;
  }
  element.dataset.at = at;
  setAttribute(element, "datetime", localDate(at).toISOString());
  setAttribute(element, "title", moment(at));
  write(element, ago(serverClock.now() - at));
}

function countAges() {
  for (const element of document.querySelectorAll("time[data-at]")) {
    write(element, ago(serverClock.now() - Number(element.dataset.at)));
  }
}
