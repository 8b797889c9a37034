// A .tflite of kzoo in LiteRT.js: a function of blocks, and of a stream's hops.

import { Problem } from "./problem.js";

const here = new URL("./litert/", import.meta.url).href;
let litert = null, threads = 1;

// Load LiteRT.js with threads where the page may share memory; returns how many there are. The hops of
// a stream are so short that threads would only wait for each other. WebGPU needs a build of its own,
// which waits by JSPI and has one thread.
export async function loadRuntime(card, accelerator) {
  litert = await import("./litert/index.js");
  const jspi = accelerator === "webgpu";
  if (jspi && !(await litert.supportsFeature("jspi"))) {
    throw new Problem("WebGPU needs JSPI (WebAssembly that waits for promises), which this browser lacks.");
  }
  const shared = !jspi && !card.stream && self.crossOriginIsolated && (await litert.supportsFeature("threads"))
    && (await litert.supportsFeature("relaxedSimd"));
  threads = shared ? Math.max(1, Math.min(8, navigator.hardwareConcurrency || 1)) : 1;
  // Its threads are workers, which must not begin with this worker's own script.
  const script = `${here}wasm/litert_wasm_threaded_internal.js`;
  self.Module = {
    locateFile: (name) => `${here}wasm/${name}`,
    mainScriptUrlOrBlob: script,
    printErr: (line) => console.debug(line), // it tells of each of its steps there
  };
  try {
    await litert.loadLiteRt(`${here}wasm/`, { threads: shared, jspi });
  } catch (error) {
    throw new Problem(`LiteRT.js could not be loaded: ${error.message ?? error}`);
  }
  return threads;
}

export class Network {
  constructor(model, card, signature) {
    this.model = model;
    this.card = card;
    this.signature = model.signatures[signature];
    if (!this.signature) {
      model.delete();
      throw new Problem(`The file has no signature ${signature}: it is not the one that its card tells of.`);
    }
    this.accelerator = model.options.accelerator;
  }

  // bytes: of the file; accelerator: "wasm" or "webgpu", which LiteRT.js may turn down.
  static async load(bytes, card, accelerator) {
    let model;
    try {
      const options = { accelerator, cpuOptions: { numThreads: threads }, gpuOptions: { precision: "fp32" } };
      model = await litert.loadAndCompile(bytes, options);
    } catch (error) {
      throw new Problem(`LiteRT.js cannot load this network: ${plain(error)}`);
    }
    return new Network(model, card, card.stream ? "step" : card.signature);
  }

  // Interleaved [block, channels] -> {source: the same shape}.
  async block(values) {
    const { input, channels, sources } = this.card;
    const found = await this.run({ [input]: new litert.Tensor(values, [values.length / channels, channels]) });
    return this.taken(found, sources);
  }

  // A stream that begins in silence: step(interleaved [hop, channels]) -> {source: the same shape}.
  // What comes out as state_... goes in with the next hop, without being copied.
  stream() {
    const { input, channels, sources, stream } = this.card;
    const held = {};
    for (const { name, shape } of this.signature.getInputDetails()) {
      if (!name.startsWith("state_")) continue;
      const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
      if (stream.begins_with?.[name]) values.set(stream.begins_with[name].flat(Infinity));
      held[name] = new litert.Tensor(values, [...shape]);
    }
    return async (hop) => {
      const waveform = new litert.Tensor(hop.slice(), [1, hop.length / channels, channels]);
      const found = await this.run({ ...held, [input]: waveform });
      for (const name of Object.keys(held)) {
        held[name] = found[name];
        delete found[name];
      }
      return this.taken(found, sources);
    };
  }

  async run(tensors) {
    try {
      return await this.signature.run(tensors);
    } catch (error) {
      throw new Problem(`The network failed: ${plain(error)}`);
    } finally {
      for (const tensor of Object.values(tensors)) tensor.delete();
    }
  }

  async taken(tensors, sources) {
    const found = {};
    for (const source of sources) found[source] = await tensors[source].data();
    for (const tensor of Object.values(tensors)) tensor.delete();
    return found;
  }

  delete() {
    this.model.delete();
  }
}

// What a runtime throws, on one line; memory that ran out is said as such.
function plain(error) {
  const text = String(error?.message ?? error).split("\n")[0].slice(0, 200);
  return /memory|OOM|allocat/i.test(text) ? `there is not enough memory (${text})` : text;
}
