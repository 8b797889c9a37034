// The page: what is clicked and dropped, and what the network's worker answers.

import { Analyser } from "./analysis.js";
import * as live from "./live.js";
import { Player } from "./player.js";
import { Problem } from "./problem.js";
import { fromFile, joined, record } from "./recording.js";
import { COLOURS, COLUMNS, Picture } from "./view.js";
import { header, to16Bits } from "./wav.js";

const $ = (id) => document.getElementById(id);
const LACKS_ON_GPU = ["RFFT2D"]; // operators without a WebGPU kernel
const SCROLL_SECONDS = 0.0125; // a column of what comes live

// What the page knows now; exported so that it can be looked at from a console.
export const state = {
  cards: [], card: null, interchangeable: false, worker: null, runs: "", loaded: null, recording: null, file: null, job: 0, done: false,
  player: null, tracks: [], recorder: null, live: null,
};

begin().catch(fail);

async function begin() {
  const index = await json("page.json");
  state.cards = await Promise.all(index.cards.map((path) => json(path)));
  state.interchangeable = index.interchangeable;
  const { name, summary, sample_rate: rate, stream, sources, block_samples: block } = state.cards[0];
  document.title = $("title").textContent = name;
  $("summary").textContent = summary ?? "";
  const blocks = stream ? "from its first sample to its last" : `in blocks of ${(block / rate).toFixed(1)} s`;
  $("hint").textContent = `Any length, ${blocks}, to ${sources.join(", ")} at ${rate / 1000} kHz.`;
  const oneVoice = stream && sources.length === 1 && state.cards[0].channels === 1;
  for (const element of [$("live"), $("as-live")]) element.hidden = !oneVoice;
  $("as-live").disabled = true;
  for (const [i, card] of state.cards.entries()) {
    const file = card.files[card.stream?.twin ?? Object.keys(card.files)[0]];
    $("model").add(new Option(`${card.stream ? "fp32" : card.precision}, ${(file.bytes / 1e6).toFixed(1)} MB`, i));
  }
  listen();
  await chooseNetwork();
}

async function json(path) {
  const response = await fetch(path).catch(() => null);
  if (!response?.ok) throw new Problem(`${path} is not on the server.`);
  return response.json().catch(() => { throw new Problem(`${path} is broken.`); });
}

// --- the network ---------------------------------------------------------------------------------

async function chooseNetwork() {
  state.card = state.cards[$("model").value];
  const lacking = LACKS_ON_GPU.filter((name) => name in (state.card.operators ?? {}));
  const wanted = $("processor").value || "wasm";
  $("processor").replaceChildren(new Option("WebAssembly", "wasm"));
  let reason = "";
  if (!navigator.gpu) reason = "not in this browser";
  else if (state.card.stream) reason = "hops are too short for it";
  else if (lacking.length) reason = `it has no ${lacking.join(", ")}`;
  const gpu = new Option(reason ? `WebGPU: ${reason}` : "WebGPU", "webgpu");
  gpu.disabled = Boolean(reason);
  $("processor").add(gpu);
  $("processor").value = reason ? "wasm" : wanted;
  await loadNetwork();
}

// A new worker each time: what failed leaves nothing behind.
async function loadNetwork() {
  state.worker?.terminate();
  const worker = (state.worker = new Worker(new URL("./worker.js", import.meta.url)));
  worker.onmessage = ({ data }) => worker === state.worker && answers[data.type]?.(data);
  worker.onerror = (event) => fail(new Problem(`The network's worker stopped: ${event.message || "out of memory?"}`));
  $("runtime").textContent = "Loading the network …";
  state.loaded = new Promise((resolve, reject) => Object.assign(worker, { resolve, reject }));
  state.loaded.catch(() => {}); // "failed" says it
  const folder = new URL("models/", document.baseURI).href;
  worker.postMessage({ type: "load", card: state.card, folder, accelerator: $("processor").value });
  await state.loaded.catch(() => {});
}

