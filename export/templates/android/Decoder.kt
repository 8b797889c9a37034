package kzoo

import android.content.Context
import android.media.AudioFormat
import android.media.MediaCodec
import android.media.MediaExtractor
import android.media.MediaFormat
import android.net.Uri
import java.io.Closeable
import java.io.File
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Interleaved float samples in a file, which a recording of any length may have. */
class Samples(file: File) : Closeable {
    private val access = RandomAccessFile(file, "rw")
    val numbers: Long get() = access.length() / 4

    fun clear() = access.setLength(0)

    fun append(samples: FloatArray, count: Int = samples.size) {
        val bytes = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN)
        bytes.asFloatBuffer().put(samples, 0, count)
        access.seek(access.length())
        access.write(bytes.array())
    }

    /** Reads from the number [at] on into [into]; returns how many there were. */
    fun read(at: Long, into: FloatArray, index: Int, most: Int): Int {
        val bytes = ByteArray((4 * minOf(most.toLong(), maxOf(numbers - at, 0))).toInt())
        access.seek(4 * at)
        access.readFully(bytes)
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
            .get(into, index, bytes.size / 4)
        return bytes.size / 4
    }

    override fun close() = access.close()
}

/** Decodes a recording to [channels] channels at [sampleRate], into [samples]. */
fun decode(context: Context, uri: Uri, sampleRate: Int, channels: Int, samples: Samples) {
    samples.clear()
    val extractor = MediaExtractor()
    extractor.setDataSource(context, uri, null)
    val track = (0 until extractor.trackCount).firstOrNull {
        extractor.getTrackFormat(it).getString(MediaFormat.KEY_MIME).orEmpty().startsWith("audio/")
    } ?: throw IllegalArgumentException("there is no sound in this file")
    extractor.selectTrack(track)
    val format = extractor.getTrackFormat(track)
    val codec = MediaCodec.createDecoderByType(format.getString(MediaFormat.KEY_MIME)!!)
    try {
        codec.configure(format, null, null, 0)
        codec.start()
        drain(extractor, codec, sampleRate, channels, samples)
    } finally {
        codec.release()
        extractor.release()
    }
}

private fun drain(
    extractor: MediaExtractor, codec: MediaCodec, sampleRate: Int, channels: Int, samples: Samples
) {
    val info = MediaCodec.BufferInfo()
    var resampler: Resampler? = null
    var fed = false
    while (true) {
        val free = if (fed) -1 else codec.dequeueInputBuffer(10_000)
        if (free >= 0) {
            val size = extractor.readSampleData(codec.getInputBuffer(free)!!, 0)
            fed = size < 0
            val flags = if (fed) MediaCodec.BUFFER_FLAG_END_OF_STREAM else 0
            codec.queueInputBuffer(free, 0, maxOf(size, 0), maxOf(extractor.sampleTime, 0), flags)
            if (!fed) extractor.advance()
        }
        val ready = codec.dequeueOutputBuffer(info, 10_000)
        if (ready >= 0) {
            val output = codec.outputFormat
            val width = output.getInteger(MediaFormat.KEY_CHANNEL_COUNT)
            val rate = output.getInteger(MediaFormat.KEY_SAMPLE_RATE)
            val numbers = numbers(codec.getOutputBuffer(ready)!!, info, output)
            codec.releaseOutputBuffer(ready, false)
            val found = resampler ?: Resampler(rate, sampleRate, channels).also { resampler = it }
            samples.append(found.push(widened(numbers, width, channels)))
            if (info.flags and MediaCodec.BUFFER_FLAG_END_OF_STREAM != 0) break
        }
    }
    resampler?.let { samples.append(it.finish()) }
}

private fun numbers(
    buffer: ByteBuffer, info: MediaCodec.BufferInfo, format: MediaFormat
): FloatArray {
    buffer.position(info.offset)
    buffer.limit(info.offset + info.size)
    buffer.order(ByteOrder.nativeOrder())
    val floats = format.containsKey(MediaFormat.KEY_PCM_ENCODING) &&
        format.getInteger(MediaFormat.KEY_PCM_ENCODING) == AudioFormat.ENCODING_PCM_FLOAT
    if (floats) return FloatArray(info.size / 4).also { buffer.asFloatBuffer().get(it) }
    val shorts = buffer.asShortBuffer()
    return FloatArray(info.size / 2) { shorts.get(it) / 32768f }
}

/** Mono to each channel, several to mono as their mean; else the first of them, again and again. */
fun widened(samples: FloatArray, width: Int, channels: Int): FloatArray {
    if (width == channels) return samples
    val count = samples.size / width
    if (channels == 1) {
        return FloatArray(count) { i -> (0 until width).sumOf { samples[i * width + it].toDouble() }.toFloat() / width }
    }
    return FloatArray(count * channels) { samples[it / channels * width + it % channels % width] }
}
