"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 480px)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const ink = (printing) => dark.matches && !printing ? "#d5d9df" : "#3a4048";
  const hover = () => dark.matches
    ? { bgcolor: "#262c35", bordercolor: "#7f7f7f", font: { color: "#f2f3f5" } }
    : { bgcolor: "#ffffff", bordercolor: "#7f7f7f", font: { color: "#16191d" } };
  const SIGNS = { circle: "●", "triangle-down": "▼", square: "■", "triangle-up": "▲", cross: "✚", diamond: "◆",
    "circle-open": "○" };
  const plain = (label) => new DOMParser().parseFromString(label, "text/html").body.textContent;
  // A key of our own under the figure: it wraps on a phone, is read aloud, and leaves the margins alone.
  const key = (drawn, data) => {
    const named = data.filter((trace) => trace.name && trace.showlegend !== false);
    if (named.length < 2) return;
    const list = document.createElement("ul");
    list.className = "key";
    for (const trace of named) {
      const [item, button, sign] = ["li", "button", "span"].map((tag) => document.createElement(tag));
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      const filled = trace.fillcolor && trace.fill;
      const dashed = trace.line?.dash ? "line dash" : "line";
      sign.className = filled ? "band" : /lines/.test(trace.mode) ? dashed : "";
      sign.style.setProperty("--own", filled ? trace.fillcolor : trace.marker?.color ?? trace.line?.color ?? "");
      const marked = /markers/.test(trace.mode) || trace.type === "box";
      sign.textContent = marked && !filled ? SIGNS[trace.marker?.symbol ?? "circle"] ?? "" : "";
      sign.setAttribute("aria-hidden", "true");
      button.append(sign, plain(trace.name));
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        const same = data.map((_, i) => i).filter((i) =>
          data[i] === trace || (trace.legendgroup && data[i].legendgroup === trace.legendgroup));
        Plotly.restyle(drawn, { visible: shown }, same);
      });
      item.append(button);
      list.append(item);
    }
    drawn.after(list);
  };
  const plots = [];
  for (const chart of document.querySelectorAll(".chart")) {
    const drawn = chart.querySelector(".plot");
    const figure = JSON.parse(chart.querySelector(".plot-data").textContent);
    const layout = figure.layout;
    delete layout.title; // The heading above says it, and wraps on a phone.
    layout.showlegend = false;
    key(drawn, figure.data);
    layout.margin = { l: narrow.matches ? 40 : 56, r: 12, t: 12, b: 48 };
    layout.font = { ...layout.font, color: ink(), size: narrow.matches ? 11 : 13 };
    layout.hoverlabel = { align: "left", ...hover() };
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: "#7f7f7f", activecolor: ink() };
    layout.dragmode = narrow.matches ? false : "zoom";
    if (still.matches) layout.transition = { duration: 0 };
    Plotly.newPlot(drawn, figure.data, layout, {
      responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]],
      displayModeBar: narrow.matches ? false : "hover",
      toImageButtonOptions: { format: "svg", filename: drawn.id },
    });
    plots.push(drawn);
  }
  const paint = (printing) => plots.forEach((plot) =>
    Plotly.relayout(plot, { "font.color": ink(printing), hoverlabel: { align: "left", ...hover() } }));
  dark.addEventListener("change", () => paint(false));

  const closed = [];
  addEventListener("beforeprint", () => {
    paint(true);
    document.querySelectorAll("details:not([open])").forEach((d) => { closed.push(d); d.open = true; });
  });
  addEventListener("afterprint", () => {
    paint(false);
    closed.splice(0).forEach((d) => { d.open = false; });
  });

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
        const body = table.tBodies[0];
        const key = (row) => {
          const { sort } = row.cells[column].dataset;
          return sort === undefined ? null : Number(sort);
        };
        const compare = (a, b) => {
          const [x, y] = [key(a), key(b)];
          if (x !== null && y !== null) return sign * (x - y);
          if (x !== null || y !== null) return x === null ? 1 : -1; // What was not measured stays last.
          return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
        };
        body.append(...[...body.rows].sort(compare));
      });
    });
  }
})();
