// Files and the microphone to samples at the network's rate.

import { Problem } from "./problem.js";
import { describe } from "./wav.js";

// {name, samples, channels, note, open}: `open` is what the worker is told, and `transfer` goes with it.
// A WAV at the rate is read from the disk piece by piece; everything else is decoded at once.
export async function fromFile(file, sampleRate) {
  if (!file.size) throw new Problem(`${file.name} is empty.`);
  const wav = await describe(file).catch(() => null);
  if (wav && !wav.samples) throw new Problem(`${file.name} has no sound in it.`);
  if (wav?.sampleRate === sampleRate && wav.channels <= 2) {
    return { name: stem(file.name), samples: wav.samples, channels: wav.channels, open: { file, wav }, transfer: [] };
  }
  const buffer = await decoded(file, sampleRate);
  const mixed = buffer.numberOfChannels > 2 ? await toStereo(buffer) : buffer;
  const channels = Array.from({ length: mixed.numberOfChannels }, (_, c) => mixed.getChannelData(c).slice());
  return {
    name: stem(file.name), samples: mixed.length, channels: channels.length,
    note: mixed === buffer ? "" : `its ${buffer.numberOfChannels} channels were mixed to two`,
    open: { channels }, transfer: channels.map((channel) => channel.buffer),
  };
}

// An AudioBuffer of any file that the browser decodes, resampled by it.
export async function decoded(file, sampleRate) {
  let bytes;
  try {
    bytes = await file.arrayBuffer();
  } catch {
    throw new Problem(`${file.name} cannot be read, or is too long to decode at once; a WAV at ${sampleRate} Hz is read piece by piece.`);
  }
  try {
    const buffer = await new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(bytes);
    if (buffer.length) return buffer;
  } catch (error) {
    if (error instanceof RangeError) {
      throw new Problem(`${file.name} is too long to decode at once; a WAV at ${sampleRate} Hz is read piece by piece.`);
    }
    throw new Problem(`${file.name} is no sound that this browser can decode.`);
  }
  throw new Problem(`${file.name} has no sound in it.`);
}

async function toStereo(buffer) {
  const context = new OfflineAudioContext(2, buffer.length, buffer.sampleRate);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return context.startRendering();
}

function stem(name) {
  return name.replace(/\.[^.]*$/, "") || name;
}

// The microphone as it is: no echo canceller, noise suppressor or gain control of the browser.
export async function microphone() {
  if (!navigator.mediaDevices) throw new Problem("The microphone needs a page from https or localhost.");
  const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    const reason = { NotAllowedError: "may not be used by this page", NotFoundError: "is not there" };
    throw new Problem(`The microphone ${reason[error.name] ?? `cannot be opened (${error.name})`}.`);
  }
}

// A node of the stream in a context of the rate.
export function sourceOf(context, stream) {
  try {
    return new MediaStreamAudioSourceNode(context, { mediaStream: stream });
  } catch {
    throw new Problem(`This browser cannot bring the microphone to ${context.sampleRate} Hz; record a file instead.`);
  }
}

// Records one channel until `stop`, which gives its samples.
export async function record(sampleRate, onSeconds) {
  const stream = await microphone();
  const context = new AudioContext({ sampleRate });
  try {
    await context.audioWorklet.addModule(new URL("./live-worklet.js", import.meta.url));
    const source = sourceOf(context, stream);
    const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
    const pieces = [];
    let samples = 0;
    tap.port.onmessage = ({ data }) => {
      pieces.push(data);
      samples += data.length;
      onSeconds(samples / sampleRate);
    };
    source.connect(tap);
    return {
      async stop() {
        stream.getTracks().forEach((track) => track.stop());
        await context.close();
        if (!samples) throw new Problem("The microphone gave no sound.");
        return joined(pieces);
      },
    };
  } catch (error) {
    stream.getTracks().forEach((track) => track.stop());
    context.close();
    throw error;
  }
}

export function joined(pieces) {
  const out = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
