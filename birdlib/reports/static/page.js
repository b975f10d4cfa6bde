"use strict";
// Tabs, theme, tables and charts of a page. Other scripts of a page use window.birdlib.
window.birdlib = window.birdlib || {};
document.querySelectorAll(".no-script").forEach((note) => note.remove());

// ---- theme: the system's, until the reader chooses
(function () {
  const root = document.documentElement, button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("birdlib-theme"); } catch (error) { chosen = null; }  // storage is closed to pages in some mail programs
  birdlib.isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  function show() {
    button.textContent = birdlib.isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", birdlib.isDark() ? "Switch to light colours" : "Switch to dark colours");
    document.dispatchEvent(new CustomEvent("birdlib:theme"));
  }
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = birdlib.isDark() ? "light" : "dark";
    try { localStorage.setItem("birdlib-theme", root.dataset.theme); } catch (error) { console.debug("the choice is not kept"); }
    show();
  });
  system.addEventListener("change", show);
  let before = null;  // paper is light
  window.addEventListener("beforeprint", () => { before = root.dataset.theme || ""; root.dataset.theme = "light"; show(); });
  window.addEventListener("afterprint", () => { if (before) root.dataset.theme = before; else delete root.dataset.theme; show(); });
  window.addEventListener("DOMContentLoaded", show);
  show();
})();

// ---- charts: Bokeh documents that are drawn when they are first seen
(function () {
  const drawn = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  function paint(model) {
    const ink = colour("--ink"), soft = colour("--soft"), line = colour("--line");
    for (const part of model.references()) {
      if (part.type.endsWith("Axis")) part.setv({ axis_label_text_color: soft, major_label_text_color: soft, axis_line_color: line, major_tick_line_color: line, minor_tick_line_color: null });
      else if (part.type === "Grid") part.grid_line_color = line;
      else if (part.type === "Text" && part.tags.includes("ink")) part.text_color = { value: ink };
      else if (part.type === "Title") part.text_color = ink;
      else if (part.type === "Legend") part.setv({ label_text_color: ink, background_fill_color: colour("--paper"), border_line_color: line });
      else if (part.type === "ColorBar") part.setv({ major_label_text_color: soft, title_text_color: soft, background_fill_alpha: 0 });
      else if (part.type === "Whisker") { part.line_color = soft; }
    }
  }
  async function draw(target) {
    if (drawn.has(target) || !window.Bokeh) return;
    drawn.set(target, null);
    const item = JSON.parse(document.getElementById(target.dataset.chart).textContent);
    target.replaceChildren();
    item.target_id = target.id;
    const views = await Bokeh.embed.embed_item(item, target.id);
    const models = (views.roots ? [...views.roots] : [...views]).map((view) => view.model);
    drawn.set(target, models);
    models.forEach(paint);
    if (target.dataset.shelf) sources(models).forEach((source) => playOnClick(source, target.dataset.shelf));
    target.dataset.drawn = "yes";
  }
  const sources = (models) => models.flatMap((model) => Array.isArray(model.renderers) ? model.renderers.map((renderer) => renderer.data_source) : []);
  function playOnClick(source, shelf) {
    source.selected.properties.indices.change.connect(() => {
      const [row] = source.selected.indices;
      if (row === undefined) return;
      birdlib.play(birdlib.shelf(shelf)[source.data.sound[row]]);
      source.selected.indices = [];
    });
  }
  const seen = "IntersectionObserver" in window
    ? new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach((e) => { seen.unobserve(e.target); draw(e.target); }), { rootMargin: "300px" })
    : null;
  // an input with data-highlight (id of a chart) fades the points whose name does not contain its text
  function highlight(input) {
    const wanted = input.value.trim().toLowerCase();
    for (const source of sources(drawn.get(document.getElementById(input.dataset.highlight)) || [])) {
      const alpha = [...source.data.name].map((name) => (!wanted || name.toLowerCase().includes(wanted) ? 0.85 : 0.06));
      source.data = { ...source.data, alpha };
    }
  }
  document.addEventListener("input", (event) => { if (event.target.dataset.highlight) highlight(event.target); });
  birdlib.charts = { draw, drawAll: () => Promise.all([...document.querySelectorAll("[data-chart]")].map(draw)) };
  window.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-chart]").forEach((target) => seen ? seen.observe(target) : draw(target)));
  document.addEventListener("birdlib:theme", () => drawn.forEach((models) => models && models.forEach(paint)));
})();

