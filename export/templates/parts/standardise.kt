
    /**
     * Hears the whole recording that [separate] is given next: it is brought to mean 0 and deviation 1
     * for the network, and its stems back.
     *
     * @param read as that of [separate].
     */
    fun measure(read: (sound: FloatArray, at: Int, most: Int) -> Int) {
        val sound = FloatArray(4096 * CHANNELS)
        var samples = 0L
        var sum = 0.0
        var squares = 0.0
        while (true) {
            val numbers = read(sound, 0, sound.size)
            if (numbers <= 0) break
            for (at in 0 until numbers step CHANNELS) {
                var mono = 0.0
                for (channel in 0 until CHANNELS) mono += sound[at + channel]
                mono /= CHANNELS
                sum += mono
                squares += mono * mono
                samples += 1
            }
        }
        val average = sum / maxOf(samples, 1L)
        val variance = (squares - sum * average) / maxOf(samples - 1, 1L)
        mean = average.toFloat()
        deviation = (Math.sqrt(maxOf(variance, 0.0)) + 1e-8).toFloat()
        measured = true
    }
