// The report of kzoo evaluate: rows that sort, box plots, and quality against cost.

const data = JSON.parse(document.querySelector("#scores").textContent);
// Of systems, in their order; told apart in both schemes and by people who see few colours.
const COLOURS = ["#4c78d0", "#e07b39", "#2a9d74", "#b8479b", "#b59a12", "#7a5bd0", "#2b9ec4", "#c94a4a"];
const colour = (system) => COLOURS[data.systems.indexOf(system) % COLOURS.length];
const WIDTH = 360, MARGIN = 10;

function element(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function labelled(made, text) {
  made.append(element("title", {}, text));
  return made;
}

function figure(title, svg) {
  const made = document.createElement("figure"), caption = document.createElement("figcaption");
  caption.textContent = title;
  made.append(caption, svg);
  return made;
}

// As numpy.quantile has it.
function quantile(sorted, share) {
  const place = share * (sorted.length - 1), low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

// About `count` round numbers from `low` to `high`.
function ticks(low, high, count = 5) {
  const rough = (high - low) / count || 1, size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * size).find((k) => k >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

function widened(values, share = 0.05) {
  const low = Math.min(...values), high = Math.max(...values), more = share * (high - low) || 1;
  return [low - more, high + more];
}

function linear([low, high], from, to) {
  return (value) => from + ((value - low) / (high - low)) * (to - from);
}

// A figure for each source: every system's name, its tracks as dots, and its box below the name.
function boxes(measure) {
  const all = data.tracks.map((row) => row.scores[measure]).filter((value) => value !== null);
  const panels = document.querySelector("#boxes");
  panels.replaceChildren();
  if (!all.length) return panels.append("No track has a value.");
  const range = widened(all), x = linear(range, MARGIN, WIDTH - MARGIN), ROW = 46;
  for (const source of data.sources) {
    const height = data.systems.length * ROW, svg = element("svg", { viewBox: `0 0 ${WIDTH} ${height + 20}`, role: "img", "aria-label": `${measure} of ${source}` });
    for (const tick of ticks(...range)) {
      svg.append(element("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 0, y2: height }));
      svg.append(element("text", { class: "tick", x: x(tick), y: height + 14, "text-anchor": "middle" }, String(tick)));
    }
    data.systems.forEach((system, i) => svg.append(...box(system, source, measure, x, i * ROW)));
    panels.append(figure(`${source}: ${measure}`, svg));
  }
}

function box(system, source, measure, x, top) {
  const rows = data.tracks.filter((row) => row.system === system && row.source === source && row.scores[measure] !== null);
  const values = rows.map((row) => row.scores[measure]).sort((a, b) => a - b);
  const ink = colour(system), middle = top + 29;
  const median = values.length ? `${quantile(values, 0.5).toFixed(2)}` : "no value";
  const made = [element("text", { x: MARGIN, y: top + 13 }, `${system}: ${median}`)];
  if (values.length >= 5) {
    const [low, centre, high] = [0.25, 0.5, 0.75].map((share) => quantile(values, share));
    const reach = 1.5 * (high - low);
    const first = values.find((value) => value >= low - reach), last = values.findLast((value) => value <= high + reach);
    made.push(element("line", { x1: x(first), x2: x(last), y1: middle, y2: middle, stroke: ink, "stroke-width": 1.5 }));
    made.push(element("rect", { x: x(low), y: middle - 8, width: Math.max(1, x(high) - x(low)), height: 16, rx: 2, fill: ink, "fill-opacity": 0.3, stroke: ink }));
    made.push(element("line", { x1: x(centre), x2: x(centre), y1: middle - 8, y2: middle + 8, stroke: ink, "stroke-width": 3 }));
  }
  rows.forEach((row, i) => {
    const dot = element("circle", { cx: x(row.scores[measure]), cy: middle + ((i * 7) % 11) - 5, r: 2.5, fill: ink, "fill-opacity": 0.75 });
    made.push(labelled(dot, `${row.track}: ${row.scores[measure]}`));
  });
  return made;
}

// Averages of a measure against what a system costs: a figure for each source and kind of cost.
function costs(measure) {
  const panels = document.querySelector("#cost");
  if (!panels) return;
  panels.replaceChildren();
  for (const [costs, unit] of [[data.costs, "seconds to separate a second of sound"], [data.parameters, "parameters"]]) {
    const row = document.createElement("div");
    row.className = "panels";
    for (const source of data.sources) {
      const points = data.averages.filter((row) => row.source === source && row.scores[measure] !== null && costs[row.system] > 0);
      if (points.length) row.append(figure(`${source}: ${measure}`, scatter(points, measure, costs, unit)));
    }
    if (row.childElementCount) panels.append(row);
  }
}

function scatter(points, measure, costs, unit) {
  const left = 40, bottom = 190, across = points.map((row) => Math.log10(costs[row.system]));
  const spread = widened([...across, Math.floor(Math.min(...across)), Math.ceil(Math.max(...across))], 0.02);
  const x = linear(spread, left, WIDTH - MARGIN);
  const range = widened(points.map((row) => row.scores[measure]), 0.15), y = linear(range, bottom, MARGIN);
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} 232`, role: "img", "aria-label": `${measure} against ${unit}` });
  svg.append(element("text", { class: "tick", x: (left + WIDTH - MARGIN) / 2, y: bottom + 34, "text-anchor": "middle" }, unit));
  for (const tick of ticks(...range)) {
    svg.append(element("line", { class: "grid", x1: left, x2: WIDTH - MARGIN, y1: y(tick), y2: y(tick) }));
    svg.append(element("text", { class: "tick", x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  for (let power = Math.ceil(spread[0]); power <= spread[1]; power++) {
    svg.append(element("line", { class: "grid", x1: x(power), x2: x(power), y1: MARGIN, y2: bottom }));
    svg.append(element("text", { class: "tick", x: x(power), y: bottom + 16, "text-anchor": "middle" }, (10 ** power).toLocaleString("en", { notation: "compact", maximumSignificantDigits: 1 })));
  }
  let above = -Infinity;
  for (const row of [...points].sort((a, b) => b.scores[measure] - a.scores[measure])) {
    const cx = x(Math.log10(costs[row.system])), cy = y(row.scores[measure]), right = cx > WIDTH * 0.6;
    const label = Math.max(cy + 4, above + 13); // below the last one, so that no two overlap
    above = label;
    const dot = element("circle", { cx, cy, r: 5, fill: colour(row.system) });
    svg.append(labelled(dot, `${row.system}: ${row.scores[measure]}, ${costs[row.system]}`));
    svg.append(element("text", { x: right ? cx - 9 : cx + 9, y: label, "text-anchor": right ? "end" : "start" }, row.system));
  }
  return svg;
}

// Headings become buttons that sort the rows: figures by their value, what has none last.
for (const table of document.querySelectorAll(".sortable")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    const isFigure = table.tBodies[0].rows[0]?.cells[column].classList.contains("figure");
    heading.classList.toggle("figure", Boolean(isFigure));
    button.addEventListener("click", () => sort(table, column, isFigure));
  });
}

function sort(table, column, isFigure) {
  const heading = table.tHead.rows[0].cells[column];
  // The first press shows the greatest figures, or names from the letter a on.
  const first = isFigure ? "descending" : "ascending", second = isFigure ? "ascending" : "descending";
  const order = heading.ariaSort === first ? second : first, sign = order === "ascending" ? 1 : -1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  const key = (row) => {
    const cell = row.cells[column];
    return isFigure ? (cell.dataset.value === undefined ? null : Number(cell.dataset.value)) : cell.textContent;
  };
  const compare = (a, b) => {
    const [p, q] = [key(a), key(b)];
    if (p === null || q === null) return (p === null) - (q === null);
    return sign * (isFigure ? p - q : p.localeCompare(q, "en", { numeric: true }));
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

const choice = document.querySelector("#measure");
function draw() {
  boxes(choice.value);
  costs(choice.value);
}
choice.addEventListener("change", draw);
document.querySelector("#plots").hidden = false;
draw();
