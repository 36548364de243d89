// How the chat page takes htmx answers.

const text = (name) => document.querySelector(`[data-${name}]`)?.dataset[name];

// A refusal (too long, still answering, too busy) carries a fragment that says why: show it.
document.addEventListener("htmx:beforeSwap", (event) => {
  if ([409, 422, 429].includes(event.detail.xhr.status)) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});

// No answer at all, or one without a fragment: say so and keep what was typed.
for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
  document.addEventListener(name, () => {
    const place = document.querySelector("#composer-error");
    if (!place) return;
    const line = document.createElement("p");
    line.className = "error";
    line.textContent = text("unsent");
    place.replaceChildren(line);
  });
}

// A link that opens a dialog is followed only without JavaScript.
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-instead]")) event.preventDefault();
});

// Something was said: the suggestions have done their work, and what is new is read out.
document.addEventListener("htmx:load", (event) => {
  if (event.detail.elt.matches(".message")) document.querySelector("[data-newcomer]")?.remove();
  if (event.detail.elt.matches("[data-announce]")) {
    const line = document.createElement("p");
    line.textContent = event.detail.elt.textContent;
    document.querySelector("#announcer").append(line);
  }
});
