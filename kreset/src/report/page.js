"use strict";
(() => {
  const order = (cell) => cell.dataset.sort === undefined ? cell.textContent : Number(cell.dataset.sort);
  const compare = (a, b) => (typeof a === "number" && typeof b === "number") ? a - b : String(a).localeCompare(String(b));
  const filters = new Map();
  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const sorted = [...body.rows].sort((a, b) => compare(order(a.cells[at]), order(b.cells[at])));
        body.append(...(down ? sorted.reverse() : sorted));
      });
    });
    if (rows.length < 8) continue;
    const label = document.createElement("label");
    label.className = "filter";
    const input = document.createElement("input");
    input.type = "search";
    const shown = document.createElement("span");
    label.append("Filter: ", input, " ", shown);
    table.closest(".wrap").before(label);
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        const fits = words.every((word) => text.includes(word));
        row.hidden = !fits;
        count += fits ? 1 : 0;
      }
      shown.textContent = words.length ? `${count} of ${rows.length}` : "";
    };
    input.addEventListener("input", apply);
    filters.set(table.id, (words) => { input.value = words; apply(); });
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-events]");
    if (link) filters.get("events-table")?.(link.dataset.events);
  });
})();
