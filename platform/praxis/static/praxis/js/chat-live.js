// #transcript[data-live]: what an agent does in the person's conversation appears at once.
// A stream only while a person is asked for; else a look now and then, so that many open tabs
// don't use up the browser's connections.

const transcript = document.querySelector("#transcript[data-live]");
const LOOK_MS = 20000;
const TYPING_MS = 5000;
let source = null;
let quiet = 0;

const owner = () => document.querySelector("#owner").dataset.kind;

function refresh() {
  const last = [...transcript.querySelectorAll(".message[id]")].at(-1);
  const after = last ? last.id.replace("message-", "") : "";
  if (last?.hasAttribute("data-stream")) return; // its own end brings what changed
  const address = `${transcript.dataset.news}?after=${after}&owner=${owner()}`;
  htmx.ajax("GET", address, { target: "#transcript", swap: "beforeend" });
}

function showTyping() {
  const place = document.querySelector("[data-typing-of-agent]");
  if (!place) return;
  place.textContent = place.dataset.label;
  clearTimeout(quiet);
  quiet = setTimeout(() => { place.textContent = ""; }, TYPING_MS);
}

function connect() {
  const wanted = ["waiting", "person"].includes(owner());
  if (wanted && !source) {
    source = new EventSource(transcript.dataset.live);
    source.addEventListener("open", refresh);
    source.addEventListener("message", refresh);
    source.addEventListener("owner", refresh);
    source.addEventListener("typing", showTyping);
  } else if (!wanted && source) {
    source.close();
    source = null;
  }
}

// The post and the news may both bring a message: the first to come is enough.
document.addEventListener("htmx:load", (event) => {
  const message = event.detail.elt;
  if (!message.matches(".message[id]")) return;
  const same = document.querySelectorAll(`[id="${message.id}"]`);
  if (same.length > 1) same[0].remove();
});
new MutationObserver(connect).observe(document.querySelector(".chat-main"), {
  subtree: true, attributes: true, attributeFilter: ["data-kind"], childList: true,
});
setInterval(() => { if (!source && !document.hidden && owner() !== "closed") refresh(); }, LOOK_MS);
connect();

const form = document.querySelector("[data-composer][data-typing]");
let told = 0;
form?.addEventListener("input", () => {
  if (!["waiting", "person"].includes(owner()) || Date.now() - told < 3000) return;
  told = Date.now();
  htmx.ajax("POST", form.dataset.typing, { swap: "none" });
});
