import Attention
import Testing

import DistributedAttention

@Suite struct SlicedPatternTests {
  static let strategies = [
    "flash", "window(37)", "window(20, sinks: 4, global: 3)", "strided(16)", "fixed(32, 5)",
    "fixed(16, 1)", "fixed(16, 16)", "dilated(9, 5)", "bigbird(16, 3, 2, 1)", "chunked(50)",
  ]

  /// What the parts of a pattern see together is what the whole sees, pair by pair, in both of a pattern's
  /// forms.
  @Test(arguments: strategies, [true, false])
  func partsMakeTheWhole(text: String, causal: Bool) throws {
    let (queries, keys) = (151, 203)
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: queries, keyLength: keys, headDim: 8),
      visibility: Visibility(causal: causal))
    let strategy = try StrategyRegistry.standard.strategy(text)
    let whole = strategy.pattern(for: problem.geometry(batch: 0))
    let layout = try ShardLayout(length: keys, ranks: 3, order: .zigzag)
    for row in [0, 1, 50, 97, 149] {
      let rows = row..<min(row + 3, queries)
      var seen: [Int: [Int]] = [:]
      for rank in 0..<3 {
        let segments = layout.segments(rank)
        let geometry = MaskGeometry(
          queryLength: rows.count, keyLength: segments.rowCount,
          offset: whole.geometry.offset + rows.lowerBound, causal: false)
        let part = SlicedPattern(whole, geometry: geometry, segments: segments)
        let global = segments.flatMap { Array($0.rows) }
        for own in 0..<rows.count {
          let position = own + geometry.offset
          var keysOfRow: [Int] = []
          for (pass, stride) in part.rowStrides.enumerated() {
            let residue = (position % stride + stride) % stride
            for (index, sequence) in part.sequences(pass: pass, residue: residue).enumerated() {
              for place in part.range(pass: pass, sequence: index, position: position) {
                keysOfRow.append(sequence.key(place))
              }
            }
          }
          #expect(Set(keysOfRow).count == keysOfRow.count)
          for key in 0..<segments.rowCount {
            #expect(part.includes(position: position, key: key) == keysOfRow.contains(key))
          }
          seen[rows.lowerBound + own, default: []] += keysOfRow.map { global[$0] }
        }
      }
      for row in rows {
        let position = row + whole.geometry.offset
        let expected = (0..<keys).filter { whole.includes(position: position, key: $0) }
        #expect(seen[row, default: []].sorted() == expected)
      }
    }
  }

  @Test func windowsNeedTheirReach() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 1000, headDim: 8),
      visibility: Visibility(causal: true))
    let window = try StrategyRegistry.standard.strategy("window(30, sinks: 2)")
      .pattern(for: problem.geometry(batch: 0))
    #expect(window.keysNeeded(by: 500..<750) == [0..<2, 471..<750])
    #expect(window.keysNeeded(by: 0..<10) == [0..<10])
  }
}
