
    public struct NotMeasured: Error {}

    /// Hears the whole recording that `separate` is given next: it is brought to `levelDb`, without its
    /// pauses, for the network, and its stems back.
    ///
    /// - read: as that of `separate`.
    public func measure(read: (_ most: Int) throws -> [Float]) throws {
        // The mean power of the 50 ms that are at most 30 dB below the loudest, in classes of 1 dB.
        let size = max(1, Self.sampleRate / 20) * Self.channels
        deviation = 1  // what is filled below is not to be scaled
        var powers: [Int: (sum: Double, count: Double)] = [:]
        var more = true
        while more {
            var frame: [Float] = []
            try fill(&frame, to: size, from: read)
            more = frame.count == size  // there is silence behind the end
            let power = frame.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(size)
            if power <= 1e-14 { continue }
            let kind = Int((10 * log10(power)).rounded(.down))
            let before = powers[kind] ?? (sum: 0, count: 0)
            powers[kind] = (sum: before.sum + power, count: before.count + 1)
        }
        loud = !powers.isEmpty
        if let loudest = powers.keys.max() {
            let near = powers.filter { $0.key >= loudest - 30 }.values
            let power = near.reduce(0.0) { $0 + $1.sum } / near.reduce(0.0) { $0 + $1.count }
            deviation = Float(pow(10, (10 * log10(power) - Self.levelDb) / 20))
        }
        measured = true
    }
