import Attention
import AttentionTestSupport
import Testing

/// What a row does not see does not reach it, and what it does see is never hidden.
@Suite struct LeakTests {
  enum Poison: Float, CaseIterable {
    case nan = 0
    case infinity = 1
    case negativeInfinity = -1

    var value: Float {
      switch self {
      case .nan: .nan
      case .infinity: .infinity
      case .negativeInfinity: -.infinity
      }
    }
  }

  static func problems() throws -> [AttentionProblem] {
    let shape = try AttentionShape(
      batch: 2, heads: 4, kvHeads: 2, queryLength: 150, keyLength: 170, headDim: 19, valueDim: 21)
    let square = try AttentionShape(heads: 1, queryLength: 300, headDim: 8, valueDim: 16)
    return [
      try AttentionProblem(shape, visibility: Visibility(causal: true)),
      try AttentionProblem(
        shape, visibility: Visibility(causal: true, offset: .perBatch([-20, 3]))),
      try AttentionProblem(shape, visibility: Visibility(causal: false, offset: .fixed(40))),
      try AttentionProblem(square, visibility: Visibility(causal: true)),
      try AttentionProblem(square, visibility: Visibility(causal: false)),
    ]
  }

  /// Rows that do not see a poisoned key keep every bit; rows that see a NaN are NaN.
  @Test(arguments: Specimen.all, Poison.allCases)
  func poisonStaysWhereItIsSeen(_ specimen: Specimen, _ poison: Poison) throws {
    for (number, problem) in try LeakTests.problems().enumerated() {
      let clean = TestInputs(problem, seed: number)
      let cleanBits = try specimen.run(problem, clean, threads: 2)
      var generator = TestGenerator(seed: number)
      let last = problem.shape.keyLength - 1
      for keys in [[0], [last], [last, last - 1, last - 40], [generator.pick(1..<last)]] {
        for role in [\TestInputs.key, \.value] {
          let poisoned = clean.copy()
          poisoned[keyPath: role].forEachRow { batch, head, row in
            guard keys.contains(row) else { return }
            for column in 0..<poisoned[keyPath: role].shape.columns {
              poisoned[keyPath: role][batch, head, row, column] = poison.value
            }
          }
          let outputs = try specimen.run(problem, poisoned, threads: 2)
          try compare(
            specimen, problem, poisoned: keys, isNaN: poison == .nan, isKey: role == \.key,
            outputs, cleanBits, "\(problem) keys \(keys)")
        }
      }
    }
  }

  private func compare(
    _ specimen: Specimen, _ problem: AttentionProblem, poisoned keys: [Int], isNaN: Bool,
    isKey: Bool, _ outputs: TestOutputs, _ clean: TestOutputs, _ comment: String
  ) throws {
    let (lse, cleanLSE) = (try #require(outputs.logSumExp), try #require(clean.logSumExp))
    var changed = 0
    var hidden = 0
    outputs.output.forEachRow { batch, head, row in
      let pattern = specimen.strategy.pattern(for: problem.geometry(batch: batch))
      let position = row + pattern.geometry.offset
      let output = outputs.output[batch, head, row]
      if keys.contains(where: { pattern.includes(position: position, key: $0) }) {
        // Where a query looks may be a matter of the query alone, and then no key is a NaN that it misses.
        if specimen.strategy.selectsKeys, !specimen.isSoftmax { return }
        if isNaN, !output.allSatisfy(\.isNaN) { hidden += 1 }
        // What does not divide by a sum of weights has no LSE to tell.
        if isNaN, isKey, cleanLSE[batch, head, row, 0] != 0, !lse[batch, head, row, 0].isNaN {
          hidden += 1
        }
        return
      }
      let same =
        output.elementsEqual(clean.output[batch, head, row]) { $0.bitPattern == $1.bitPattern }
        && lse[batch, head, row, 0].bitPattern == cleanLSE[batch, head, row, 0].bitPattern
      if !same { changed += 1 }
    }
    #expect(changed == 0, "\(changed) rows changed that do not see the poison: \(comment)")
    #expect(hidden == 0, "\(hidden) rows see a NaN and do not say so: \(comment)")
  }

  /// Infinite and NaN logits: finite where the naive implementation is, and NaN where it is.
  @Test(arguments: Specimen.softmax, Poison.allCases)
  func extremeLogitsBehaveAsInTheNaiveImplementation(
    _ specimen: Specimen, _ poison: Poison
  ) throws {
    for causal in [false, true] {
      let problem = try AttentionProblem(
        AttentionShape(heads: 1, queryLength: 100, headDim: 5, valueDim: 3),
        visibility: Visibility(causal: causal))
      let inputs = TestInputs(problem, seed: 8)
      // Every query element is positive, so that an infinite key element decides the logit.
      inputs.query.fill { _, _, row, column in 0.5 + 0.1 * Float((row + column) % 5) }
      for key in [0, 3, 31, 32, 64, 99] { inputs.key[0, 0, key, 2] = poison.value }
      let outputs = try specimen.run(problem, inputs)
      let naive = NaiveSoftmax(problem) { specimen.strategy.pattern(for: $0) }
      for row in 0..<100 {
        let expected = naive.row(inputs, batch: 0, head: 0, row: row)
        // A row all of whose logits are -inf counts as one that sees nothing.
        let isEmpty = sees(only: poison, specimen, problem, inputs, row: row)
        for column in 0..<3 {
          let value = outputs.output[0, 0, row, column]
          if isEmpty {
            #expect(value == 0, "row \(row)")
          } else if expected.output[column].isNaN {
            #expect(value.isNaN, "row \(row), causal \(causal): \(value)")
          } else {
            #expect(abs(value - expected.output[column]) < 1e-5, "row \(row), causal \(causal)")
          }
        }
      }
    }
  }

  private func sees(
    only poison: Poison, _ specimen: Specimen, _ problem: AttentionProblem, _ inputs: TestInputs,
    row: Int
  ) -> Bool {
    let pattern = specimen.strategy.pattern(for: problem.geometry(batch: 0))
    return poison == .negativeInfinity
      && (0..<problem.shape.keyLength).allSatisfy {
        !pattern.includes(position: row, key: $0) || inputs.key[0, 0, $0, 2] == -.infinity
      }
  }
}
