
    /** Puts stems in the order in which they go on from the tails: of speakers any may come first. */
    private fun putInOrder(stems: List<FloatArray>, tails: List<FloatArray>) {
        val likeness = tails.map { tail ->
            stems.map { stem ->
                var sum = 0.0
                for (i in tail.indices) {
                    val share = fade[i / CHANNELS].toDouble()
                    sum += share * (1 - share) * tail[i] * stem[i]
                }
                sum
            }
        }
        var best = stems.indices.toList() // theirs, which stays where all are alike
        var most = Double.NEGATIVE_INFINITY
        for (order in orders(best)) {
            var sum = 0.0
            for ((before, now) in order.withIndex()) sum += likeness[before][now]
            if (sum > most) {
                most = sum
                best = order
            }
        }
        val found = stems.map { it.copyOf() }
        for ((before, now) in best.withIndex()) found[now].copyInto(stems[before])
    }

    private fun orders(places: List<Int>): List<List<Int>> =
        if (places.isEmpty()) listOf(places)
        else places.flatMap { first -> orders(places - first).map { listOf(first) + it } }