const answers = {
  loaded({ accelerator, threads, note }) {
    if (accelerator !== $("processor").value) $("processor").value = accelerator;
    const alone = crossOriginIsolated || state.card.stream ? "" : " (more need the server's headers COOP and COEP)";
    state.runs = accelerator === "webgpu" ? "Ready" : `Ready, ${threads} ${threads > 1 ? "threads" : "thread"}${alone}`;
    $("runtime").textContent = [state.runs, note].filter(Boolean).join("; ");
    state.worker.resolve();
  },
  piece(data) {
    if (data.job !== state.job) return;
    state.player.add({ start: data.start, count: data.count, sounds: data.sounds });
    const columns = Math.min(COLUMNS, state.recording.samples);
    data.columns.forEach((part, i) => state.tracks[i].picture.add(part, columns));
    const rate = state.card.sample_rate, whole = state.recording.samples;
    const left = (data.seconds * (whole - data.done)) / data.done;
    progress(data.done / whole, `${clock(data.done / rate)} of ${clock(whole / rate)}, ${(data.done / rate / data.seconds).toFixed(1)} × real time, ${left < 1 ? "under 1" : Math.round(left)} s left`);
    $("seek").max = data.done / rate;
    if (data.note) $("runtime").textContent = `${state.runs}; ${data.note}`;
    $("result").hidden = false;
  },
  done(data) {
    if (data.job !== state.job) return;
    const seconds = state.recording.samples / state.card.sample_rate;
    state.done = true;
    finished(`${clock(seconds)} in ${data.seconds.toFixed(1)} s`);
  },
  failed({ of, message }) {
    if (of === "load") {
      $("runtime").textContent = "No network";
      state.worker.reject(new Problem(message));
    }
    fail(new Problem(message));
    if (of === "separate") loadNetwork();
  },
};

// --- a recording ---------------------------------------------------------------------------------

async function open(file) {
  await halt();
  say("");
  Object.assign(state, { file, recording: null, done: false });
  $("result").hidden = true;
  working(`Reading ${file.name} …`);
  const recording = await fromFile(file, state.card.sample_rate);
  $("as-live").disabled = false;
  await separate(recording);
}

async function separate(recording) {
  state.recording = recording;
  const job = ++state.job;
  working("Waiting for the network …");
  await state.loaded;
  if (job !== state.job) return;
  await showTracks(["original", ...state.card.sources], recording.channels);
  progress(0, `0:00.0 of ${clock(recording.samples / state.card.sample_rate)}`);
  const { open: opened, transfer } = recording;
  // Samples that went to a worker are gone here: another network reads the file again.
  recording.open = null;
  state.worker.postMessage({ type: "open", ...opened }, transfer);
  state.worker.postMessage({ type: "separate", job, columns: COLUMNS, interchangeable: state.interchangeable });
  $("facts").textContent = recording.note ?? "";
}

async function again() {
  await halt();
  await chooseNetwork();
  if (state.file) await open(state.file);
}

async function halt() {
  state.job++;
  state.worker?.postMessage({ type: "cancel" });
  if (state.recorder) await state.recorder.stop().catch(() => {});
  state.recorder = null;
  $("record").textContent = "Record";
  if (state.live) stopLive();
  $("running").hidden = true;
}

// --- the tracks ----------------------------------------------------------------------------------

async function showTracks(names, width) {
  state.tracks.forEach(({ picture }) => picture.remove());
  $("tracks").replaceChildren();
  state.tracks = names.map((name, i) => {
    const element = $("track").content.cloneNode(true).firstElementChild;
    const find = (selector) => element.querySelector(selector);
    const track = { name, element, gain: 0, solo: false, mute: i === 0, cursor: find(".cursor") };
    element.style.setProperty("--colour", COLOURS[i % COLOURS.length]);
    find("h2").textContent = name;
    track.picture = new Picture(find("canvas"), COLOURS[i % COLOURS.length]);
    for (const what of ["solo", "mute"]) {
      const button = find(`.${what}`);
      button.setAttribute("aria-label", `${button.textContent} ${name}`);
      button.setAttribute("aria-pressed", track[what]);
      button.onclick = () => {
        track[what] = !track[what];
        button.setAttribute("aria-pressed", track[what]);
        applyGains();
      };
    }
    const slider = find(".gain input");
    slider.setAttribute("aria-label", `Gain of ${name} in dB`);
    slider.oninput = () => {
      track.gain = Number(slider.value);
      find(".gain output").textContent = `${track.gain} dB`;
      applyGains();
    };
    find(".save").setAttribute("aria-label", `Download ${name}`);
    find(".save").onclick = () => save(i).catch(fail);
    find(".picture").onclick = (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      seek(((event.clientX - box.left) / box.width) * state.recording.samples);
    };
    $("tracks").append(element);
    return track;
  });
  if (!state.player) {
    const context = new AudioContext({ sampleRate: state.card.sample_rate });
    state.player = await Player.on(context, moved);
  }
  state.player.reset(width);
  showPlaying();
  applyGains();
  moved({ position: 0 });
  $("drop").classList.add("full");
  $("length").textContent = state.recording ? clock(state.recording.samples / state.card.sample_rate) : "";
}

