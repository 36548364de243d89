// The chat inside the frame. The visitor's token goes with every request; no cookie does.

const { widget, language, colour, ink, offline, lost, saved } = document.body.dataset;
const find = (selector) => document.querySelector(selector);
const transcript = find("#transcript");
const understood = find("#understood");
const form = find("#say");
const field = find("#text");
const problem = find("#problem");
const typing = find("#typing");
const store = `praxis-visitor-${widget}`;
const invisible = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]|[\u{e0000}-\u{e0fff}]/gu;
const LONGEST_WAIT = 30_000;
const LONGEST_SILENCE = 2000; // of the page that shows the frame

const own = storage();
let token = own?.getItem(store) ?? "";
let entered = null; // a promise of the token
let site = ""; // the origin of the page that shows the frame, once it spoke
let heard = null;
const spoken = new Promise((resolve) => { heard = resolve; });
let following = ""; // the answer that is being read
let live = null; // the stream of news, as long as it is open
let hidden = false; // as the page says
let wait = 1000;
let quiet = 0;
let told = 0;
let asked = 0; // times that the transcript was asked for
let drawn = 0; // which of them is shown

document.documentElement.style.setProperty("--brand", colour);
document.documentElement.style.setProperty("--brand-ink", ink);

// Null where the browser keeps storage from frames of other sites; the page keeps the token then.
function storage() {
  try { return localStorage; } catch { return null; }
}

// Requests ------------------------------------------------------------------------------------------

function request(path, options = {}) {
  const headers = { Authorization: `Visitor ${token}`, ...(options.body ? { "Content-Type": "application/json" } : {}) };
  return fetch(`${widget}${path}?lang=${language}`, { ...options, headers, credentials: "omit" });
}

async function send(path, body = {}, { again = true } = {}) {
  await entered;
  problem.textContent = "";
  let answer;
  try {
    answer = await request(path, { method: "POST", body: JSON.stringify(body) });
  } catch {
    problem.textContent = offline;
    return null;
  }
  if (answer.status === 403 && again && (await enter())) return send(path, body, { again: false }); // the visit has expired
  const found = await answer.json().catch(() => ({}));
  if (answer.ok) return found;
  problem.textContent = found.error ?? offline;
  return null;
}

// The same visitor as before, or a new one; null without a connection.
async function enter() {
  const answer = await request("session", { method: "POST" }).catch(() => null);
  const found = await answer?.json().catch(() => null);
  if (!answer?.ok) {
    problem.textContent = found?.error ?? lost;
    return null;
  }
  token = found.token;
  if (own) own.setItem(store, token);
  else if (site) parent.postMessage({ praxis: "keep", token }, site);
  return token;
}

async function arrive() {
  parent.postMessage({ praxis: "ready" }, "*");
  if (!own && parent !== window) await Promise.race([spoken, new Promise((resolve) => setTimeout(resolve, LONGEST_SILENCE))]);
  return enter();
}

async function begin() {
  if (!(await entered)) {
    await new Promise((resolve) => setTimeout(resolve, longer()));
    entered = enter();
    return begin();
  }
  return refresh();
}

function longer() {
  wait = Math.min(2 * wait, LONGEST_WAIT);
  return wait;
}

// Server-sent events by fetch: EventSource can't send the token in a header.
async function events(path, signal, handle) {
  const answer = await request(path, { signal });
  if (!answer.ok) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").find((line) => line.startsWith("data: "));
      if (data) handle(JSON.parse(data.slice(6)));
    }
  }
}

// What is shown ---------------------------------------------------------------------------------------

const toEnd = () => { transcript.scrollTop = transcript.scrollHeight; };

function announce(texts) {
  const line = document.createElement("p");
  line.textContent = texts.join(" ");
  find("#announcer").replaceChildren(line);
}

