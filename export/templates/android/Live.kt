package kzoo

import android.media.AudioFormat
import android.media.AudioRecord
import android.media.AudioTrack
import android.media.MediaRecorder

/**
 * The microphone through the stream to the loudspeaker, step after step; wear headphones.
 *
 * @param say is told the slowest step so far, in milliseconds, about once a second.
 */
class Live(private val stream: __CLASS__Stream, private val say: (String) -> Unit) {
    @Volatile private var running = true

    private val thread = Thread {
        val rate = __CLASS__Stream.SAMPLE_RATE
        val hop = __CLASS__Stream.HOP * __CLASS__Stream.CHANNELS
        val mono = AudioFormat.CHANNEL_IN_MONO
        val least = AudioRecord.getMinBufferSize(rate, mono, AudioFormat.ENCODING_PCM_FLOAT)
        val microphone = AudioRecord(
            MediaRecorder.AudioSource.VOICE_RECOGNITION, rate, mono, AudioFormat.ENCODING_PCM_FLOAT,
            maxOf(least, 16 * __CLASS__Stream.HOP))
        val track = loudspeaker(rate, __CLASS__Stream.CHANNELS, __CLASS__Stream.HOP)
        val heard = FloatArray(__CLASS__Stream.HOP)
        val millisecondsOfAStep = 1000.0 * __CLASS__Stream.HOP / rate
        var slowest = 0.0
        var steps = 0
        stream.reset()
        microphone.startRecording()
        track.play()
        while (running) {
            val count = microphone.read(heard, 0, heard.size, AudioRecord.READ_BLOCKING)
            if (count < heard.size) continue
            val begun = System.nanoTime()
            val clean = stream.step(widened(heard, 1, __CLASS__Stream.CHANNELS))
            slowest = maxOf(slowest, (System.nanoTime() - begun) / 1e6)
            track.write(clean.getValue("__LIVE_OUTPUT__"), 0, hop, AudioTrack.WRITE_BLOCKING)
            steps += 1
            if (steps * millisecondsOfAStep % 1000 < millisecondsOfAStep) {
                say("slowest step %.1f of %.1f ms".format(slowest, millisecondsOfAStep))
            }
        }
        microphone.stop()
        microphone.release()
        track.stop()
        track.release()
    }.also { it.start() }

    fun stop() {
        running = false
        thread.join()
    }
}
