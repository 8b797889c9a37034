// The network's worker: a classic script, as LiteRT.js calls importScripts; its parts are modules.
// Messages are {type, ...}; answers are too, and "failed" has one line for the user.

let parts = null, network = null, recording = null, card = null, job = 0, live = null, gpuNote = null;

self.onmessage = async ({ data }) => {
  try {
    parts ??= await modules();
    await handlers[data.type](data);
  } catch (error) {
    const known = parts && error instanceof parts.Problem;
    if (!known) console.error(error);
    const line = known ? error.message : `Something went wrong: ${error.message ?? error}`;
    self.postMessage({ type: "failed", of: data.type, message: line });
  }
};

async function modules() {
  const names = ["problem", "network", "blocks", "analysis", "wav"];
  const loaded = await Promise.all(names.map((name) => import(`./${name}.js`)));
  return Object.assign({}, ...loaded);
}

const handlers = {
  // card; folder: URL of its files; accelerator: "wasm" or "webgpu".
  async load(data) {
    card = data.card;
    parts.joiningOf(card);
    const threads = await parts.loadRuntime(card, data.accelerator);
    const name = card.stream?.twin ?? Object.keys(card.files)[0];
    const bytes = await fetched(new URL(name, data.folder), card.files[name]);
    if (data.accelerator === "webgpu") await loadOnGpu(bytes);
    network ??= await parts.Network.load(bytes, card, "wasm");
    self.postMessage({ type: "loaded", accelerator: network.accelerator, threads, note: gpuNote });
  },

  // file and wav: samples that are read from the disk as they are needed; or channels: Float32Arrays.
  open(data) {
    const { file, wav, channels } = data;
    recording = wav
      ? { samples: wav.samples, channels: wav.channels, read: (start, count) => parts.read(file, wav, start, count) }
      : { samples: channels[0].length, channels: channels.length,
          read: async (start, count) => channels.map((c) => c.subarray(start, start + count)) };
  },

  async separate({ job: number, columns, interchangeable }) {
    job = number;
    if (!network) throw new parts.Problem("The network is not loaded.");
    const width = recording.channels, rate = card.sample_rate;
    const tracks = ["original", ...card.sources];
    const analysers = tracks.map(() => new parts.Analyser(recording.samples, rate, columns));
    const gain = await parts.gainOf(recording, card);
    const through = card.stream
      ? parts.asStream(() => network.stream(), recording, card, gain)
      : parts.inBlocks((values) => checked(values), recording, card, gain, interchangeable);
    const begun = performance.now();
    let done = 0;
    for await (const { start, stems } of through) {
      const count = stems[card.sources[0]].length / width;
      const heard = await recording.read(start, count);
      if (heard.some((channel) => !channel.every(Number.isFinite))) {
        throw new parts.Problem("The recording has samples that are no numbers.");
      }
      const mixture = new Float32Array(count * width);
      for (let c = 0; c < width; c++) for (let i = 0; i < count; i++) mixture[i * width + c] = heard[c][i];
      const sounds = [mixture, ...card.sources.map((source) => stems[source])];
      done = start + count;
      self.postMessage({
        type: "piece", job, start, count, done, seconds: (performance.now() - begun) / 1000, note: gpuNote,
        sounds: sounds.map((sound) => new Blob([sound])),
        columns: sounds.map((sound, i) => analysers[i].push(parts.mono(sound, width))),
      });
      await new Promise((resolve) => setTimeout(resolve)); // a "cancel" may have come
      if (job !== number) return;
    }
    self.postMessage({ type: "done", job, seconds: (performance.now() - begun) / 1000 });
  },

  cancel() {
    job = 0;
    live = null;
  },

  // Hops come through `port` as {hop: Float32Array}, and go back the same way.
  async live({ port }) {
    const step = network.stream(), session = (live = {});
    let waiting = Promise.resolve();
    port.onmessage = ({ data }) => {
      waiting = waiting.then(async () => {
        if (live !== session) return;
        const begun = performance.now();
        const clean = (await step(data.hop))[card.sources[0]];
        port.postMessage({ hop: clean, milliseconds: performance.now() - begun }, [clean.buffer]);
      }).catch((error) => self.postMessage({ type: "failed", of: "live", message: error.message }));
    };
    self.postMessage({ type: "live" });
  },
};

// Leaves `network` null where WebGPU cannot run it, and says why.
async function loadOnGpu(bytes) {
  try {
    network = await parts.Network.load(bytes, card, "webgpu");
    if (network.accelerator === "webgpu") network.check = await parts.Network.load(bytes, card, "wasm");
    else gpuNote = "WebGPU lacks an operator of this network";
  } catch (error) {
    if (!(error instanceof parts.Problem)) throw error;
    gpuNote = `not on WebGPU: ${error.message}`;
  }
}

// The first block on WebGPU is compared with WebAssembly's, which goes on where they differ.
async function checked(values) {
  const reference = network.check;
  if (!reference) return network.block(values);
  network.check = null;
  const expected = await reference.block(values);
  let found = null, signal = 0, error = 0;
  try {
    found = await network.block(values);
  } catch (problem) {
    network = reference;
    gpuNote = `WebGPU failed, and WebAssembly runs instead: ${problem.message}`;
    return expected;
  }
  for (const source of card.sources) {
    for (let i = 0; i < values.length; i++) {
      signal += expected[source][i] ** 2;
      error += (expected[source][i] - found[source][i]) ** 2;
    }
  }
  const level = 10 * Math.log10(signal / error);
  if (!(level >= 60 || error === 0)) {
    network.delete();
    network = reference;
    gpuNote = `WebGPU differed from WebAssembly (${Number.isNaN(level) ? "no numbers" : `${level.toFixed(0)} dB`}), which runs instead`;
    return expected;
  }
  reference.delete();
  gpuNote = `first block: WebGPU within ${level.toFixed(0)} dB of WebAssembly`;
  return found;
}

// A file whose bytes are those that the card names.
async function fetched(url, { sha256 }) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) throw new parts.Problem(`${url.pathname.split("/").pop()} is not on the server.`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (crypto.subtle) { // of localhost and https
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (found !== sha256) {
      throw new parts.Problem(`${url.pathname.split("/").pop()} is broken or another file: its card names other bytes.`);
    }
  }
  return bytes;
}
