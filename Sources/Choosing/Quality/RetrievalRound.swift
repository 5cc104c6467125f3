import Attention
import MachineTopology
import Measuring
import Records
import Statistics
import Units

/// A query row and the key it asks for.
package struct Needle: Hashable, Sendable {
  /// The bin of the task it counts for.
  package let bin: Int
  package let head: Int
  package let row: Int
  package let key: Int
}

extension RetrievalTask {
  /// The most times that tensors are filled anew: where few rows can serve a bin, it has fewer
  /// needles than asked for.
  private static let maximumRounds = 64

  /// The needles of every round: a row is asked one thing at a time, so that what does not fit one
  /// set of tensors goes into the next.
  package func rounds() -> [[Needle]] {
    var counts = [Int](repeating: 0, count: bins.count)
    var rounds: [[Needle]] = []
    while rounds.count < Self.maximumRounds, counts.contains(where: { $0 < needles }) {
      let round = place(round: rounds.count, counts: &counts)
      if round.isEmpty { break }
      rounds.append(round)
    }
    return rounds
  }

  /// Goes through rows in random order and gives each to the emptiest bin it can serve.
  private func place(round: Int, counts: inout [Int]) -> [Needle] {
    let shape = problem.shape
    var generator = SeededGenerator(seed: seed, path: [3, round])
    let orders = (0..<shape.heads).map { _ in
      Array(0..<shape.queryLength).shuffled(using: &generator)
    }
    let farthest = Dictionary(
      bins.map { ($0.side, $0.distances.upperBound) }, uniquingKeysWith: max)
    let offset = problem.geometry(batch: 0).offset
    var placed: [Needle] = []
    for place in 0..<shape.queryLength {
      for head in 0..<shape.heads {
        let row = orders[head][place]
        let position = row + offset
        let open = bins.indices.filter { index in
          // Every bin of a side draws from the same rows: none has longer histories than another.
          let far = farthest[bins[index].side] ?? 0
          return counts[index] < needles
            && (bins[index].side == .before
              ? position >= far : position + far < shape.keyLength)
        }
        guard let bin = open.min(by: { counts[$0] < counts[$1] }) else { continue }
        let distance = Int.random(in: bins[bin].distances, using: &generator)
        counts[bin] += 1
        placed.append(
          Needle(
            bin: bin, head: head, row: row,
            key: bins[bin].side == .before ? position - distance : position + distance))
      }
      if counts.allSatisfy({ $0 >= needles }) { break }
    }
    return placed
  }

  /// Haystack, codes and queries of a round. Rows that ask for no needle ask for nothing in
  /// particular.
  ///
  /// - Throws: `AttentionError` when the system refuses the memory.
  package func tensors(
    round: Int, needles: [Needle], on team: WorkerTeam
  ) throws(AttentionError) -> ProblemTensors {
    let shape = problem.shape
    let tensors = try ProblemTensors(shape)
    var generator = SeededGenerator(seed: seed, path: [4, round])
    let fillSeed = generator.next()
    for (role, tensor) in [tensors.query, tensors.key, tensors.value].enumerated() {
      team.run(NormalFill(tensor, role: role, seed: fillSeed))
    }
    let length = Float(shape.headDim).squareRoot()
    // scale |q| |k| = s sqrt(d) with scale = 1/sqrt(d) and |k| = sqrt(d).
    let queryLength = Float(sharpness) * length
    Self.stretchRows(tensors.key, to: length)
    Self.stretchRows(tensors.query, to: queryLength)
    for needle in needles {
      let query = (needle.head * shape.queryLength + needle.row) * shape.headDim
      let key =
        (needle.head / shape.groupSize * shape.keyLength + needle.key) * shape.headDim
      for column in 0..<shape.headDim {
        tensors.query.elements[query + column] =
          tensors.key.elements[key + column] * Float(sharpness)
      }
    }
    return tensors
  }

  private static func stretchRows(_ tensor: Tensor, to length: Float) {
    let (elements, columns) = (tensor.elements, tensor.shape.columns)
    for row in stride(from: 0, to: elements.count, by: columns) {
      let norm = elements[row..<row + columns].reduce(0) { $0 + $1 * $1 }.squareRoot()
      let factor = length / max(norm, .leastNormalMagnitude)
      for index in row..<row + columns { elements[index] *= factor }
    }
  }
}
