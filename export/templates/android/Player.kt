package kzoo

import android.media.AudioAttributes
import android.media.AudioFormat
import android.media.AudioTrack

/** A loudspeaker that takes interleaved float samples, [buffer] of them at least at once. */
fun loudspeaker(sampleRate: Int, channels: Int, buffer: Int): AudioTrack {
    val mask = if (channels == 1) AudioFormat.CHANNEL_OUT_MONO else AudioFormat.CHANNEL_OUT_STEREO
    val least = AudioTrack.getMinBufferSize(sampleRate, mask, AudioFormat.ENCODING_PCM_FLOAT)
    val format = AudioFormat.Builder()
        .setSampleRate(sampleRate)
        .setChannelMask(mask)
        .setEncoding(AudioFormat.ENCODING_PCM_FLOAT)
        .build()
    val media = AudioAttributes.Builder().setUsage(AudioAttributes.USAGE_MEDIA).build()
    return AudioTrack(
        media, format, maxOf(least, 4 * buffer * channels), AudioTrack.MODE_STREAM,
        android.media.AudioManager.AUDIO_SESSION_ID_GENERATE)
}

/** Plays stems together, each as loud as [gains] says at that moment, until [stop] or the end. */
class Player(
    private val stems: Map<String, Samples>,
    private val gains: Map<String, Float>,
    private val sampleRate: Int,
    private val channels: Int,
    private val ended: () -> Unit
) {
    @Volatile private var playing = true

    private val thread = Thread {
        val piece = FloatArray(2048 * channels)
        val mix = FloatArray(piece.size)
        val track = loudspeaker(sampleRate, channels, 2048)
        track.play()
        var at = 0L
        while (playing) {
            mix.fill(0f)
            var most = 0
            for ((name, stem) in stems) {
                val gain = gains[name] ?: 1f
                val count = stem.read(at, piece, 0, piece.size)
                for (i in 0 until count) mix[i] += gain * piece[i]
                most = maxOf(most, count)
            }
            if (most == 0) break
            track.write(mix, 0, most, AudioTrack.WRITE_BLOCKING)
            at += most
        }
        track.stop()
        track.release()
        ended()
    }.also { it.start() }

    fun stop() {
        playing = false
        thread.join()
    }
}
