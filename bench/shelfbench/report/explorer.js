"use strict";
// Looks up what Python counted; computes nothing but shares and places on the screen.
(() => {
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  // counts come as differences from the target before
  for (const one of data.backends) {
    for (const counts of Object.values(one.modes)) {
      for (const rows of Object.values(counts)) {
        rows.forEach((row, place) => { if (place) row.forEach((step, part) => { row[part] = rows[place - 1][part] + step; }); });
      }
    }
  }
  const slider = document.getElementById("target");
  const value = document.getElementById("target-value");
  const shown = document.getElementById("shown");
  const body = document.querySelector("#taken tbody");
  const bars = document.getElementById("bars");
  const svg = document.getElementById("curves");
  const NS = "http://www.w3.org/2000/svg";
  const DASHES = ["", "9 4", "3 3", "11 4 3 4", "1.5 3"];
  const COLOURS = 7;
  const box = { left: 62, right: 16, top: 14, bottom: 46, width: 640, height: 420 };
  const percent = (share) => (100 * share).toFixed(1) + "%";
  const whole = (number) => number.toLocaleString("en-US");
  const low = Math.min(data.targets[0] / 1000, ...data.backends.map((one) => (one.curve.length ? one.curve[0][0] : 1)));
  const from = Math.max(0, Math.floor(low * 20) / 20);
  const x = (p) => box.left + ((p - from) / (1 - from)) * (box.width - box.left - box.right);
  const y = (a) => box.top + (1 - a) * (box.height - box.top - box.bottom);

  const draw = (name, attributes, text) => {
    const element = document.createElementNS(NS, name);
    for (const [key, one] of Object.entries(attributes)) element.setAttribute(key, one);
    if (text !== undefined) element.textContent = text;
    svg.append(element);
    return element;
  };
  const cell = (row, text, kind) => {
    const element = row.insertCell();
    element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };
  const kind = (number) => `curve c${number % COLOURS}${number === data.chosen ? " strong" : ""}`;
  const swatch = (number) => {
    const key = document.createElementNS(NS, "svg");
    key.setAttribute("class", "key");
    key.setAttribute("viewBox", "0 0 30 8");
    key.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(NS, "path");
    line.setAttribute("d", "M1 4H29");
    line.setAttribute("class", kind(number));
    line.setAttribute("stroke-dasharray", DASHES[number % DASHES.length]);
    key.append(line);
    return key;
  };

  for (let step = 0; step <= 10; step += 2) {
    draw("path", { class: "grid", d: `M${box.left} ${y(step / 10)}H${box.width - box.right}` });
    draw("text", { class: "tick", x: box.left - 8, y: y(step / 10) + 4, "text-anchor": "end" }, 10 * step + "%");
  }
  for (let mark = Math.ceil(from * 10); mark <= 10; mark += 1) {
    draw("path", { class: "grid", d: `M${x(mark / 10)} ${box.top}V${box.height - box.bottom}` });
    draw("text", { class: "tick", x: x(mark / 10), y: box.height - box.bottom + 18, "text-anchor": "middle" }, 10 * mark + "%");
  }
  draw("text", { class: "axis", x: x((1 + from) / 2), y: box.height - 8, "text-anchor": "middle" }, "required precision");
  draw("text", { class: "axis", transform: `translate(14 ${y(0.5)}) rotate(-90)`, "text-anchor": "middle" }, "plain acceptance, share of all test products");
  data.backends.forEach((one, number) => {
    let path = "";
    one.curve.forEach(([p, a], index) => {
      path += index === 0 ? `M${x(from)} ${y(a)}H${x(p)}` : `L${x(p)} ${y(a)}`;
    });
    draw("path", { class: kind(number), d: path, "stroke-dasharray": DASHES[number % DASHES.length] });
    if (shown) shown.add(new Option(one.name, String(number)));
  });
  if (shown) shown.value = String(data.chosen ?? 0);
  const line = draw("path", { class: "cursor", d: "" });
  const dots = data.backends.map((_, number) => draw("circle", { class: "dot c" + (number % COLOURS), r: 5 }));

  const show = () => {
    const place = (Number(slider.value) - data.targets[0]) / (data.targets[1] - data.targets[0]);
    const mode = document.querySelector("input[name=mode]:checked").value;
    const target = data.targets[place] / 1000;
    value.textContent = percent(target);
    slider.setAttribute("aria-valuetext", percent(target));
    line.setAttribute("d", `M${x(target)} ${box.top}V${box.height - box.bottom}`);
    const rows = data.backends.map((one, number) => ({
      one, number, accepted: one.modes[mode].accepted[place][0], errors: one.modes[mode].errors[place][0],
    }));
    document.getElementById("dots").textContent = mode;
    rows.forEach((row) => {
      dots[row.number].setAttribute("cx", x(target));
      dots[row.number].setAttribute("cy", y(row.accepted / data.total));
    });
    rows.sort((a, b) => b.accepted - a.accepted || a.number - b.number);
    body.replaceChildren();
    for (const { one, number, accepted, errors } of rows) {
      const row = body.insertRow();
      row.dataset.backend = one.name;
      const head = document.createElement("th");
      head.scope = "row";
      head.append(swatch(number), " " + one.name + (number === data.chosen ? " (chosen)" : ""));
      row.append(head);
      cell(row, percent(accepted / data.total), "n");
      cell(row, whole(errors), "n");
      cell(row, accepted ? percent(1 - errors / accepted) : "–", "n");
      cell(row, whole(data.total - accepted), "n");
    }
    if (!shown) return; // the categories have no departments
    const chosen = data.backends[Number(shown.value)].modes[mode];
    bars.replaceChildren();
    const list = document.createElement("table");
    const caption = list.createCaption();
    caption.textContent = "Share of each department's test products that is accepted, and how many of those are wrong";
    data.departments.forEach((name, part) => {
      const accepted = chosen.accepted[place][1 + part];
      const errors = chosen.errors[place][1 + part];
      const share = data.sizes[part] ? accepted / data.sizes[part] : 0;
      const row = list.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      row.append(head);
      const bar = cell(row, "", "bar");
      const right = document.createElement("span");
      right.className = "right";
      right.style.width = data.sizes[part] ? (100 * (accepted - errors)) / data.sizes[part] + "%" : "0";
      const wrong = document.createElement("span");
      wrong.className = "wrong";
      wrong.style.width = data.sizes[part] ? (100 * errors) / data.sizes[part] + "%" : "0";
      bar.append(right, wrong);
      cell(row, `${percent(share)} of ${whole(data.sizes[part])}, ${whole(errors)} wrong`, "n");
    });
    bars.append(list);
  };
  slider.addEventListener("input", show);
  if (shown) shown.addEventListener("change", show);
  for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", show);
  show();
})();
