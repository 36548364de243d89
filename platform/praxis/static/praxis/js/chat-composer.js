// The composer: grows with its text, Enter sends, Escape stops, a draft survives a reload.

const form = document.querySelector("[data-composer]");
const field = form?.querySelector("textarea");

if (form) {
  const draft = `praxis-draft-${form.dataset.draft}`;
  const grow = () => {
    field.style.blockSize = "auto";
    field.style.blockSize = `${Math.min(field.scrollHeight + 2, window.innerHeight * 0.4)}px`;
  };
  const keep = () => {
    if (field.value) sessionStorage.setItem(draft, field.value);
    else sessionStorage.removeItem(draft);
  };

  if (!field.value) field.value = sessionStorage.getItem(draft) ?? "";
  grow();
  if (window.matchMedia("(hover: hover)").matches) field.focus({ preventScroll: true });

  field.addEventListener("input", () => { grow(); keep(); });
  field.addEventListener("keydown", (event) => {
    // An input method uses Enter to choose a character.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });

  // The text is cleared only when the server has it: stored, also when too busy to answer now.
  form.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt !== form) return;
    if (![200, 429].includes(event.detail.xhr.status)) { field.focus(); return; }
    field.value = "";
    keep();
    grow();
    document.querySelector("#composer-error").replaceChildren();
    field.removeAttribute("aria-invalid");
    field.focus();
  });
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open], [popover]:popover-open")) return;
  document.querySelector("[data-stop]")?.click();
});
