// A pointer over a panel shows that place in every panel, and says in words what holds there.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const panels = [...document.querySelectorAll("svg.panel")];
  const readout = document.getElementById("readout");
  const percent = (x) => (x === null ? "unknown" : (100 * x).toFixed(1) + " %");
  const nearest = (list, at) => {
    let best = null;
    for (const item of list) if (best === null || Math.abs(item[0] - at) < Math.abs(best[0] - at)) best = item;
    return best;
  };
  const show = (share) => {
    for (const svg of panels) {
      let line = svg.querySelector(".cursor");
      if (!line) {
        line = document.createElementNS("http://www.w3.org/2000/svg", "line");
        line.setAttribute("class", "cursor");
        svg.append(line);
      }
      const box = svg.viewBox.baseVal;
      const left = +svg.dataset.left, right = +svg.dataset.right;
      const x = left + share * (box.width - left - right);
      line.setAttribute("x1", x); line.setAttribute("x2", x);
      line.setAttribute("y1", 0); line.setAttribute("y2", box.height - 20);
    }
    const at = share * data.length;
    const segment = data.segments.find((s) => at < s[1]) || data.segments[data.segments.length - 1];
    const here = nearest(data.bins, at);
    const parts = [data.unit + " " + Math.round(at).toLocaleString("en"), segment[0]];
    if (here) parts.push("frozen " + percent(here[1]), "adapted " + percent(here[2]));
    for (const [name, unit, points] of data.scores.slice(0, 2)) {
      const point = nearest(points, at);
      if (point) parts.push(name + " " + point[1].toPrecision(2) + unit);
    }
    readout.textContent = parts.join("  ·  ");
  };
  for (const svg of panels) {
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      const left = +svg.dataset.left, right = +svg.dataset.right;
      const x = (event.clientX - box.left) * scale;
      show(Math.min(1, Math.max(0, (x - left) / (svg.viewBox.baseVal.width - left - right))));
    });
  }
})();
