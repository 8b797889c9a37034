
    /**
     * Hears the whole recording that [separate] is given next: it is brought to [LEVEL_DB], without its
     * pauses, for the network, and its stems back.
     *
     * @param read as that of [separate].
     */
    fun measure(read: (sound: FloatArray, at: Int, most: Int) -> Int) {
        // The mean power of the 50 ms that are at most 30 dB below the loudest, in classes of 1 dB.
        val frame = FloatArray(maxOf(1, SAMPLE_RATE / 20) * CHANNELS)
        val powers = java.util.TreeMap<Int, DoubleArray>()
        var more = true
        while (more) {
            var heard = 0
            while (heard < frame.size) {
                val numbers = read(frame, heard, frame.size - heard)
                if (numbers <= 0) break
                heard += numbers
            }
            more = heard == frame.size
            var power = 0.0
            for (i in 0 until heard) power += frame[i].toDouble() * frame[i]
            power /= frame.size // there is silence behind the end
            if (power <= 1e-14) continue
            val sum = powers.getOrPut(Math.floor(10 * Math.log10(power)).toInt()) { DoubleArray(2) }
            sum[0] += power
            sum[1] += 1.0
        }
        loud = powers.isNotEmpty()
        if (loud) {
            val near = powers.tailMap(powers.lastKey() - 30).values
            var power = 0.0
            var frames = 0.0
            for (sum in near) {
                power += sum[0]
                frames += sum[1]
            }
            val level = 10 * Math.log10(power / frames)
            deviation = Math.pow(10.0, (level - LEVEL_DB) / 20).toFloat()
        }
        measured = true
    }
