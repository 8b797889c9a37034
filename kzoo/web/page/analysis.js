// What is drawn of a sound: peaks and a spectrogram, column by column, computed from its samples.

export const ROWS = 96; // of a column of the spectrogram, the lowest frequency first
const LOWEST_HZ = 50, FLOOR_DB = -90, TOP_DB = -10;

// Columns of a sound of known length that comes piece by piece.
export class Analyser {
  constructor(samples, sampleRate, columns) {
    this.size = sampleRate > 24000 ? 2048 : 1024;
    this.samples = samples;
    this.columns = Math.max(1, Math.min(columns, samples));
    this.window = Float64Array.from({ length: this.size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / this.size));
    this.edges = rowEdges(sampleRate, this.size);
    this.tail = new Float32Array(0); // from sample `tailStart` on
    this.tailStart = 0;
    this.next = 0;
  }

  edge(column) {
    return Math.round((column * this.samples) / this.columns);
  }

  // {first, peaks: [low, high per column], rows: Uint8Array[columns * ROWS]} of what is complete now.
  push(mono) {
    const all = new Float32Array(this.tail.length + mono.length);
    all.set(this.tail); all.set(mono, this.tail.length);
    const end = this.tailStart + all.length, half = this.size / 2, first = this.next;
    const peaks = [], rows = [];
    for (; this.next < this.columns; this.next++) {
      const from = this.edge(this.next), to = Math.max(from + 1, this.edge(this.next + 1));
      const centre = (from + to) >> 1;
      if (Math.min(Math.max(to, centre + half), this.samples) > end) break;
      let low = Infinity, high = -Infinity;
      for (let i = from - this.tailStart; i < to - this.tailStart; i++) {
        if (all[i] < low) low = all[i];
        if (all[i] > high) high = all[i];
      }
      peaks.push(low, high);
      rows.push(this.column(all, centre - half - this.tailStart));
    }
    const keep = Math.max(0, Math.min(this.edge(this.next), ((this.edge(this.next) + this.edge(this.next + 1)) >> 1) - half) - this.tailStart);
    this.tail = all.slice(keep);
    this.tailStart += keep;
    const joined = new Uint8Array(rows.length * ROWS);
    rows.forEach((row, i) => joined.set(row, i * ROWS));
    return { first, peaks: Float32Array.from(peaks), rows: joined };
  }

  column(all, from) {
    const real = new Float64Array(this.size), imaginary = new Float64Array(this.size);
    for (let i = 0; i < this.size; i++) real[i] = (all[from + i] ?? 0) * this.window[i];
    fft(real, imaginary);
    const out = new Uint8Array(ROWS), scale = (4 / this.size) ** 2;
    for (let row = 0; row < ROWS; row++) {
      let power = 0;
      const end = Math.max(this.edges[row + 1], this.edges[row] + 1); // a row without a bin shows the next
      for (let k = this.edges[row]; k < end; k++) {
        power = Math.max(power, real[k] * real[k] + imaginary[k] * imaginary[k]);
      }
      const level = 10 * Math.log10(power * scale + 1e-12);
      out[row] = Math.max(0, Math.min(255, (255 * (level - FLOOR_DB)) / (TOP_DB - FLOOR_DB)));
    }
    return out;
  }
}

// The first bin of each row, on a logarithmic scale as far as there are bins enough.
function rowEdges(sampleRate, size) {
  const highest = sampleRate / 2, edges = [];
  for (let row = 0; row <= ROWS; row++) {
    const hz = LOWEST_HZ * (highest / LOWEST_HZ) ** (row / ROWS);
    edges.push(Math.min(size / 2, Math.max(Math.round((hz * size) / sampleRate), 1)));
  }
  return edges;
}

// In place, radix 2.
export function fft(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let length = 2; length <= n; length <<= 1) {
    const half = length >> 1, angle = (-2 * Math.PI) / length;
    for (let k = 0; k < half; k++) {
      const c = Math.cos(angle * k), s = Math.sin(angle * k);
      for (let i = k; i < n; i += length) {
        const j = i + half;
        const re = real[j] * c - imaginary[j] * s, im = real[j] * s + imaginary[j] * c;
        real[j] = real[i] - re; imaginary[j] = imaginary[i] - im;
        real[i] += re; imaginary[i] += im;
      }
    }
  }
}

// The mean of interleaved channels.
export function mono(values, channels) {
  if (channels === 1) return values;
  const out = new Float32Array(values.length / channels);
  for (let i = 0; i < out.length; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += values[i * channels + c];
    out[i] = sum / channels;
  }
  return out;
}
