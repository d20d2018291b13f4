// The model of this page is on its server, which is asked over HTTP.

import { $, make, say, sayClasses, start } from "./photos.js";

const AT_ONCE = 3, MOST_TRIES = 6;
const HEADERS = { "Content-Type": "application/octet-stream" };
let key = "", explains = false;

class Refusal extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = "Bearer " + key;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch {
    throw new Refusal(0, "The server does not answer.", 1);
  }
  let body = {};
  try { body = await response.json(); } catch { /* reported below */ }
  if (!response.ok) {
    const message = body.error ? body.error.message : "The server answered with status " + response.status + ".";
    throw new Refusal(response.status, message, Number(response.headers.get("Retry-After")));
  }
  return body;
}

async function patiently(path, file) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask(path, { method: "POST", body: file, headers: HEADERS });
    } catch (error) {
      if (error.status !== 503 || tries === MOST_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter || 1)));
    }
  }
}

async function learn() {
  try {
    const info = await ask("info");
    explains = info.explain;
    $("key-form").hidden = true;
    $("legend").hidden = !explains;
    sayClasses(info.classes, "Each photo is sent to this server, and to no other.");
    return true;
  } catch (error) {
    if (error.status === 401) {
      $("key-form").hidden = false;
      if (key) say(error.message);
    } else {
      say(error.message);
    }
    return false;
  }
}

async function answer(file) {
  await learning;
  try {
    const { results } = await patiently("predict?top_k=5", file);
    return results[0];
  } catch (error) {
    if (error.status === 401) learn();
    throw error;
  }
}

async function explain(file, labels) {
  const query = labels.map(({ label }) => "class=" + encodeURIComponent(label)).join("&");
  const { results } = await patiently("explain?" + query, file);
  return results[0];
}

function quoted(text) { return "'" + text.replaceAll("'", "'\\''") + "'"; }

function command(file) {
  const address = new URL("predict", location.href).href;
  const secret = key ? ` -H "Authorization: Bearer $KEY"` : "";
  return `curl --data-binary @${quoted(file.name)} -H 'Content-Type: application/octet-stream'${secret} ${quoted(address)}`;
}

function copyButton(file, text) {
  const button = make("button", "button", "Copy as curl");
  button.type = "button";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command(file));
      say("The command is on the clipboard.");
    } catch { // no clipboard without HTTPS
      let field = text.querySelector(".command");
      if (!field) {
        field = make("textarea", "command", command(file));
        field.readOnly = true;
        field.rows = 4;
        field.setAttribute("aria-label", "Command");
        text.append(field);
      }
      field.select();
      say("Copy the command from its field.");
    }
  });
  return button;
}

$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  if (await learn()) say("The key is accepted.");
});
const learning = learn();
start({ atOnce: AT_ONCE, answer, explains: () => explains, explain, extra: copyButton });
