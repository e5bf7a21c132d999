"use strict";
// Sorting of score tables, the slider over pictures, and the way from a plot's point to its picture.
(() => {
  const number = (text) => parseFloat(text.replace("−", "-").replace("–", ""));
  const shown = (cell) => (cell.querySelector(".value") || cell).textContent.trim();

  const sortBy = (table, column, falling) => {
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
      const keyed = rows.map((row) => [shown(row.cells[column]), row]);
      keyed.sort(([a], [b]) => {
        const x = number(a), y = number(b);
        if (Number.isNaN(x) && Number.isNaN(y)) return falling ? b.localeCompare(a) : a.localeCompare(b);
        if (Number.isNaN(x)) return 1;
        if (Number.isNaN(y)) return -1;
        return falling ? y - x : x - y;
      });
      keyed.forEach(([, row]) => body.append(row));
    }
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      if (i === column) head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };

  const makeSortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const select = document.createElement("select");
    select.add(new Option("as it comes", ""));
    heads.forEach((head, i) => {
      const text = head.textContent.trim();
      if (!text || head.classList.contains("rank") || head.classList.contains("bar")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const falling = head.hasAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : head.classList.contains("num");
        sortBy(table, i, falling);
      });
      select.add(new Option(text, String(i)));
    });
    if (table.querySelector(".group") && table.tBodies.length === 1) return;
    const label = document.createElement("label");
    label.className = "sorter";
    label.append("Sort by", select);
    select.addEventListener("change", () => {
      if (!select.value) return;
      const i = Number(select.value);
      sortBy(table, i, heads[i].classList.contains("num"));
    });
    table.before(label);
  };
  document.querySelectorAll("table:not(.matrix):not(.picks)").forEach((table) => {
    if (table.tHead && table.querySelectorAll("tbody tr:not(.group)").length > 1) makeSortable(table);
  });

  const show = (item, left, right) => {
    item.querySelectorAll(".layer").forEach((layer) => {
      layer.classList.toggle("left", layer.dataset.layer === left);
      layer.classList.toggle("right", layer.dataset.layer === right);
    });
  };
  const cases = [...document.querySelectorAll(".case")];
  cases.forEach((item) => {
    const stage = item.querySelector(".stage");
    if (!stage) return;
    const left = item.querySelector(".choose-left"), right = item.querySelector(".choose-right");
    const update = () => show(item, left.value, right.value);
    left.addEventListener("change", update);
    right.addEventListener("change", update);
    stage.querySelector(".cut").addEventListener("input", (event) => {
      stage.style.setProperty("--cut", event.target.value + "%");
    });
  });

  const go = (item) => {
    cases.forEach((other) => other.classList.toggle("here", other === item));
    item.scrollIntoView({ block: "start" });
    item.focus({ preventScroll: true });
  };
  document.querySelectorAll(".pick").forEach((link) => {
    link.addEventListener("click", () => {
      const item = document.getElementById(link.getAttribute("href").slice(1));
      const right = item && item.querySelector(".choose-right");
      if (!right || !link.dataset.right) return;
      right.value = link.dataset.right;
      show(item, item.querySelector(".choose-left").value, right.value);
      cases.forEach((other) => other.classList.remove("here"));
    });
  });
  document.addEventListener("keydown", (event) => {
    if (!["n", "p"].includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (["SELECT", "TEXTAREA"].includes(document.activeElement.tagName) || !cases.length) return;
    const here = cases.findIndex((item) => item.classList.contains("here") || item === document.activeElement.closest(".case"));
    const next = event.key === "n" ? Math.min(here + 1, cases.length - 1) : Math.max(here - 1, 0);
    go(cases[next]);
  });
})();