// Only what differs is replaced, so that a reader's place and the focus stay where they are.
// Returns whether anything did, and what stands there for the first time.
function draw(html) {
  const page = new DOMParser().parseFromString(html, "text/html"); // made and cleaned by the server
  const panel = page.querySelector("[data-panel]");
  panel?.remove();
  for (const link of page.querySelectorAll("a[href]:not([href^='#'])")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  const fresh = [...page.body.children];
  const known = new Set([...transcript.children].map((node) => node.made));
  const changed = [];
  fresh.forEach((node, index) => {
    const old = transcript.children[index];
    const made = node.outerHTML;
    if (old?.made === made) return;
    node.made = made;
    if (old) old.replaceWith(node); else transcript.append(node);
    changed.push(node);
  });
  while (transcript.children.length > fresh.length) transcript.lastElementChild.remove();
  understood.hidden = !panel;
  if (panel && !understood.lastElementChild.contains(document.activeElement)) understood.lastElementChild.replaceChildren(...panel.children);
  return { changes: changed.length > 0, unknown: changed.filter((node) => !known.has(node.made)) };
}

// Whatever asked for it may be the first to see a reply, so every draw but the first tells the news.
async function refresh() {
  const mine = ++asked;
  let html;
  try {
    const answer = await request("transcript");
    if (answer.status === 403 && (await enter())) return refresh();
    if (!answer.ok) throw new Error(answer.statusText);
    html = await answer.text();
  } catch {
    problem.textContent = lost;
    setTimeout(refresh, longer());
    return;
  }
  if (mine < drawn) return; // a later one was faster
  const first = drawn === 0;
  drawn = mine;
  if (problem.textContent === lost) problem.textContent = "";
  const { changes, unknown } = draw(html);
  if (changes) toEnd();
  const news = unknown.filter((node) => node.dataset.role !== "user").flatMap((node) => node.matches("[data-said]") ? [node] : [...node.querySelectorAll("[data-said]")]);
  if (!first && news.length) {
    announce(news.map((node) => node.textContent.trim()));
    if (hidden) parent.postMessage({ praxis: "news" }, "*");
  }
  const open = transcript.querySelector("[data-stream]");
  if (open) followAnswer(open);
  else wait = 1000;
  followNews(transcript.querySelector("[data-owner]").dataset.owner);
}

async function followAnswer(article) {
  if (following === article.dataset.stream) return;
  following = article.dataset.stream;
  const text = article.querySelector("[data-text]");
  let ended = false;
  await events(`messages/${following}/events`, undefined, (event) => {
    ended ||= event.kind === "done";
    if (event.kind !== "token") return;
    article.querySelector("[data-wait]")?.remove();
    text.append(event.text.replace(invisible, ""));
    toEnd();
  }).catch(() => {});
  following = "";
  if (!ended) {
    await new Promise((resolve) => setTimeout(resolve, longer()));
    text.replaceChildren(); // it is read again from its beginning
  }
  await refresh();
}

function followNews(owner) {
  const wanted = owner === "waiting" || owner === "person" || (owner === "assistant" && !hidden);
  if (!wanted) { live?.abort(); live = null; return; }
  if (live) return;
  live = new AbortController();
  const mine = live;
  const again = () => { if (live === mine) { live = null; setTimeout(refresh, longer()); } };
  events("live", mine.signal, (event) => {
    if (event.kind !== "typing") { typing.textContent = ""; refresh(); return; }
    typing.textContent = typing.dataset.label;
    clearTimeout(quiet);
    quiet = setTimeout(() => { typing.textContent = ""; }, 5000);
  }).then(again, again);
}

// What the visitor does -------------------------------------------------------------------------------

async function say(text) {
  const button = form.querySelector("button");
  if (!text.trim() || button.disabled) return;
  button.disabled = true;
  const said = await send("messages", { text });
  button.disabled = false;
  if (!said) return;
  field.value = "";
  grow();
  await refresh();
}

function grow() {
  field.style.blockSize = "auto";
  field.style.blockSize = `${Math.min(field.scrollHeight + 2, 140)}px`;
}

form.addEventListener("submit", (event) => { event.preventDefault(); say(field.value); });
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
field.addEventListener("input", () => {
  grow();
  if (!["waiting", "person"].includes(transcript.querySelector("[data-owner]")?.dataset.owner) || Date.now() - told < 3000) return;
  told = Date.now();
  request("typing", { method: "POST", body: "{}" }).catch(() => {});
});
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.close !== undefined) parent.postMessage({ praxis: "close" }, "*");
  else if (button.dataset.say || button.dataset.act) {
    field.focus(); // the button is about to go
    if (button.dataset.say) return say(button.dataset.say);
    await send(button.dataset.act, button.dataset.message ? { message: button.dataset.message } : {});
    await refresh();
  }
});
document.addEventListener("submit", async (event) => {
  if (event.target === form) return;
  event.preventDefault();
  const given = new FormData(event.target);
  const rates = event.target.matches("[data-rating]");
  const done = rates
    ? await send("rating", { score: Number(given.get("score")), comment: given.get("comment") })
    : await send("correct", { key: given.get("key"), value: given.get("value") });
  if (!done) return;
  (rates ? field : understood.querySelector("summary")).focus(); // the form is about to be drawn anew
  await refresh();
  if (!rates) announce([saved]);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const stop = find("[data-act=stop]");
  if (stop) stop.click(); else parent.postMessage({ praxis: "close" }, "*");
});
addEventListener("message", (event) => {
  if (event.source !== parent || !["shown", "hidden"].includes(event.data?.praxis)) return;
  const before = hidden;
  hidden = event.data.praxis === "hidden";
  site = event.origin;
  if (!own && !token) token = event.data.token ?? "";
  heard();
  if (event.data.focus && !hidden) field.focus();
  if (token && before !== hidden) refresh();
});
addEventListener("online", () => { if (token) refresh(); });

entered = arrive();
await begin();
