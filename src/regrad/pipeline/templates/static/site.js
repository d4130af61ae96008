"use strict";
// Everything can be read without this script: it filters the ledger and shows figures in a dialog.
const form = document.querySelector(".filters");
if (form) {
  const rows = [...document.querySelectorAll(".ledger tbody tr")];
  const status = form.querySelector("[role=status]");
  const narrow = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !["paper", "verdict"].every(key => !form.elements[key].value || form.elements[key].value === row.dataset[key])
        || !words.every(word => text.includes(word));
      shown += !row.hidden;
    }
    status.textContent = `${shown} of ${rows.length} claims shown`;
  };
  form.addEventListener("input", narrow);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(narrow));
  // A link to a claim must find its row, whatever is filtered.
  addEventListener("hashchange", () => { if (document.querySelector("tr:target[hidden]")) { form.reset(); } });
  form.hidden = false;
  narrow();
}
for (const link of document.querySelectorAll("a.enlarge")) {
  link.addEventListener("click", event => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || !window.HTMLDialogElement) { return; }
    event.preventDefault();
    const dialog = document.createElement("dialog"), close = document.createElement("button"), small = link.querySelector("img");
    const picture = new Image();
    picture.src = link.href;
    picture.alt = small.alt;
    close.textContent = "Close";
    close.autofocus = true;
    close.addEventListener("click", () => dialog.close());
    dialog.setAttribute("aria-label", small.alt);
    dialog.addEventListener("click", inside => { if (inside.target === dialog) { dialog.close(); } });
    dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
    dialog.append(picture, close);
    document.body.append(dialog);
    dialog.showModal();
  });
}
// What can be scrolled can be reached by keyboard.
const wide = () => {
  for (const box of document.querySelectorAll("article pre, article .table-wrapper, .output_subarea")) {
    if (box.scrollWidth > box.clientWidth) { box.tabIndex = 0; }
  }
};
addEventListener("resize", wide);
wide();
