// The server's API. A tab keeps its number, so that it is the same phone after a reload.

import { t } from "./strings.js";
import { claim } from "./tabs.js";

export async function get(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer.json();
}

// Posts JSON or, as it is, a Blob. Throws an Error with the reason; `canRetry` says whether the same
// could be taken another time.
export async function send(method, address, body = {}) {
  const isFile = body instanceof Blob;
  const answer = await fetch(address, {
    method,
    headers: { "Content-Type": isFile ? body.type || "application/octet-stream" : "application/json" },
    body: isFile ? body : JSON.stringify(body),
  }).catch(() => { throw Object.assign(new Error(t("unreachable")), { canRetry: true }); });
  if (answer.ok) return answer.status === 204 ? {} : answer.json();
  const problem = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(problem.error || `HTTP ${answer.status}`), { canRetry: answer.status >= 500 });
}

export async function ownNumber() {
  let number = sessionStorage.getItem("number");
  while (!number || !(await claim(number))) ({ number } = await send("POST", "/api/phones"));
  sessionStorage.setItem("number", number);
  return number;
}

export const phoneAddress = (number) => `/api/phones/${encodeURIComponent(number)}`;
