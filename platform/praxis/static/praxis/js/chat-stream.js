// <article data-stream data-final>: shows an answer while it is written, then its final form.

const invisible = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]|[\u{e0000}-\u{e0fff}]/gu;
const sentence = /^[\s\S]*?[.!?。！？\n]+(?=\s|$|[^\x00-\x7f])/;
const announcer = document.querySelector("#announcer");

function announce(text) {
  if (!text.trim()) return;
  const line = document.createElement("p");
  line.textContent = text.replace(/[*_`#>]+/g, "");
  announcer.append(line);
}

const page = document.scrollingElement;
const toEnd = () => { page.scrollTop = page.scrollHeight; };

// Follows the text down, unless the reader has scrolled up.
async function followed(change) {
  const atEnd = page.scrollHeight - page.scrollTop - window.innerHeight < 120;
  await change();
  if (atEnd) toEnd();
}

function follow(article) {
  const text = article.querySelector("[data-text]");
  const wait = article.querySelector("[data-wait]");
  const source = new EventSource(article.dataset.stream);
  let unread = "";

  const finish = async () => {
    source.close();
    announce(unread);
    await followed(() => htmx.ajax("GET", article.dataset.final, { target: article, swap: "outerHTML" }));
    document.body.dispatchEvent(new Event("answer-finished"));
  };

  source.addEventListener("token", (event) => {
    const piece = JSON.parse(event.data).text.replace(invisible, "");
    wait.hidden = true;
    followed(() => text.append(piece));
    unread += piece;
    // A reader of the screen hears whole sentences, not tokens.
    for (let found; (found = unread.match(sentence)); unread = unread.slice(found[0].length)) {
      if (unread.length === found[0].length && !found[0].endsWith("\n")) break;
      announce(found[0]);
    }
  });
  source.addEventListener("done", finish);
  source.addEventListener("error", () => {
    // The browser reconnects by itself; it gives up when the answer is refused.
    if (source.readyState === EventSource.CLOSED) finish();
  });
}

function start(root) {
  const found = root.matches?.("[data-stream]") ? [root] : root.querySelectorAll("[data-stream]");
  for (const article of found) {
    if (article.dataset.followed) continue;
    article.dataset.followed = "yes";
    follow(article);
    toEnd(); // it was just asked for
  }
}

start(document);
document.addEventListener("htmx:load", (event) => start(event.detail.elt));
if (!location.hash) toEnd();
