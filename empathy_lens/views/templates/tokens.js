"use strict";
(() => {
  const BINS = 9;
  const signed = (v) => v === null ? "–" : (v > 0 ? "+" : "") + v.toFixed(3).replace("-", "−");
  const bin = (v, scale) => {
    const step = Math.floor(BINS * Math.min(Math.abs(v) / scale, 1) + 0.5);
    return step === 0 ? "z" : (v > 0 ? "p" : "n") + step;
  };
  const floats = (text) => {
    const view = new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
    return Float32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
  };
  for (const view of document.querySelectorAll(".elt:not([data-ready])")) {
    view.dataset.ready = "1";
    const island = view.querySelector(".elt-data");
    if (!island) continue;
    const data = JSON.parse(island.textContent);
    const [positive, negative] = data.poles;
    const slider = view.querySelector(".elt-slider input");
    const tip = document.createElement("div");
    tip.className = "elt-tip";
    tip.hidden = true;
    tip.setAttribute("aria-hidden", "true"); // Its words are read from the live line.
    view.append(tip);
    let row = slider ? Number(slider.value) : 0;
    const sides = [...view.querySelectorAll(".elt-side")].map((side, i) => {
      const spans = [...side.querySelectorAll(".elt-text > span")];
      const places = spans.map((span) => span.title.replace(/^[^,]*, /, ""));
      spans.forEach((span) => span.removeAttribute("title")); // The tip takes its place.
      const all = floats(data.sides[i].values);
      return {
        spans, places, at: -1, means: data.sides[i].means,
        values: data.layers.map((_, k) => all.subarray(k * spans.length, (k + 1) * spans.length)),
        text: side.querySelector(".elt-text"), now: side.querySelector(".elt-now"),
        mean: side.querySelector(".elt-mean"), strong: side.querySelector(".elt-strong"),
      };
    });
    const kind = (span) => (span.classList.contains("b") ? "BOS"
      : span.classList.contains("c") ? "context" : "pooled") + (span.classList.contains("s") ? ", steered" : "");
    const words = (span, limit) => {
      const text = span.textContent;
      return "“" + (text.trim() || text).slice(0, limit) + "”";
    };
    const quiet = () => {
      tip.hidden = true;
      for (const side of sides) {
        side.spans[side.at]?.classList.remove("at");
        side.at = -1;
      }
    };
    const place = () => {
      const side = sides.find(({ at }) => at >= 0);
      const box = side?.spans[side.at].getClientRects()[0];
      if (!box) return;
      const whole = view.getBoundingClientRect();
      const left = Math.min(box.left - whole.left, whole.width - tip.offsetWidth);
      tip.style.left = Math.max(left, 0) + "px";
      const above = box.top - whole.top - tip.offsetHeight - 6;
      tip.style.top = (above < 0 ? box.bottom - whole.top + 6 : above) + "px";
    };
    const read = (side, k, follow) => {
      quiet();
      side.at = k;
      const span = side.spans[k];
      span.classList.add("at");
      if (follow) span.scrollIntoView({ block: "nearest" });
      const value = document.createElement("b");
      value.textContent = signed(side.values[row][k]);
      tip.replaceChildren(words(span, 60) + " ", value, document.createElement("br"),
        side.places[k] + " · " + kind(span));
      side.now.textContent = words(span, 60) + " " + value.textContent + ", " + side.places[k] + ", " + kind(span);
      tip.hidden = false;
      place();
    };
    const draw = () => {
      for (const side of sides) {
        const values = side.values[row];
        side.spans.forEach((span, k) => span.classList.replace(span.classList[0], bin(values[k], data.scales[row])));
        side.mean.textContent = signed(side.means[row]);
        const pooled = side.spans.map((_, k) => k).filter((k) => kind(side.spans[k]).startsWith("pooled"));
        pooled.sort((a, b) => values[a] - values[b]);
        const list = (ks) => ks.map((k) => words(side.spans[k], 30) + " " + signed(values[k])).join(", ") || "none";
        side.strong.textContent =
          "Most " + positive + ": " + list(pooled.slice(-3).reverse().filter((k) => values[k] > 0)) +
          ". Most " + negative + ": " + list(pooled.slice(0, 3).filter((k) => values[k] <= 0)) + ".";
      }
      quiet();
      for (const bound of view.querySelectorAll(".elt-bound")) bound.textContent = data.scales[row].toFixed(3);
      view.querySelector(".elt-layer").textContent = data.layers[row];
      view.querySelector(".elt-slider output").textContent = data.layers[row];
      slider.setAttribute("aria-valuetext", "layer " + data.layers[row]);
    };
    if (slider) {
      slider.closest(".elt-slider").hidden = false;
      slider.addEventListener("input", () => { row = Number(slider.value); draw(); });
    }
    for (const side of sides) {
      side.text.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (event.key === "Escape") quiet();
        if (!step || !side.spans.length) return;
        event.preventDefault();
        side.last = Math.min(Math.max((side.last ?? -1) + step, 0), side.spans.length - 1);
        read(side, side.last, true);
      });
      side.text.addEventListener("pointerover", (event) => {
        const k = side.spans.indexOf(event.target.closest(".elt-text > span"));
        if (k >= 0) { side.last = k; read(side, k); }
      });
      side.text.addEventListener("pointerleave", quiet);
      side.text.addEventListener("blur", quiet);
      side.text.addEventListener("scroll", place);
    }
  }
})();
