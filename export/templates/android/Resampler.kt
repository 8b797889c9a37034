package kzoo

/**
 * From one sample rate to another by a windowed sine, 32 samples wide on each side.
 *
 * Takes interleaved samples piece by piece; what comes out is as long as what went in, by the rates.
 */
class Resampler(private val from: Int, private val to: Int, private val channels: Int) {
    private val step = from.toDouble() / to
    private val cutoff = minOf(1.0, to.toDouble() / from) * 0.97
    private var heard = FloatArray(0)
    private var first = 0L // the sample that `heard` begins with
    private var taken = 0L
    private var given = 0L

    /** The next samples in, what can be said of them out. */
    fun push(samples: FloatArray): FloatArray {
        if (from == to) return samples
        heard += samples
        taken += samples.size / channels
        return upTo(((taken - WIDTH) / step).toLong())
    }

    /** What is left, at the end. */
    fun finish(): FloatArray =
        if (from == to) FloatArray(0) else upTo((taken * to + from - 1) / from)

    private fun upTo(end: Long): FloatArray {
        if (end <= given) return FloatArray(0)
        val out = FloatArray(((end - given) * channels).toInt())
        var index = 0
        while (given < end) {
            val at = given * step
            val middle = Math.floor(at).toLong()
            for (k in middle - WIDTH + 1..middle + WIDTH) {
                if (k < first || k >= taken) continue
                val weight = weight(at - k)
                val place = ((k - first) * channels).toInt()
                for (c in 0 until channels) out[index + c] += (weight * heard[place + c]).toFloat()
            }
            index += channels
            given += 1
        }
        val keep = Math.floor(given * step).toLong() - WIDTH
        if (keep > first) {
            heard = heard.copyOfRange(minOf((keep - first) * channels, heard.size.toLong()).toInt(), heard.size)
            first = minOf(keep, taken)
        }
        return out
    }

    private fun weight(distance: Double): Double {
        val x = Math.PI * cutoff * distance
        val sine = if (Math.abs(x) < 1e-9) 1.0 else Math.sin(x) / x
        val window = Math.cos(0.5 * Math.PI * distance / WIDTH)
        return if (Math.abs(distance) >= WIDTH) 0.0 else cutoff * sine * window * window
    }

    private companion object {
        const val WIDTH = 32
    }
}
