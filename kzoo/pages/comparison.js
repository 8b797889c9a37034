// Levels that are matched, and a blind test: systems as letters in an order that nobody knows.

const panel = Panel.all[0];
const button = (name) => document.getElementById(name);
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const tally = new Map(); // system: how often it was preferred, in all tests so far

for (const track of panel.tracks) {
  track.dataset.name = track.querySelector(".listen").textContent;
  const star = document.createElement("button");
  Object.assign(star, { type: "button", className: "prefer", textContent: "Prefer", hidden: true });
  star.setAttribute("aria-pressed", "false");
  star.addEventListener("click", () => prefer(track));
  track.querySelector(".controls").append(star);
}
const compared = [...document.querySelectorAll(".row")].slice(1); // below the mixture
const systems = [...new Set(compared.flatMap((row) => tracksOf(row).map((track) => track.dataset.name)))];

function tracksOf(row) {
  return [...row.querySelectorAll(".track")];
}

function setMatched(on) {
  panel.setMatched(on);
  button("match").setAttribute("aria-pressed", on);
}

// In each row the systems stand in the order of `names`, under the labels that `label` gives them.
function arrange(names, label) {
  for (const row of compared) {
    const tracks = tracksOf(row).sort((a, b) => names.indexOf(a.dataset.name) - names.indexOf(b.dataset.name));
    row.append(...tracks);
    for (const track of tracks) track.querySelector(".listen").textContent = label(track.dataset.name);
  }
}

function shuffled(names) {
  const drawn = names.map((name) => [crypto.getRandomValues(new Uint32Array(1))[0], name]);
  return drawn.sort((a, b) => a[0] - b[0]).map(([, name]) => name);
}

function begin() {
  const names = shuffled(systems);
  const heard = panel.tracks[panel.heard].closest(".row");
  document.body.classList.add("blind");
  button("reveal").hidden = false;
  button("verdict").textContent = "Choose what you prefer in any row, then reveal the names.";
  arrange(names, (name) => letters[names.indexOf(name)]);
  for (const row of compared) {
    row.hidden = tracksOf(row).length < systems.length; // it would tell who is missing
    for (const track of tracksOf(row)) mark(track, false).hidden = false;
  }
  setMatched(true); // of two sounds the louder is mostly preferred
  const row = compared.includes(heard) && !heard.hidden ? heard : compared.find((one) => !one.hidden);
  panel.hear(panel.tracks.indexOf(tracksOf(row)[0]));
}

function mark(track, on) {
  const star = track.querySelector(".prefer");
  star.setAttribute("aria-pressed", on);
  return star;
}

function prefer(track) {
  for (const other of tracksOf(track.closest(".row"))) mark(other, other === track);
}

function reveal() {
  if (!document.body.classList.contains("blind")) return;
  const chosen = panel.tracks.filter((track) => track.querySelector(".prefer[aria-pressed=true]"));
  for (const { dataset } of chosen) tally.set(dataset.name, (tally.get(dataset.name) ?? 0) + 1);
  const row = compared.find((one) => !one.hidden);
  const key = tracksOf(row).map((track) => `${track.querySelector(".listen").textContent} was ${track.dataset.name}`);
  const counts = systems.map((name) => `${name} ${tally.get(name) ?? 0}`);
  document.body.classList.remove("blind");
  button("reveal").hidden = true;
  for (const track of panel.tracks) track.querySelector(".prefer").hidden = true;
  for (const one of compared) one.hidden = false;
  arrange(systems, (name) => name);
  button("verdict").textContent = `${key.join(", ")}. Preferred: ${counts.join(", ")}.`;
}

button("match").addEventListener("click", () => setMatched(!panel.matched));
button("blind").addEventListener("click", begin);
button("reveal").addEventListener("click", reveal);
Object.assign(KEYS, { m: () => setMatched(!panel.matched), b: begin, r: reveal });
