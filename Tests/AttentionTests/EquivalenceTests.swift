import Attention
import AttentionTestSupport
import Testing

/// A restriction that restricts nothing is full attention.
@Suite struct EquivalenceTests {
  static let unrestricted =
    Specimen.exact.map(\.text) + [
      "window(1000)", "window(left: 500, right: 500)", "window(1, global: 500)",
      "window(1, sinks: 500)", "strided(500)", "strided(1)", "fixed(500, 1)", "fixed(9, 9)",
      "dilated(1000, 1)", "chunked(500)", "bigbird(8, 1000)", "bigbird(8, 1, 0, 500)",
    ]

  @Test(arguments: unrestricted)
  func equalsFullAttention(_ text: String) throws {
    let specimen = Specimen(text: text, strategy: try Specimen.registry.strategy(text))
    for number in 0..<60 {
      let test = try TestCase(number)
      // Positions before the first key or after the last may lie outside the restriction's reach.
      let geometries = (0..<test.problem.shape.batch).map(test.problem.geometry(batch:))
      let isInside = geometries.allSatisfy {
        $0.offset >= 0 && $0.offset + $0.queryLength <= $0.keyLength
      }
      if !isInside { continue }
      for geometry in geometries {
        #expect(
          specimen.strategy.pattern(for: geometry).pairs == DensePattern(geometry).pairs,
          "\(test)")
      }
      let inputs = test.inputs()
      let outputs = try specimen.run(test, inputs)
      let truth = oracleRows(SoftmaxOracle(full: test.problem), inputs)
      let naive = NaiveSoftmax(test.problem) { DensePattern($0) }.deviation(from: truth, inputs)
      ErrorGate.check(
        outputs.deviation(from: truth), naive: naive, logits: truth, test.problem,
        test.description)
    }
  }
}
