"use strict";
// Tables that sort by a click on a heading, and forms that filter their rows.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if (!heading.dataset.kind) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of headings) if (other.dataset.kind) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const isNumber = heading.dataset.kind === "number";
      const order = (one, other) => {
        const [a, b] = [one, other].map((row) => row.cells[column].dataset.sort);
        // What has no value comes last in both directions.
        if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
        const found = isNumber ? a - b : a.localeCompare(b);
        return ascending ? found : -found;
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}

for (const form of document.querySelectorAll("form.filters")) {
  const table = document.getElementById(form.dataset.table);
  const rows = [...table.tBodies[0].rows];
  const shown = form.querySelector("output");
  const words = (row) => (row.dataset.find || row.textContent).toLowerCase();
  const texts = new Map(rows.map((row) => [row, words(row)]));
  const filter = () => {
    const values = Object.fromEntries(new FormData(form));
    const wanted = values.text.trim().toLowerCase();
    const columns = form.matches("[data-columns]") ? chooseColumns(table, values) : null;
    let count = 0;
    for (const row of rows) {
      const fits = (name) => {
        if (!values[name]) return true;
        if (columns && name === "verdict")
          return columns.some((at) => row.cells[at].dataset.verdict === values.verdict);
        return row.dataset[name] === undefined || row.dataset[name] === values[name];
      };
      row.hidden = !texts.get(row).includes(wanted) || !Object.keys(values).every((name) => name === "text" || fits(name));
      count += !row.hidden;
    }
    shown.textContent = `${count} of ${rows.length} models`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
}

// Show the columns of the chosen exporter, engine and version; returns the places of those shown.
function chooseColumns(table, values) {
  const places = [];
  [...table.tHead.rows[0].cells].forEach((heading, place) => {
    if (heading.dataset.exporter === undefined) return;
    const fits = ["exporter", "engine", "opencv"].every((name) => !values[name] || heading.dataset[name] === values[name]);
    for (const row of table.rows) row.cells[place].hidden = !fits;
    if (fits) places.push(place);
  });
  return places;
}
