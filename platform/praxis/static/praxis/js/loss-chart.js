// <figure data-loss-chart data-url="…/metrics.json">: draws the losses of a run and keeps up with it.
// Its <svg> gets the drawing, its <tbody> the same figures as text, its <output> the step under the pointer.

const POLL_MS = 2000;
const HEIGHT = 300;
const MARGIN = { top: 12, right: 16, bottom: 44, left: 56 };
const ROWS = 50;

const number = (value, digits) => (value == null ? "–" : value.toLocaleString(document.documentElement.lang, { minimumFractionDigits: digits, maximumFractionDigits: digits }));

function element(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// Round steps (1, 2 or 5 times a power of ten) that cut the range into about `count` parts.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(value);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step))) };
}

// A running mean: single steps are noisy because each has other conversations.
function smoothed(points) {
  const weight = Math.min(0.95, 1 - 8 / Math.max(points.length, 9));
  let mean = points[0]?.loss;
  return points.map((point) => ({ step: point.step, loss: (mean = weight * mean + (1 - weight) * point.loss) }));
}

function draw(figure, points, steps) {
  const svg = figure.querySelector("svg");
  const width = Math.max(280, svg.parentElement.clientWidth);
  const trained = points.filter((point) => point.loss != null);
  const heldOut = points.filter((point) => point.eval_loss != null);
  const losses = [...trained.map((point) => point.loss), ...heldOut.map((point) => point.eval_loss)];
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.replaceChildren();
  if (!losses.length) return;

  const last = Math.max(steps || 0, ...points.map((point) => point.step), 1);
  const spread = Math.max(...losses) - Math.min(...losses) || 1;
  const low = Math.max(0, Math.min(...losses) - spread * 0.08);
  const high = Math.max(...losses) + spread * 0.08;
  const x = (step) => MARGIN.left + (step / last) * (width - MARGIN.left - MARGIN.right);
  const y = (loss) => MARGIN.top + ((high - loss) / (high - low)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const line = (list, key) => list.map((point) => `${x(point.step).toFixed(1)},${y(point[key]).toFixed(1)}`).join(" ");

  const vertical = ticks(low, high, 7);
  for (const loss of vertical.found) {
    svg.append(element("line", { class: "grid-line", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(loss), y2: y(loss) }));
    svg.append(element("text", { class: "tick", x: MARGIN.left - 8, y: y(loss) + 4, "text-anchor": "end" }, number(loss, vertical.digits)));
  }
  const bottom = HEIGHT - MARGIN.bottom;
  svg.append(element("line", { class: "axis", x1: MARGIN.left, x2: width - MARGIN.right, y1: bottom, y2: bottom }));
  for (const step of ticks(0, last, Math.min(8, width / 90)).found.filter(Number.isInteger)) {
    svg.append(element("text", { class: "tick", x: x(step), y: bottom + 18, "text-anchor": "middle" }, number(step, 0)));
  }
  svg.append(element("text", { class: "axis-title", x: (MARGIN.left + width - MARGIN.right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, figure.dataset.stepLabel));
  svg.append(element("text", { class: "axis-title", transform: `translate(14 ${(MARGIN.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, figure.dataset.lossLabel));
  svg.append(element("polyline", { class: "loss-raw", points: line(trained, "loss") }));
  svg.append(element("polyline", { class: "loss-mean", points: line(smoothed(trained), "loss") }));
  svg.append(element("polyline", { class: "held-out", points: line(heldOut, "eval_loss") }));
  for (const point of heldOut) svg.append(element("circle", { class: "held-out-point", cx: x(point.step), cy: y(point.eval_loss), r: 4.5 }));
  const cursor = element("line", { class: "cursor", y1: MARGIN.top, y2: bottom, x1: -9, x2: -9 });
  svg.append(cursor);

  svg.onpointermove = (event) => {
    const at = ((event.offsetX - MARGIN.left) / (width - MARGIN.left - MARGIN.right)) * last;
    const near = points.reduce((best, point) => (Math.abs(point.step - at) < Math.abs(best.step - at) ? point : best));
    cursor.setAttribute("x1", x(near.step));
    cursor.setAttribute("x2", x(near.step));
    figure.querySelector("output").textContent = [
      `${figure.dataset.stepLabel} ${number(near.step, 0)}`,
      near.loss == null ? "" : `${figure.dataset.trainLabel} ${number(near.loss, 3)}`,
      near.eval_loss == null ? "" : `${figure.dataset.heldOutLabel} ${number(near.eval_loss, 3)}`,
    ].filter(Boolean).join(" · ");
  };
}

function tabulate(figure, points) {
  const every = Math.max(1, Math.ceil(points.length / ROWS));
  const rows = points.filter((point, index) => point.eval_loss != null || index % every === 0 || index === points.length - 1);
  figure.querySelector("tbody").replaceChildren(...rows.map((point) => {
    const row = document.createElement("tr");
    const cells = [number(point.step, 0), number(point.loss, 4), number(point.eval_loss, 4), point.learning_rate == null ? "–" : point.learning_rate.toExponential(2)];
    for (const text of cells) row.insertCell().textContent = text;
    for (const cell of row.cells) cell.className = "number";
    return row;
  }));
}

function follow(figure) {
  const points = new Map();
  let steps = 0;
  const sorted = () => [...points.values()].sort((a, b) => a.step - b.step);
  const show = () => { draw(figure, sorted(), steps); tabulate(figure, sorted()); };

  async function poll() {
    // One step back: an evaluation may have been added to the last one that came.
    const after = points.size ? Math.max(...points.keys()) - 1 : -1;
    try {
      const answer = await fetch(`${figure.dataset.url}?after=${after}`, { headers: { Accept: "application/json" } });
      if (!answer.ok) return;
      const update = await answer.json();
      for (const point of update.points) points.set(point.step, point);
      steps = update.steps;
      if (update.points.length) show();
      if (update.finished && !update.more) return;
      setTimeout(poll, update.more ? 0 : POLL_MS);
    } catch {
      setTimeout(poll, POLL_MS * 3); // The server is away for a moment.
    }
  }

  new ResizeObserver(() => draw(figure, sorted(), steps)).observe(figure.querySelector("svg").parentElement);
  poll();
}

for (const figure of document.querySelectorAll("[data-loss-chart]")) follow(figure);
