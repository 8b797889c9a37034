// WAV files: where their samples lie, and headers of 16-bit and float ones.

const FORMATS = {
  "1/8": { bytes: 1, read: (view, at) => (view.getUint8(at) - 128) / 128 },
  "1/16": { bytes: 2, read: (view, at) => view.getInt16(at, true) / 32768 },
  "1/24": { bytes: 3, read: (view, at) => ((view.getInt8(at + 2) << 16) | view.getUint16(at, true)) / 8388608 },
  "1/32": { bytes: 4, read: (view, at) => view.getInt32(at, true) / 2147483648 },
  "3/32": { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
};

// {sampleRate, channels, samples, offset, format} of a WAV of PCM or floats; null of any other file.
// `samples` are those that are there, whatever the header promises.
export async function describe(file) {
  let at = 12, found = null;
  const word = (view, place) => String.fromCharCode(...new Uint8Array(view.buffer, place, 4));
  const slice = async (from, bytes) => new DataView(await file.slice(from, from + bytes).arrayBuffer());
  const head = await slice(0, 12);
  if (head.byteLength < 12 || word(head, 0) !== "RIFF" || word(head, 8) !== "WAVE") return null;
  while (at + 8 <= file.size) {
    const chunk = await slice(at, 48);
    const name = word(chunk, 0), bytes = chunk.getUint32(4, true);
    if (name === "fmt " && chunk.byteLength >= 24) {
      let code = chunk.getUint16(8, true);
      if (code === 0xfffe && chunk.byteLength >= 34) code = chunk.getUint16(32, true); // WAVE_FORMAT_EXTENSIBLE
      const format = `${code}/${chunk.getUint16(22, true)}`;
      found = { channels: chunk.getUint16(10, true), sampleRate: chunk.getUint32(12, true), format };
      if (!(format in FORMATS) || !found.channels) return null;
    }
    if (name === "data") {
      if (!found) return null;
      const offset = at + 8, there = Math.min(bytes, file.size - offset);
      return { ...found, offset, samples: Math.floor(there / FORMATS[found.format].bytes / found.channels) };
    }
    at += 8 + bytes + (bytes % 2);
  }
  return null;
}

// Float32Arrays [channel][count] of `count` samples from `start` on, read from the disk.
export async function read(file, wav, start, count) {
  const { bytes, read: value } = FORMATS[wav.format];
  const frame = bytes * wav.channels;
  const from = wav.offset + start * frame;
  const view = new DataView(await file.slice(from, from + count * frame).arrayBuffer());
  return Array.from({ length: wav.channels }, (_, channel) => {
    const out = new Float32Array(count);
    for (let i = 0; i < count; i++) out[i] = value(view, i * frame + channel * bytes);
    return out;
  });
}

// The bytes before the samples of a file; depth: 16 or "float".
export function header(samples, channels, sampleRate, depth) {
  const bytes = depth === 16 ? 2 : 4, size = samples * channels * bytes;
  const float = depth !== 16, length = float ? 58 : 44;
  if (size + length > 0xffffffff) throw new Error("A WAV holds 4 GB, and this stem is longer.");
  const view = new DataView(new ArrayBuffer(length));
  const write = (place, text) => [...text].forEach((c, i) => view.setUint8(place + i, c.charCodeAt(0)));
  write(0, "RIFF"); view.setUint32(4, length - 8 + size, true); write(8, "WAVEfmt ");
  view.setUint32(16, float ? 18 : 16, true);
  view.setUint16(20, float ? 3 : 1, true); view.setUint16(22, channels, true);
  view.setUint32(24, sampleRate, true); view.setUint32(28, sampleRate * channels * bytes, true);
  view.setUint16(32, channels * bytes, true); view.setUint16(34, 8 * bytes, true);
  if (float) { // what is no PCM says how many samples there are
    write(38, "fact"); view.setUint32(42, 4, true); view.setUint32(46, samples, true);
  }
  write(length - 8, "data"); view.setUint32(length - 4, size, true);
  return view.buffer;
}

// Interleaved floats as 16-bit samples; what is beyond full scale is clipped.
export function to16Bits(values) {
  const out = new Int16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    out[i] = Math.max(-32768, Math.min(32767, Math.round(values[i] * 32768)));
  }
  return out;
}
