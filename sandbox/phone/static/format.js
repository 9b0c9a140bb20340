// Text as WhatsApp shows it: *bold*, _italics_, ~strike~, `code`, ```blocks```, lists, quotes, links.

import { el } from "./dom.js";

const TAGS = { "*": "strong", _: "em", "~": "s" };
const WORD = /[\p{L}\p{N}]/u;
const LINK = /^(?:https?:\/\/|www\.)[^\s<>"]+/i;
const AFTER_LINK = /[.,;:!?'"»”’]+$/;
const ITEM = /^\s*(?:[-*•] |(\d{1,4})[.)] )(.*)$/;
const QUOTE = /^> ?(.*)$/;

// Nodes for a whole message.
export function format(text) {
  return text.split("```").flatMap((part, index, parts) => {
    if (index % 2 === 0 || index === parts.length - 1) {
      return blocks(index % 2 ? "```" + part : part);
    }
    return [el("pre", { dir: "auto", textContent: part.replace(/^\n|\n$/g, "") })];
  });
}

function blocks(text) {
  const nodes = [];
  for (const line of text.replace(/^\n+|\n+$/g, "").split("\n")) {
    const item = line.match(ITEM);
    const quote = line.match(QUOTE);
    const last = nodes.at(-1);
    if (item) nodes.push(listItem(item[1], item[2]));
    else if (quote) nodes.push(el("blockquote", { dir: "auto" }, ...inline(quote[1])));
    else if (line === "" && last) last.classList.add("before-gap");
    else if (line !== "") nodes.push(el("p", { dir: "auto" }, ...inline(line)));
  }
  return nodes;
}

function listItem(number, text) {
  const mark = el("span", { class: "mark", textContent: number ? `${number}.` : "•" });
  return el("p", { class: "item", dir: "auto" }, mark, el("span", {}, ...inline(text)));
}

// Nodes for the inside of a line.
export function inline(text) {
  const nodes = [];
  let plain = "";
  const add = (node) => {
    if (plain) nodes.push(plain);
    plain = "";
    nodes.push(node);
  };
  for (let at = 0; at < text.length; ) {
    const found = marked(text, at) || (WORD.test(text[at - 1] || "") ? null : link(text, at));
    if (found) add(found.node);
    else plain += text[at];
    at = found ? found.end : at + 1;
  }
  if (plain) nodes.push(plain);
  return nodes;
}

function marked(text, at) {
  const mark = text[at];
  if (mark === "`") {
    const end = text.indexOf("`", at + 1);
    if (end <= at + 1) return null;
    return { node: el("code", { textContent: text.slice(at + 1, end) }), end: end + 1 };
  }
  if (!TAGS[mark] || WORD.test(text[at - 1] || "") || /\s/.test(text[at + 1] || " ")) return null;
  for (let end = text.indexOf(mark, at + 1); end > 0; end = text.indexOf(mark, end + 1)) {
    const inside = text.slice(at + 1, end);
    if (inside && !/\s$/.test(inside) && !WORD.test(text[end + 1] || "")) {
      return { node: el(TAGS[mark], {}, ...inline(inside)), end: end + 1 };
    }
  }
  return null;
}

function link(text, at) {
  const found = text.slice(at).match(LINK);
  if (!found) return null;
  let address = found[0].replace(AFTER_LINK, "");
  if (address.endsWith(")") && !address.includes("(")) address = address.slice(0, -1);
  const href = address.toLowerCase().startsWith("www.") ? `https://${address}` : address;
  const node = el("a", { href, target: "_blank", rel: "noopener noreferrer", dir: "ltr", textContent: address });
  return { node, end: at + address.length };
}