// ---- one sound at a time: birdlib.play(dataUri) and elements with data-play (id of a script element with {name: data URI}) and data-sound
(function () {
  const player = new Audio();
  let on = null;
  function quiet() { if (on) { on.setAttribute("aria-pressed", "false"); on = null; } }
  player.addEventListener("ended", quiet);
  player.addEventListener("pause", () => { if (player.paused) quiet(); });  // it comes late, when the next sound may play
  document.addEventListener("play", (event) => document.querySelectorAll("audio, video").forEach((other) => { if (other !== event.target && !other.paused && !other.muted) other.pause(); }), true);
  const shelves = new Map();
  birdlib.shelf = (id) => {
    if (!shelves.has(id)) shelves.set(id, JSON.parse(document.getElementById(id).textContent));
    return shelves.get(id);
  };
  birdlib.player = player;
  birdlib.play = (source, button = null) => {
    if (!source) return;
    const again = on && on === button;
    player.pause();
    quiet();
    if (again) return;
    player.src = source;
    on = button;
    if (on) on.setAttribute("aria-pressed", "true");
    player.play().catch((error) => { if (on === button) quiet(); console.debug("not played: " + error.name); });
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-sound]");
    if (button) birdlib.play(birdlib.shelf(button.dataset.play)[button.dataset.sound], button);
  });
})();

// ---- tables: sort by the head, filter by text, pages
(function () {
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  function value(row, column) {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim() : cell.dataset.value === "" ? null : Number(cell.dataset.value);
  }
  function compare(a, b) {
    if (a === null || b === null) return (a === null) - (b === null);
    return typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b);
  }
  function makeTable(box) {
    const body = box.querySelector("tbody"), heads = [...box.querySelectorAll("thead th")], filter = box.querySelector("input[type=search]");
    const size = Number(box.dataset.page), status = box.querySelector("[data-status]"), pager = box.querySelector("nav");
    const original = [...body.rows];
    const texts = new Map(original.map((row) => [row, row.textContent.toLowerCase()]));
    let rows = original, page = 0;
    function show() {
      const words = (filter ? filter.value : "").toLowerCase().split(/\s+/).filter(Boolean);
      const found = rows.filter((row) => words.every((word) => texts.get(row).includes(word)));
      const pages = Math.max(Math.ceil(found.length / size), 1);
      page = Math.min(page, pages - 1);
      const shown = new Set(found.slice(page * size, (page + 1) * size));
      rows.forEach((row) => { row.hidden = !shown.has(row); });
      const all = `${original.length} ${original.length === 1 ? "row" : "rows"}`;
      status.textContent = found.length === original.length ? all : `${found.length} of ${all}`;
      pager.hidden = pages < 2;
      pager.querySelector("span").textContent = `page ${page + 1} of ${pages}`;
      pager.querySelector("[data-step='-1']").disabled = page === 0;
      pager.querySelector("[data-step='1']").disabled = page === pages - 1;
    }
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const first = head.classList.contains("number") ? "descending" : "ascending";
        const order = head.getAttribute("aria-sort") === first ? (first === "ascending" ? "descending" : "ascending") : first;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        rows = [...rows].sort((a, b) => {
          const x = value(a, column), y = value(b, column);
          return x === null || y === null ? compare(x, y) : sign * compare(x, y);  // cells without a number stay last
        });
        body.append(...rows);
        page = 0;
        show();
      });
    });
    if (filter) filter.addEventListener("input", () => { page = 0; show(); });
    pager.addEventListener("click", (event) => {
      const button = event.target.closest("[data-step]");
      if (button) { page += Number(button.dataset.step); show(); }
    });
    show();
  }
  window.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".table[data-page]").forEach(makeTable));
})();

// ---- tabs: the sections, one at a time; arrows, Home and End move, links to a section open it
(function () {
  const bar = document.querySelector(".tabs"), tabs = [...bar.querySelectorAll("a")];
  const panels = tabs.map((tab) => document.getElementById(tab.hash.slice(1)));
  if (tabs.length < 2) { bar.hidden = true; return; }
  function open(index, options = {}) {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
      panels[i].hidden = i !== index;
    });
    if (options.focus) tabs[index].focus({ preventScroll: true });
    tabs[index].scrollIntoView({ block: "nearest", inline: "nearest" });
    window.dispatchEvent(new Event("resize"));
    if (options.remember) history.replaceState(null, "", tabs[index].hash);
  }
  function fromHash() {
    const wanted = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const index = wanted ? panels.findIndex((panel) => panel.contains(wanted)) : -1;
    if (index >= 0) open(index);
    return index >= 0;
  }
  bar.setAttribute("role", "tablist");
  tabs.forEach((tab, i) => {
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panels[i].id);
    panels[i].setAttribute("role", "tabpanel");
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      open(i, { remember: true });
      if (bar.getBoundingClientRect().top < 1) bar.nextElementSibling && window.scrollTo({ top: bar.offsetTop });
    });
  });
  bar.addEventListener("keydown", (event) => {
    const now = tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
    const next = { ArrowRight: (now + 1) % tabs.length, ArrowLeft: (now - 1 + tabs.length) % tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
    if (event.key === " " || event.key === "Enter") { event.preventDefault(); open(tabs.indexOf(document.activeElement), { remember: true, focus: true }); }
    if (next === undefined) return;
    event.preventDefault();
    open(next, { focus: true, remember: true });
  });
  window.addEventListener("hashchange", fromHash);
  if (!fromHash()) open(0);
  window.addEventListener("beforeprint", () => birdlib.charts.drawAll());
})();
