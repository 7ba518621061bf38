"use strict";
(() => {
  const BINS = 9;
  const signed = (v) => v === null ? "–" : (v > 0 ? "+" : "") + v.toFixed(3).replace("-", "−");
  const bin = (v, scale) => {
    const step = Math.floor(BINS * Math.min(Math.abs(v) / scale, 1) + 0.5);
    return step === 0 ? "z" : (v > 0 ? "p" : "n") + step;
  };
  for (const view of document.querySelectorAll(".elt:not([data-ready])")) {
    view.dataset.ready = "1";
    const island = view.querySelector(".elt-data");
    if (!island) continue;
    const data = JSON.parse(island.textContent);
    const slider = view.querySelector(".elt-slider input");
    let row = slider ? Number(slider.value) : 0;
    const sides = [...view.querySelectorAll(".elt-side")].map((side, i) => ({
      values: data.sides[i].values, means: data.sides[i].means,
      text: side.querySelector(".elt-text"), now: side.querySelector(".elt-now"),
      mean: side.querySelector(".elt-mean"), strong: side.querySelector(".elt-strong"),
      spans: [...side.querySelectorAll(".elt-text > span")], at: -1,
    }));
    const describe = (side, k) => {
      const where = side.spans[k].title.replace(/^[^,]*/, "");
      return signed(side.values[row][k]) + where;
    };
    const read = (side, k, follow) => {
      side.spans[side.at]?.classList.remove("at");
      side.at = k;
      const span = side.spans[k];
      span.classList.add("at");
      if (follow) span.scrollIntoView({ block: "nearest" });
      const kind = span.classList.contains("b") ? ", BOS" : span.classList.contains("c") ? ", context" : ", pooled";
      side.now.textContent = "“" + span.textContent.slice(0, 60) + "” " + describe(side, k) + kind +
        (span.classList.contains("s") ? ", steered" : "");
    };
    const draw = () => {
      for (const side of sides) {
        side.spans.forEach((span, k) => {
          const v = side.values[row][k];
          span.classList.replace(span.classList[0], bin(v, data.scales[row]));
          span.title = describe(side, k);
        });
        side.mean.textContent = signed(side.means[row]);
        const pooled = side.spans.map((_, k) => k).filter((k) => !/\b[cb]\b/.test(side.spans[k].className));
        pooled.sort((a, b) => side.values[row][a] - side.values[row][b]);
        const words = (ks) => ks.map((k) => "“" + side.spans[k].textContent.slice(0, 30) + "” " + signed(side.values[row][k])).join(", ") || "none";
        side.strong.textContent =
          "Most empathic: " + words(pooled.slice(-3).reverse().filter((k) => side.values[row][k] > 0)) +
          ". Most task-focused: " + words(pooled.slice(0, 3).filter((k) => side.values[row][k] <= 0)) + ".";
        if (side.at >= 0) read(side, side.at);
      }
      for (const bound of view.querySelectorAll(".elt-bound")) bound.textContent = data.scales[row].toFixed(3);
      view.querySelector(".elt-layer").textContent = data.layers[row];
      const output = view.querySelector(".elt-slider output");
      if (output) output.textContent = data.layers[row];
      if (slider) slider.setAttribute("aria-valuetext", "layer " + data.layers[row]);
    };
    if (slider) {
      slider.closest(".elt-slider").hidden = false;
      slider.addEventListener("input", () => { row = Number(slider.value); draw(); });
    }
    for (const side of sides) {
      side.text.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step || !side.spans.length) return;
        event.preventDefault();
        read(side, Math.min(Math.max(side.at + step, 0), side.spans.length - 1), true);
      });
      side.text.addEventListener("pointerover", (event) => {
        const k = side.spans.indexOf(event.target.closest(".elt-text > span"));
        if (k >= 0) read(side, k);
      });
    }
  }
})();
