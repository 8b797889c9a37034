
    /// Stems in the order in which they go on from the tails: of speakers any may come first.
    private func inOrder(_ stems: [[Float]], after tails: [[Float]]) -> [[Float]] {
        let likeness = tails.map { tail in
            stems.map { stem in
                tail.indices.reduce(0.0) { sum, index in
                    let share = Double(fade[index / Self.channels])
                    return sum + share * (1 - share) * Double(tail[index]) * Double(stem[index])
                }
            }
        }
        var best = Array(stems.indices)  // theirs, which stays where all are alike
        var most = -Double.infinity
        for order in orders(best) {
            let sum = order.enumerated().reduce(0.0) { $0 + likeness[$1.offset][$1.element] }
            if sum > most {
                most = sum
                best = order
            }
        }
        return best.map { stems[$0] }
    }

    private func orders(_ places: [Int]) -> [[Int]] {
        if places.isEmpty { return [[]] }
        return places.flatMap { first in
            orders(places.filter { $0 != first }).map { [first] + $0 }
        }
    }