function applyGains() {
  const soloed = state.tracks.some(({ solo }) => solo);
  const gains = state.tracks.map(({ solo, mute, gain }) => (soloed ? solo : !mute) ? 10 ** (gain / 20) : 0);
  state.tracks.forEach(({ element }, i) => element.classList.toggle("silent", !gains[i]));
  state.player?.setGains(gains);
}

function moved({ position, waiting }) {
  const rate = state.card.sample_rate, whole = state.recording?.samples || 1;
  $("clock").textContent = clock(position / rate);
  if (document.activeElement !== $("seek") || state.player.playing) $("seek").value = position / rate;
  $("seek").setAttribute("aria-valuetext", clock(position / rate));
  for (const { cursor } of state.tracks) cursor.style.left = `${(100 * position) / whole}%`;
  if (waiting && state.done && position >= state.player.length) togglePlay(false).then(() => seek(0));
}

async function togglePlay(on = !state.player?.playing) {
  if (!state.player || $("result").hidden) return;
  if (on) await state.player.context.resume();
  await state.player.play(on);
  showPlaying();
}

function showPlaying() {
  const on = Boolean(state.player?.playing);
  $("play").classList.toggle("playing", on);
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
}

function seek(sample) {
  state.player.seek(Math.round(sample));
  moved({ position: state.player.position });
}

