"use strict";
// Recordings of an analysis: a link to one opens it, a click on a timeline plays there.
(function () {
  function openTarget() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.matches("details")) { target.open = true; target.scrollIntoView(); }
  }
  window.addEventListener("hashchange", openTarget);
  window.addEventListener("DOMContentLoaded", openTarget);
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#recording-"]');
    if (link && link.hash === location.hash) openTarget();  // the second click changes no hash
    const line = event.target.closest(".timeline");
    if (!line) return;
    const edge = line.getBoundingClientRect(), seconds = Number(line.dataset.seconds) * (event.clientX - edge.left) / edge.width;
    const slack = 4 * Number(line.dataset.seconds) / edge.width;  // 4 pixels
    const part = JSON.parse(line.dataset.parts).find(([, start, end]) => seconds >= start - slack && seconds <= end + slack);
    if (part) birdlib.playPart(part[0], Math.min(Math.max(seconds, part[1]), part[2] - 0.1));
  });
})();
