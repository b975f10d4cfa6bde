/* Players: play, seek, keys, the cursor, pages. Every player is a figure.player with its own audio element. */
(() => {
  "use strict";
  const all = (root, selector) => [...root.querySelectorAll(selector)];
  const clock = (s) => {
    const tenths = Math.round(10 * s), h = Math.floor(tenths / 36000), m = Math.floor(tenths / 600) % 60;
    const rest = String(Math.floor((tenths % 600) / 10)).padStart(2, "0") + "." + (tenths % 10);
    return h ? `${h}:${String(m).padStart(2, "0")}:${rest}` : `${m}:${rest}`;
  };
  let playing = null;

  function setUp(figure) {
    const audio = figure.querySelector("audio"), button = figure.querySelector(".player-play"), slow = figure.querySelector(".player-slow");
    const scroll = figure.querySelector(".player-scroll"), picture = figure.querySelector(".player-picture");
    const cursor = figure.querySelector(".player-cursor"), time = figure.querySelector(".player-time");
    const names = all(figure, ".player-name"), boxes = all(figure, ".player-box");
    const start = +figure.dataset.start, length = +figure.dataset.end - start;
    let stopAt = Infinity, wanted = 0;

    const now = () => (audio.readyState ? audio.currentTime : wanted);
    function draw() {
      const share = Math.min(1, now() / length), x = share * picture.clientWidth;
      cursor.style.left = `${100 * share}%`;
      time.textContent = clock(start + now());
      if (!audio.paused && (x < scroll.scrollLeft || x > scroll.scrollLeft + scroll.clientWidth - 40)) scroll.scrollLeft = x - 40;
      names.forEach((name, i) => mark(i, !audio.paused && start + now() >= +name.dataset.start && start + now() < +name.dataset.end));
    }
    function mark(i, isActive) {
      names[i].classList.toggle("is-active", isActive);
      boxes[i].classList.toggle("is-active", isActive);
    }
    function step() {
      if (now() >= stopAt) { audio.pause(); stopAt = Infinity; }
      draw();
      if (!audio.paused) requestAnimationFrame(step);
    }
    function seek(seconds) {
      wanted = Math.max(0, Math.min(length - 0.05, seconds));
      audio.currentTime = wanted;
      draw();
    }
    function play(from, to) {
      if (from !== undefined) seek(from - start);
      stopAt = to === undefined ? Infinity : Math.min(to - start, length);
      if (playing && playing !== audio) playing.pause();
      playing = audio;
      audio.play().catch((error) => { time.textContent = `cannot be played (${error.name})`; });
    }
    const toggle = () => (audio.paused ? play(now() >= length - 0.1 ? start : undefined) : audio.pause());

    audio.addEventListener("loadedmetadata", () => { if (wanted) audio.currentTime = wanted; });
    audio.addEventListener("play", () => { figure.classList.add("is-playing"); button.lastChild.data = "Pause"; requestAnimationFrame(step); });
    audio.addEventListener("pause", () => { figure.classList.remove("is-playing"); button.lastChild.data = "Play"; wanted = audio.currentTime; draw(); });
    audio.addEventListener("seeked", draw);
    button.addEventListener("click", toggle);
    slow.addEventListener("click", () => {
      const isSlow = slow.getAttribute("aria-pressed") !== "true";
      slow.setAttribute("aria-pressed", isSlow);
      audio.preservesPitch = false;
      audio.defaultPlaybackRate = audio.playbackRate = isSlow ? 0.5 : 1;
    });
    names.forEach((name, i) => {
      const playCall = (event) => { event.stopPropagation(); play(+name.dataset.start, +name.dataset.end); };
      [name, boxes[i]].forEach((element) => {
        element.addEventListener("click", playCall);
        element.addEventListener("mouseenter", () => mark(i, true));
        element.addEventListener("mouseleave", () => mark(i, false));
      });
      name.addEventListener("focus", () => mark(i, true));
      name.addEventListener("blur", () => mark(i, false));
      boxes[i].title = name.title;
    });
    picture.addEventListener("click", (event) => {
      const edge = picture.getBoundingClientRect();
      play(start + length * Math.min(1, Math.max(0, (event.clientX - edge.left) / edge.width)));
    });
    figure.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by) seek(now() + by * (event.shiftKey ? 5 : 1));
      else if (event.key === "Home") seek(0);
      else if (event.key === "End") seek(length);
      else if (event.key === " " && event.target.tagName !== "BUTTON") toggle();
      else return;
      event.preventDefault();
    });
    figure.playPart = play;
    audio.controls = false;  // they are for readers without scripts
    figure.classList.add("is-ready");
    draw();
  }

  function show(pages, figure) {
    all(pages, ".player").forEach((other) => {
      other.hidden = other !== figure;
      if (other.hidden) other.querySelector("audio").pause();
    });
    all(pages, ".player-pager button").forEach((button) => button.setAttribute("aria-current", button.dataset.player === figure.id));
  }
  function setUpPages(pages) {
    const pager = document.createElement("nav");
    pager.className = "player-pager";
    pager.setAttribute("aria-label", pages.dataset.label);
    const figures = all(pages, ".player"), isLong = figures.length > 4;
    if (isLong) pager.append("Parts from ");
    figures.forEach((figure) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.player = figure.id;
      button.textContent = isLong ? clock(+figure.dataset.start).replace(/\.\d$/, "") : figure.querySelector(".player-span").textContent;
      button.addEventListener("click", () => show(pages, figure));
      pager.append(button);
    });
    pages.prepend(pager);
    show(pages, pages.querySelector(".player"));
  }
  /* Plays a part of a player from anywhere in the page, and shows the player unless isQuiet. */
  window.birdlib = window.birdlib || {};
  birdlib.playPart = (id, from, to, isQuiet) => {
    const figure = document.getElementById(id);
    if (!isQuiet) {
      for (let folded = figure.closest("details"); folded; folded = folded.parentElement.closest("details")) folded.open = true;
      const pages = figure.closest(".player-pages");
      if (pages) show(pages, figure);
      figure.scrollIntoView({ block: "nearest" });
    }
    figure.playPart(from, to);
    return figure.querySelector("audio");
  };
  /* An element with data-player="ID" data-from="S" data-to="S" plays that part; with data-quiet it is a button that also stops it. */
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-player][data-from]");
    if (!link) return;
    event.preventDefault();
    if (link.getAttribute("aria-pressed") === "true") { document.getElementById(link.dataset.player).querySelector("audio").pause(); return; }
    const audio = birdlib.playPart(link.dataset.player, +link.dataset.from, link.dataset.to ? +link.dataset.to : undefined, "quiet" in link.dataset);
    if (!link.hasAttribute("aria-pressed")) return;
    link.setAttribute("aria-pressed", "true");
    audio.addEventListener("pause", () => link.setAttribute("aria-pressed", "false"), { once: true });
  });
  all(document, "figure.player").forEach(setUp);
  all(document, ".player-pages").forEach(setUpPages);
})();
