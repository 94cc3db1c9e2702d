"use strict";
// Everything here adds to a page that is complete without it.
const create = (tag, attributes = {}, text = "") => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
};

// Light or dark: the system's choice, until the reader chooses.
const root = document.documentElement;
const store = {
  get: () => { try { return localStorage.getItem("polydistill-theme"); } catch { return null; } },
  set: (value) => { try { localStorage.setItem("polydistill-theme", value); } catch { /* private window */ } },
};
const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
if (["light", "dark"].includes(store.get())) root.dataset.theme = store.get();
const theme = create("button", { type: "button", class: "theme" });
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`); };
theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; store.set(root.dataset.theme); nameTheme(); });
nameTheme();
document.querySelector("header").prepend(theme);

// Messages for screen readers, such as that a table was copied.
const live = create("p", { class: "unseen", role: "status" });
document.body.append(live);

// Text of a cell as it is read, without marks for screen readers and links to itself.
const textOf = (cell) => {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll(".unseen, .anchor, title").forEach((one) => one.remove());
  copy.querySelectorAll("small, .flag, .span, br").forEach((one) => one.prepend(" "));
  return copy.textContent.replace(/\s+/g, " ").trim();
};
const valueOf = (cell) => {
  if (cell === undefined) return null;
  const text = cell.dataset.value ?? textOf(cell).replace(/,/g, "");
  if (text === "" || text === "–") return null;
  return Number.isNaN(Number(text)) ? text : Number(text);
};
const inOrder = (one, other) => {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
};

const copyText = async (text, button) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = create("textarea", { "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  const name = button.textContent;
  button.textContent = "Copied";
  live.textContent = `${name}: copied`;
  setTimeout(() => { button.textContent = name; }, 1200);
};
const rowsOf = (table) => [...table.rows].filter((row) => !row.hidden).map((row) => [...row.cells].map(textOf));
const asCsv = (rows) => rows.map((row) => row.map((cell) => (/[",]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",")).join("\n") + "\n";
const asMarkdown = (rows) => {
  const lines = rows.map((row) => `| ${row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`);
  lines.splice(1, 0, `|${rows[0].map(() => "---|").join("")}`);
  return lines.join("\n") + "\n";
};

const sortBy = (table, column, header) => {
  const rising = header.getAttribute("aria-sort") === "descending";
  table.tHead.querySelectorAll("th").forEach((one) => one.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[column]), row]);
  rows.sort(([one], [other]) => {
    if (one === null || other === null) return (one === null) - (other === null); // missing values are last
    return rising ? inOrder(one, other) : inOrder(other, one);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
};

for (const box of document.querySelectorAll(".table")) {
  const table = box.querySelector("table");
  const rows = [...table.tBodies[0].rows];
  const bar = create("div", { class: "bar" });
  if (rows.length > 5) {
    const filter = create("input", { type: "search", placeholder: "Filter", "aria-label": `Filter: ${box.querySelector(".scroll").getAttribute("aria-label")}` });
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = textOf(row).toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      live.textContent = `${shown} of ${rows.length} rows`;
    });
    bar.append(filter);
  }
  for (const [name, write] of [["CSV", asCsv], ["Markdown", asMarkdown]]) {
    const label = `Copy as ${name}: ${box.querySelector(".scroll").getAttribute("aria-label")}`;
    const button = create("button", { type: "button", "aria-label": label, title: `Copy as ${name}` }, name);
    button.addEventListener("click", () => copyText(write(rowsOf(table)), button));
    bar.append(button);
  }
  box.prepend(bar);
  if (rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = create("button", { type: "button" });
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sortBy(table, column, header));
  });
}

// The price of a million examples follows the price of the machine.
const usd = document.getElementById("usd");
usd?.addEventListener("input", () => {
  const perHour = Number(usd.value);
  if (usd.value === "" || !(perHour >= 0)) return;
  for (const cell of document.querySelectorAll("td.usd")) {
    const price = (perHour / 3600) * 1e6 / Number(cell.dataset.rate);
    cell.dataset.value = String(price);
    cell.textContent = price.toLocaleString("en", price ? { minimumSignificantDigits: 3, maximumSignificantDigits: 3 } : { minimumFractionDigits: 2 });
  }
});

// A point of the map tells its text at once; without scripts the browser shows it after a while.
const map = document.querySelector(".map svg");
if (map) {
  const tip = create("div", { class: "tip", "aria-hidden": "true", hidden: "" });
  map.parentElement.append(tip);
  const texts = new Map();
  for (const title of map.querySelectorAll("title")) {
    texts.set(title.parentElement, title.textContent);
    title.remove();
  }
  const points = [...texts.keys()].map((circle) => [circle, Number(circle.getAttribute("cx")), Number(circle.getAttribute("cy"))]);
  const groups = { s: document.querySelectorAll(".key.by-source li"), l: document.querySelectorAll(".key.by-label li") };
  let near = null;
  const show = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    let found = null, least = 2.5 ** 2;
    for (const [circle, x, y] of points) {
      const distance = (x - at.x) ** 2 + (y - at.y) ** 2;
      if (distance < least) [found, least] = [circle, distance];
    }
    near?.classList.remove("near");
    near = found;
    tip.hidden = !near;
    if (!near) return;
    near.classList.add("near");
    const [source, label] = near.classList.value.match(/[sl](?=\d)|\d+/g).reduce((all, part, place, list) => (place % 2 ? all : [...all, groups[part][Number(list[place + 1])]?.textContent]), []);
    tip.replaceChildren(create("b", {}, texts.get(near)), create("span", {}, [source, label].filter((one) => one && one !== "no label").join(" · ")));
    const box = map.parentElement.getBoundingClientRect();
    const left = Math.min(event.clientX - box.left + 12, box.width - tip.offsetWidth - 4);
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${event.clientY - box.top + 14}px`;
  };
  map.addEventListener("pointermove", show);
  map.addEventListener("pointerdown", show);
  map.addEventListener("pointerleave", () => { near?.classList.remove("near"); near = null; tip.hidden = true; });
}

// A link into a closed part opens it.
const reveal = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
let wereOpen = [];
addEventListener("beforeprint", () => { wereOpen = [...document.querySelectorAll("details.kind:not([open])")]; wereOpen.forEach((one) => { one.open = true; }); });
addEventListener("afterprint", () => wereOpen.forEach((one) => { one.open = false; }));

// The section in view is marked in the navigation.
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const watch = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(entry.target.getAttribute("aria-labelledby"))?.setAttribute("aria-current", "true");
  }
}, { rootMargin: "-10% 0px -80% 0px" });
document.querySelectorAll("section").forEach((section) => watch.observe(section));