// The pieces are Blobs, which the browser keeps where it likes: a stem is never in memory as a whole.
async function save(index) {
  const { player: { pieces, width, length }, card } = state, depth = $("depth").value === "16" ? 16 : "float";
  let parts = pieces.map(({ sounds }) => sounds[index]);
  if (depth === 16) {
    const narrow = [];
    for (const part of parts) narrow.push(new Blob([to16Bits(new Float32Array(await part.arrayBuffer()))]));
    parts = narrow;
  }
  const file = new Blob([header(length, width, card.sample_rate, depth), ...parts], { type: "audio/wav" });
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(file), download: `${state.recording.name}_${state.tracks[index].name}.wav`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// --- the microphone ------------------------------------------------------------------------------

async function toggleRecord() {
  if (state.recorder) {
    const { recorder } = state;
    state.recorder = null;
    $("record").textContent = "Record";
    const samples = await recorder.stop();
    const bytes = [header(samples.length, 1, state.card.sample_rate, "float"), samples];
    await open(new File(bytes, "recording.wav"));
    return;
  }
  await halt();
  say("");
  state.recorder = await record(state.card.sample_rate, (seconds) => {
    if (state.recorder) working(`Recording, ${clock(seconds)}`);
  });
  $("record").textContent = "Stop recording";
}

async function startLive(file) {
  await halt();
  say("");
  await state.loaded;
  const rate = state.card.sample_rate, step = Math.round(SCROLL_SECONDS * rate);
  state.recording = null;
  await showTracks(["original", ...state.card.sources], 1);
  const analysers = state.tracks.map(() => new Analyser(1e7 * step, rate, 1e7));
  const heard = [[], []];
  $("facts").textContent = "";
  const onPiece = ({ noisy, clean, seconds, latency, gaps, milliseconds }) => {
    heard[0].push(noisy);
    heard[1].push(clean);
    [noisy, clean].forEach((sound, i) => state.tracks[i].picture.scroll(analysers[i].push(sound)));
    const hop = (1000 * state.card.stream.hop_length) / rate;
    facts({
      "Latency": `${Math.round((1000 * latency) / rate)} ms, with the devices ${Math.round(1000 * seconds)} ms`,
      "Slowest hop": `${milliseconds.toFixed(1)} of ${hop.toFixed(0)} ms`,
      "Gaps": gaps,
    });
  };
  facts({ "Latency": "…" });
  $("result").hidden = false;
  $("result").classList.add("at-work");
  $("live-panel").hidden = false;
  $("howl").hidden = Boolean(file);
  $("drop").hidden = true;
  state.live = { heard, running: null };
  try {
    state.live.running = await live.start(state.worker, state.card, file, { onPiece, onEnd: () => stopLive() });
  } catch (error) {
    stopLive();
    throw error;
  }
  hear(true);
}

// What was heard live becomes tracks like those of any recording.
function stopLive() {
  if (!state.live) return;
  const { heard, running } = state.live;
  state.live = null;
  running?.stop();
  $("live-panel").hidden = true;
  $("drop").hidden = false;
  $("result").classList.remove("at-work");
  const sounds = heard.map(joined), samples = sounds[0].length;
  if (!samples) {
    $("result").hidden = true;
    return;
  }
  state.recording = { name: "live", samples, channels: 1 };
  state.done = true;
  state.player.add({ start: 0, count: samples, sounds: sounds.map((sound) => new Blob([sound])) });
  sounds.forEach((sound, i) => {
    const analyser = new Analyser(samples, state.card.sample_rate, COLUMNS), { picture } = state.tracks[i];
    picture.filled = 0;
    picture.add(analyser.push(sound), Math.min(COLUMNS, samples));
  });
  $("seek").max = samples / state.card.sample_rate;
  $("length").textContent = clock(samples / state.card.sample_rate);
  finished("");
}

function hear(clean) {
  state.live?.running?.hear(clean);
  $("hear-clean").setAttribute("aria-pressed", clean);
  $("hear-noisy").setAttribute("aria-pressed", !clean);
}

// --- what is said --------------------------------------------------------------------------------

function facts(pairs) {
  $("latency").replaceChildren(...Object.entries(pairs).map(([name, value]) => {
    const group = document.createElement("div");
    group.append(Object.assign(document.createElement("dt"), { textContent: name }));
    group.append(Object.assign(document.createElement("dd"), { textContent: value }));
    return group;
  }));
}

function say(line) {
  $("message").textContent = line;
}

function fail(error) {
  if (!(error instanceof Problem)) console.error(error);
  $("running").hidden = true;
  say(error instanceof Problem ? error.message : `Something went wrong: ${error.message ?? error}`);
}

function working(stage) {
  $("running").hidden = false;
  $("progress").removeAttribute("value");
  $("stage").textContent = stage;
}

function progress(share, stage) {
  $("running").hidden = false;
  $("progress").value = share;
  $("stage").textContent = stage;
}

function finished(line) {
  $("running").hidden = true;
  $("facts").textContent = [line, state.recording.note].filter(Boolean).join("; ");
  state.tracks.forEach(({ element }) => { element.querySelector(".save").disabled = false; });
}

function clock(seconds) {
  const tenths = Math.round(10 * seconds), minutes = Math.floor(tenths / 600);
  return `${minutes}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}

// --- what is done --------------------------------------------------------------------------------

function listen() {
  const guarded = (action) => (...words) => action(...words)?.catch?.(fail);
  $("file").onchange = guarded(async ({ target }) => {
    const [file] = target.files;
    target.value = ""; // the same file may be chosen again
    if (file) await open(file);
  });
  for (const kind of ["dragenter", "dragover"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      $("drop").classList.add("over");
    });
  }
  addEventListener("dragleave", (event) => event.relatedTarget ?? $("drop").classList.remove("over"));
  addEventListener("drop", guarded(async (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (!file) throw new Problem("What was dropped is no file.");
    await open(file);
  }));
  $("model").onchange = guarded(again);
  $("processor").onchange = guarded(again);
  $("cancel").onclick = guarded(async () => {
    await halt();
    if (!$("result").hidden && !state.done) $("facts").textContent = "Cancelled; what is there can be played.";
  });
  $("record").onclick = guarded(toggleRecord);
  $("live").onclick = guarded(() => startLive(null));
  $("as-live").onclick = guarded(() => startLive(state.file));
  $("stop").onclick = () => stopLive();
  $("hear-clean").onclick = () => hear(true);
  $("hear-noisy").onclick = () => hear(false);
  $("play").onclick = guarded(() => togglePlay());
  $("seek").oninput = ({ target }) => seek(target.value * state.card.sample_rate);
  addEventListener("keydown", (event) => {
    if (event.code !== "Space" || event.target.closest("button, input, select, a, label")) return;
    event.preventDefault();
    guarded(togglePlay)();
  });
}
