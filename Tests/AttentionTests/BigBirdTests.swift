import Attention
import AttentionTestSupport
import Testing

/// The random blocks of `bigbird`, and its work: what the tests of all patterns do not see.
@Suite struct BigBirdTests {
  private static let block = 4

  private func pattern(_ text: String, n: Int, causal: Bool) throws -> any KeyPattern {
    try Specimen.registry.strategy(text).pattern(
      for: MaskGeometry(queryLength: n, keyLength: n, offset: 0, causal: causal))
  }

  /// The blocks that a row sees some key of.
  private func blocks(_ pattern: any KeyPattern, _ position: Int) -> Set<Int> {
    Set(
      (0..<pattern.geometry.keyLength)
        .filter { pattern.includes(position: position, key: $0) }.map { $0 / Self.block })
  }

  @Test(arguments: [false, true])
  func rowsOfABlockShareTheirRandomBlocks(causal: Bool) throws {
    let n = 400
    let pattern = try pattern("bigbird(4, 3, 5, 2)", n: n, causal: causal)
    for own in 2..<n / Self.block {
      let near = causal ? own - 2...own : own - 1...min(own + 1, n / Self.block - 1)
      let others = Set(0..<n / Self.block).subtracting(near).subtracting([0, 1])
        .filter { !causal || $0 < own }
      let seen = blocks(pattern, own * Self.block)
      #expect(seen.isSuperset(of: near) && seen.isSuperset(of: [0, 1]))
      #expect(seen.intersection(others).count == min(5, others.count), "block \(own)")
      for position in own * Self.block..<(own + 1) * Self.block {
        #expect(blocks(pattern, position) == seen, "row \(position)")
      }
    }
  }

  /// So that a sequence may grow, and a prompt be continued.
  @Test func causalDrawsDoNotDependOnTheLength() throws {
    let short = try pattern("bigbird(4, 2, 3, 1)", n: 120, causal: true)
    let long = try pattern("bigbird(4, 2, 3, 1)", n: 1000, causal: true)
    for position in 0..<120 { #expect(blocks(short, position) == blocks(long, position)) }
  }

  @Test func seedsDrawDifferently() throws {
    let drawn = try (0..<8).map { seed in
      let pattern = try pattern("bigbird(4, 1, 3, 0, seed: \(seed))", n: 400, causal: false)
      return (0..<100).map { blocks(pattern, $0 * Self.block) }
    }
    for (first, a) in drawn.enumerated() {
      for b in drawn[(first + 1)...] {
        // Two blocks of 99 agree in all three by chance once in 157,000 draws.
        #expect(zip(a, b).filter { $0 == $1 }.count <= 1)
      }
    }
  }

  /// Every block is drawn about as often as any other: 200 x 10 draws of 199 blocks, about 10 each.
  @Test func drawsAreEven() throws {
    let n = 800
    let pattern = try pattern("bigbird(4, 1, 10, 0)", n: n, causal: false)
    var counts = Array(repeating: 0, count: n / Self.block)
    for own in counts.indices {
      for other in blocks(pattern, own * Self.block) where other != own { counts[other] += 1 }
    }
    #expect(counts.reduce(0, +) == 2000)
    // Chi squared with 199 degrees of freedom: within five standard deviations.
    let statistic = counts.reduce(0.0) { $0 + (Double($1) - 10) * (Double($1) - 10) / 10 }
    #expect(statistic > 100 && statistic < 300)
  }

  /// Tasks are dealt by what is visited, not by the span from the first random block to the last.
  @Test func costsCountWhatIsVisited() throws {
    let n = 4096
    let problem = try AttentionProblem(AttentionShape(heads: 1, queryLength: n, headDim: 8))
    let strategy = try Specimen.registry.strategy("bigbird(64, 3, 2, 1)")
    let costs = try SoftmaxEngine().taskCosts(for: problem, threads: 1) {
      strategy.pattern(for: $0)
    }
    // 64 blocks of 6 blocks of 64 keys, of panels of at least 16 rows; panels that two blocks share
    // count both.
    let lanes = KernelTable.active.panelLanes
    let panels = (n + lanes - 1) / lanes
    let total = costs.joined().reduce(0, +)
    #expect(total >= panels * 5 * 64)
    #expect(total <= panels * (16 + 2 * 6 * 64) + 2 * n * 64 / lanes)
  }
}
