// A stream on sound as it comes, from the microphone or from a recording that is played.

import { decoded, microphone, sourceOf } from "./recording.js";

// worker: of a loaded network with a stream. file: a recording, or null for the microphone.
// onPiece: called with what live-worklet.js says, and `seconds` of latency with that of the devices.
export async function start(worker, card, file, { onPiece, onEnd }) {
  const rate = card.sample_rate, stream = file ? null : await microphone();
  const context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
  const close = () => {
    stream?.getTracks().forEach((track) => track.stop());
    if (context.state !== "closed") context.close();
    worker.postMessage({ type: "cancel" });
  };
  try {
    await context.audioWorklet.addModule(new URL("./live-worklet.js", import.meta.url));
    const { frames, hop_length, delay_samples: late } = card.stream, hop = frames * hop_length;
    const node = new AudioWorkletNode(context, "live", { outputChannelCount: [2], processorOptions: { hop, late } });
    const { port1, port2 } = new MessageChannel();
    worker.postMessage({ type: "live", port: port1 }, [port1]);
    node.port.postMessage({ port: port2 }, [port2]);
    node.port.onmessage = ({ data }) => {
      const devices = (context.baseLatency || 0) + (context.outputLatency || 0);
      onPiece({ ...data, seconds: data.latency / rate + devices });
    };
    const source = file
      ? new AudioBufferSourceNode(context, { buffer: await decoded(file, rate) })
      : sourceOf(context, stream);
    source.connect(node).connect(context.destination);
    if (file) {
      source.onended = () => setTimeout(onEnd, 500); // what is still on its way is heard
      source.start();
    }
    await context.resume();
    return { hear: (clean) => node.port.postMessage({ clean }), stop: close };
  } catch (error) {
    close();
    throw error;
  }
}
