// Runs the generated classes on numbers of standard input, and prints what they say.
import java.nio.ByteBuffer
import kzoo.Joined
import kzoo.Late
import kzoo.Resampler
import kzoo.Small
import kzoo.SmallStream
import kzoo.Speakers
import kzoo.Told

fun file(vararg shape: Int): ByteBuffer {
    val buffer = ByteBuffer.allocateDirect(4 * shape.size)
    for (count in shape) buffer.putInt(count)
    buffer.rewind()
    return buffer
}

/** Gives the sound in pieces of [most] numbers at most. */
fun pieces(sound: FloatArray, most: Int): (FloatArray, Int, Int) -> Int {
    var given = 0
    return { buffer, at, room ->
        val count = minOf(most, room, sound.size - given)
        System.arraycopy(sound, given, buffer, at, count)
        given += count
        count
    }
}

fun say(what: String, numbers: Iterable<Float>) = println("$what " + numbers.joinToString(" "))

fun main(args: Array<String>) {
    val sound = readLine()!!.split(" ").map { it.toFloat() }.toFloatArray()
    val stems = mapOf("low" to ArrayList<Float>(), "high" to ArrayList<Float>())
    Small(file(6, 2)).use { separator ->
        separator.measure(pieces(sound, 4))
        separator.separate(pieces(sound, 4)) { found, samples ->
            for ((name, stem) in found) stems.getValue(name).addAll(stem.take(2 * samples))
        }
    }
    for ((name, stem) in stems) say(name, stem)
    val told = Told(file(6, 2))
    val remix = ArrayList<Float>()
    told.ask(mapOf("drums" to 0.5f))
    told.measure(pieces(sound, 1000))
    told.separate(pieces(sound, 1000)) { found, samples ->
        remix.addAll(found.getValue("estimate").take(2 * samples))
    }
    say("remix", remix)
    val joined = Joined(file(6, 2))
    val bent = ArrayList<Float>()
    joined.measure(pieces(sound, 4))
    joined.separate(pieces(sound, 4)) { found, samples ->
        bent.addAll(found.getValue("bent").take(2 * samples))
    }
    say("bent", bent)
    val pausing = sound.copyOf(24)
    pausing.fill(0f, 8, 20)
    val speakers = Speakers(file(6, 2))
    val recordings = mapOf("sound" to sound.copyOf(24), "pausing" to pausing,
        "short" to sound.copyOf(2), "silent" to FloatArray(24))
    for ((what, heard) in recordings) {
        val voices = mapOf("one" to ArrayList<Float>(), "two" to ArrayList<Float>())
        speakers.measure(pieces(heard, 6))
        speakers.separate(pieces(heard, 6)) { found, samples ->
            for ((name, stem) in found) voices.getValue(name).addAll(stem.take(2 * samples))
        }
        for ((name, stem) in voices) say("${what}_$name", stem)
    }
    val pausingFirst = sound.copyOf(12)
    pausingFirst.fill(0f, 0, 6)
    val late = Late(file(6, 2))
    val afterPause = ArrayList<Float>()
    late.measure(pieces(pausingFirst, 4))
    late.separate(pieces(pausingFirst, 4)) { found, samples ->
        afterPause.addAll(found.getValue("bent").take(2 * samples))
    }
    say("late", afterPause)
    val stream = SmallStream(file(6, 2))
    say("stream", (1..3).flatMap { n -> stream.step(FloatArray(12) { n.toFloat() })["speech"]!!.toList() })
    stream.reset()
    say("reset", stream.step(FloatArray(12) { 9f })["speech"]!!.toList())
    val mistakes = listOf<() -> Any>(
        { Small(file(5, 2)) },
        { stream.step(FloatArray(3)) },
        { told.ask(mapOf("voice" to 1f)) },
        { joined.separate(pieces(sound, 4)) { _, _ -> } }
    )
    for (wrong in mistakes) {
        try {
            wrong()
        } catch (error: RuntimeException) {
            println("refused " + error.message)
        }
    }
    for (rate in listOf(48000, 22050)) {
        val resampler = Resampler(rate, 44100, 2)
        val tone = FloatArray(rate / 10 * 2) { Math.sin(2 * Math.PI * 1000 * (it / 2) / rate).toFloat() }
        val heard = ArrayList<Float>()
        for (at in tone.indices step 2000) {
            heard.addAll(resampler.push(tone.copyOfRange(at, minOf(at + 2000, tone.size))).toList())
        }
        heard.addAll(resampler.finish().toList())
        say("resampled$rate", heard)
    }
}
