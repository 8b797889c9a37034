// Stands for LiteRT's interpreter: a network of blocks [6, 2] that says 0.25 and 0.75 times what it
// hears, or bends it, times the number of the call, one of speakers who change places from call to call,
// and one of steps that says what it heard the step before.
package org.tensorflow.lite

import java.nio.ByteBuffer
import java.nio.FloatBuffer

class Tensor(private val numbers: IntArray) {
    fun shape(): IntArray = numbers
}

class Interpreter(model: ByteBuffer, options: Options) : AutoCloseable {
    class Options {
        fun setNumThreads(threads: Int): Options = this
    }

    private val block = intArrayOf(model.getInt(0), model.getInt(4))
    private var calls = 0
    private var before = FloatArray(block[0] * block[1])

    init {
        require(model.isDirect && model.position() == 0)
    }

    fun getInputTensorFromSignature(name: String, signature: String): Tensor =
        Tensor(if (signature == "step") intArrayOf(1) + block else block)

    fun runSignature(inputs: Map<String, Any>, outputs: Map<String, Any>, signature: String) {
        require(inputs.isNotEmpty()) { "Input error: Inputs should not be null or empty." }
        val waveform = inputs.getValue("waveform") as FloatBuffer
        val heard = FloatArray(waveform.remaining())
        require(heard.size == block[0] * block[1])
        waveform.get(heard)
        if (signature == "step") {
            (outputs.getValue("speech") as FloatBuffer).put(before)
            before = heard
            return
        }
        require(signature == "serving_default")
        calls += 1
        val asked = inputs["condition"] as FloatBuffer?
        for ((name, share) in mapOf("low" to 0.25f, "high" to 0.75f, "estimate" to 1f)) {
            val factor = if (asked == null) share * calls else asked.get(0) + 10 * asked.get(1)
            val output = outputs[name] as FloatBuffer? ?: continue
            output.put(FloatArray(heard.size) { factor * heard[it] })
        }
        (outputs["bent"] as FloatBuffer?)?.put(
            FloatArray(heard.size) { (calls * Math.tanh(heard[it].toDouble())).toFloat() })
        for ((name, first) in mapOf("one" to (calls % 2 == 1), "two" to (calls % 2 == 0))) {
            (outputs[name] as FloatBuffer?)?.put(FloatArray(heard.size) {
                val bent = Math.tanh(4.0 * heard[it]).toFloat() + 0.01f
                if (first) maxOf(bent, 0f) else minOf(bent, 0f)
            })
        }
    }

    override fun close() {}
}
