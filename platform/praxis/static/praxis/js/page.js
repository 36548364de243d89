// Small behaviours that any page may use, found by their data- attributes.

// <form data-confirm="…">, or one button of it: asks before a destructive act.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset?.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

// <select data-submit-on-change>: the button beside it is for people without JavaScript.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
});

// <button data-copy="#id">: copies the text of an element.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent.trim());
  const before = button.textContent;
  button.textContent = button.dataset.copied ?? before;
  setTimeout(() => { button.textContent = before; }, 1500);
});

// <button data-opens="#dialog"> and <button data-closes>: native dialogs.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) document.querySelector(opener.dataset.opens).showModal();
  const closer = event.target.closest("[data-closes]");
  if (closer) closer.closest("dialog").close();
});

// Escape closes every <details class="menu">, which a click elsewhere closes too, and the
// <details data-escape> that the focus is in. What is typed there stays.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || document.querySelector("dialog[open]")) return;
  const menus = document.querySelectorAll("details.menu[open]");
  const around = event.target.closest?.("details[data-escape][open]");
  for (const opened of menus.length ? menus : around ? [around] : []) {
    opened.open = false;
    opened.querySelector("summary").focus();
    event.preventDefault(); // so that it ends nothing else, such as the answer being written
  }
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// On a phone the bars of links scroll sideways: the one of this page is brought into sight.
for (const link of document.querySelectorAll(":is(.workspace-nav, .tabs, .site-nav) [aria-current]")) {
  const bar = link.parentElement;
  bar.scrollLeft += link.getBoundingClientRect().left - bar.getBoundingClientRect().left - (bar.clientWidth - link.clientWidth) / 2;
}
