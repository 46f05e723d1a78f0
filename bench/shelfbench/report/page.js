"use strict";
// Tables sort by their columns; pictures can be put away.
(() => {
  const amount = (text) => {
    const plain = text.replace(/[,†*%]/g, "");
    const found = /^[^\d.+−-]*([+−-]?\d*\.?\d+)/.exec(plain);
    return found ? Number(found[1].replace("−", "-")) : NaN;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const number = head.classList.contains("n");
        const before = head.getAttribute("aria-sort");
        const down = before ? before === "ascending" : number;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[column].textContent;
        const order = (a, b) => {
          if (!number) return key(a).localeCompare(key(b));
          const [one, two] = [amount(key(a)), amount(key(b))];
          // what has no number stands last either way
          if (Number.isNaN(one) || Number.isNaN(two)) return (Number.isNaN(one) - Number.isNaN(two)) * (down ? -1 : 1);
          return one - two;
        };
        const rows = [...table.tBodies[0].rows].sort((a, b) => (down ? -1 : 1) * order(a, b));
        table.tBodies[0].append(...rows);
      });
    });
  }
  const boxes = document.querySelectorAll("input.pictures");
  for (const box of boxes) {
    box.addEventListener("change", () => {
      for (const other of boxes) other.checked = box.checked;
      document.body.classList.toggle("no-pictures", !box.checked);
    });
  }
})();
