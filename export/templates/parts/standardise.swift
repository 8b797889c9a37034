
    public struct NotMeasured: Error {}

    /// Hears the whole recording that `separate` is given next: it is brought to mean 0 and deviation 1
    /// for the network, and its stems back.
    ///
    /// - read: as that of `separate`.
    public func measure(read: (_ most: Int) throws -> [Float]) throws {
        let width = Self.channels
        var samples = 0.0
        var sum = 0.0
        var squares = 0.0
        while true {
            let sound = try read(4096 * width)
            if sound.isEmpty { break }
            for start in stride(from: 0, to: sound.count, by: width) {
                let mono = sound[start..<(start + width)].reduce(0.0) { $0 + Double($1) } / Double(width)
                sum += mono
                squares += mono * mono
                samples += 1
            }
        }
        let average = sum / max(samples, 1)
        let variance = (squares - sum * average) / max(samples - 1, 1)
        mean = Float(average)
        deviation = Float(max(variance, 0).squareRoot() + 1e-8)
        measured = true
    }
