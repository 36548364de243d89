// [data-inbox]: keeps the queue, or one conversation, as it is now; and the agent's composer.

const root = document.querySelector("[data-inbox]");
const announcer = document.querySelector("#announcer");
const timeline = () => document.querySelector("#timeline");
const TYPING_MS = 5000;
let waiting = 0;
let quiet = 0;

function announce(text) {
  const line = document.createElement("p");
  line.textContent = text;
  announcer.append(line);
}

// Only when something came: whoever reads further up is left there.
let shown = 0;
function toEnd() {
  const entries = timeline()?.children ?? [];
  if (entries.length === shown) return;
  shown = entries.length;
  entries[shown - 1].scrollIntoView({ block: "nearest" });
}

// Several changes that come together are one look.
function refresh() {
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    const swap = root.dataset.conversation ? { swap: "none" } : { target: "#queue", swap: "innerHTML" };
    await htmx.ajax("GET", root.dataset.refresh, swap);
    toEnd();
  }, 150);
}

function showTyping() {
  const place = document.querySelector("#typing");
  if (!place) return;
  place.textContent = root.dataset.typingLabel;
  clearTimeout(quiet);
  quiet = setTimeout(() => { place.textContent = ""; }, TYPING_MS);
}

const source = new EventSource(root.dataset.inbox);
source.addEventListener("open", refresh); // what happened before the connection stood
for (const kind of ["message", "owner", "note", "typing"]) {
  source.addEventListener(kind, (event) => {
    const item = JSON.parse(event.data);
    const here = root.dataset.conversation;
    if (here && item.conversation !== here) return;
    if (kind === "typing") { if (here) showTyping(); return; }
    refresh();
    if (kind === "message" || !here) announce(root.dataset.news);
  });
}

// A field that is being filled in, or a menu that is open, is not replaced under the hands. What else
// has the focus gets it again by its id; what is gone afterwards gives it to the next thing to do.
let held = false;
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const target = event.detail.target;
  if (!target.contains(document.activeElement)) return;
  if (target.id === "panel-body" || target.querySelector("details[open]")) event.detail.shouldSwap = false;
  else held = true;
});
document.addEventListener("htmx:afterSettle", () => {
  if (held && document.activeElement === document.body) {
    const next = form.querySelector("[value=reply]").disabled ? "#chat-title" : "#reply-text";
    document.querySelector(next).focus();
  }
  held = false;
});
document.addEventListener("htmx:beforeRequest", (event) => {
  const menu = event.target.closest("#bar details[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// The time left to the first answer goes on without asking the server.
const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
function tick() {
  for (const time of document.querySelectorAll("time[data-due]")) {
    const left = (new Date(time.dateTime) - Date.now()) / 1000;
    const badge = time.closest(".due");
    if (left <= 0 && badge.dataset.urgency !== "overdue") refresh();
    const [unit, size] = units.find(([, length]) => Math.abs(left) >= length) ?? units.at(-1);
    time.textContent = new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, unitDisplay: "long" })
      .format(Math.max(unit === "minute" ? 1 : 0, Math.floor(Math.abs(left) / size)));
  }
}
setInterval(tick, 10000);
tick();

const form = document.querySelector("[data-reply]");
const field = form?.querySelector("textarea");
let told = 0;

if (form) {
  field.addEventListener("input", () => {
    if (form.querySelector("[value=reply]").disabled || Date.now() - told < 3000) return;
    told = Date.now();
    htmx.ajax("POST", form.dataset.typing, { swap: "none" });
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    const send = form.querySelector("[value=reply]");
    if (send.disabled) return;
    event.preventDefault();
    form.requestSubmit(send);
  });
  form.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt !== form || !event.detail.successful) return;
    field.value = "";
    document.querySelector("#composer-error").replaceChildren();
    document.querySelector("#suggestion").replaceChildren();
    field.focus();
    toEnd();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-insert]");
    if (!button) return;
    field.setRangeText(button.dataset.insert, field.selectionStart, field.selectionEnd, "end");
    button.closest("details")?.removeAttribute("open");
    field.focus();
  });
  toEnd();
}
