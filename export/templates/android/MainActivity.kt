package kzoo

__LIVE_IMPORTS__import android.app.Activity
import android.content.Intent
__LIVE_PACKAGES__import android.net.Uri
import android.os.Bundle
import android.widget.Button
import android.widget.LinearLayout
import android.widget.ProgressBar
import android.widget.ScrollView
import android.widget.SeekBar
import android.widget.TextView
import java.io.File
import java.io.FileInputStream
import java.nio.MappedByteBuffer
import java.nio.channels.FileChannel
import java.util.concurrent.ConcurrentHashMap

/** One screen: pick a recording, separate it, hear its stems, each as loud as its slider says. */
class MainActivity : Activity() {
    private val gains = ConcurrentHashMap<String, Float>()
    private val stems by lazy { __CLASS__.OUTPUTS.associateWith { samples(it) } }
    private val mixture by lazy { samples("mixture") }
    private var player: Player? = null
    private lateinit var pick: Button
    private lateinit var play: Button
    private lateinit var progress: ProgressBar
    private lateinit var status: TextView
__LIVE_FIELDS__
    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        pick = Button(this).apply {
            text = "Pick a recording"
            setOnClickListener {
                val wanted = Intent(Intent.ACTION_OPEN_DOCUMENT)
                    .addCategory(Intent.CATEGORY_OPENABLE).setType("audio/*")
                startActivityForResult(wanted, PICKED)
            }
        }
        progress = ProgressBar(this, null, android.R.attr.progressBarStyleHorizontal)
        status = TextView(this)
        play = Button(this).apply {
            text = "Play"
            isEnabled = false
            setOnClickListener { if (player == null) start() else stop() }
        }
        val column = LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            setPadding(48, 96, 48, 48)
        }
        for (view in listOf(pick, progress, status)) column.addView(view)
        for (name in __CLASS__.OUTPUTS) {
            gains[name] = 1f
            column.addView(TextView(this).apply { text = name })
            column.addView(slider(name))
        }
        column.addView(play)
__LIVE_VIEWS__        setContentView(ScrollView(this).apply { addView(column) })
    }

    private fun slider(name: String) = SeekBar(this).apply {
        max = 100
        setProgress(100)
        contentDescription = "loudness of $name"
        setOnSeekBarChangeListener(object : SeekBar.OnSeekBarChangeListener {
            override fun onProgressChanged(bar: SeekBar, value: Int, byUser: Boolean) {
                gains[name] = value / 100f
            }
            override fun onStartTrackingTouch(bar: SeekBar) {}
            override fun onStopTrackingTouch(bar: SeekBar) {}
        })
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        super.onActivityResult(request, result, data)
        val uri = data?.data
        if (request != PICKED || result != RESULT_OK || uri == null) return
        stop()
        pick.isEnabled = false
        play.isEnabled = false
        Thread {
            val said = try {
                separate(uri)
                "separated"
            } catch (error: Exception) {
                error.message ?: error.toString()
            }
            runOnUiThread {
                status.text = said
                pick.isEnabled = true
                play.isEnabled = said == "separated"
            }
        }.start()
    }

    private fun separate(uri: Uri) {
        say("decoding")
        decode(this, uri, __CLASS__.SAMPLE_RATE, __CLASS__.CHANNELS, mixture)
        for (stem in stems.values) stem.clear()
        say("separating")
        var at = 0L
        var done = 0L
        __CLASS__(model("__FILE__")).use { separator ->
__MEASURE__            separator.separate(
                { sound, index, most -> mixture.read(at, sound, index, most).also { at += it } }
            ) { found, samples ->
                val numbers = samples * __CLASS__.CHANNELS
                for ((name, stem) in found) stems.getValue(name).append(stem, numbers)
                done += numbers
                runOnUiThread { progress.progress = (100 * done / mixture.numbers).toInt() }
            }
        }
    }

    private fun start() {
        play.text = "Stop"
        player = Player(stems, gains, __CLASS__.SAMPLE_RATE, __CLASS__.CHANNELS) {
            runOnUiThread {
                player = null
                play.text = "Play"
            }
        }
    }

    private fun stop() {
        player?.stop()
    }
__LIVE_METHODS__
    override fun onDestroy() {
        stop()
__LIVE_END__        super.onDestroy()
    }

    private fun samples(name: String) = Samples(File(cacheDir, "$name.f32"))

    private fun say(what: String) = runOnUiThread { status.text = what }

    private fun model(name: String): MappedByteBuffer = assets.openFd(name).use { asset ->
        FileInputStream(asset.fileDescriptor).channel.map(
            FileChannel.MapMode.READ_ONLY, asset.startOffset, asset.declaredLength)
    }

    private companion object {
        const val PICKED = 1
    }
}
