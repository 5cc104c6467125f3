import Attention
import AttentionTestSupport
import RealModule
import Testing

/// Scores of a hidden layer: its definition written down once more, the accuracy of tanh over all numbers, and
/// what it refuses.
@Suite struct AdditiveTests {
  /// Weights `[heads, hidden, columns]`, uniform and of a size.
  private static func weights(
    _ heads: Int, _ hidden: Int, _ columns: Int, size: Float, seed: Int
  ) throws -> Tensor {
    var generator = TestGenerator(seed: seed)
    let tensor = try Tensor(TensorShape(1, heads, hidden, columns))
    for i in tensor.elements.indices { tensor.elements[i] = size * (2 * generator.uniform() - 1) }
    return tensor
  }

  private struct Layer {
    let query: Tensor
    let key: Tensor
    let weights: Tensor

    init(_ shape: AttentionShape, hidden: Int, size: Float = 1, seed: Int = 1) throws {
      let spread = size / Float(shape.headDim).squareRoot()
      query = try AdditiveTests.weights(
        shape.heads, hidden, shape.headDim, size: spread, seed: seed)
      key = try AdditiveTests.weights(
        shape.kvHeads, hidden, shape.headDim, size: spread, seed: seed + 1)
      weights = try AdditiveTests.weights(shape.heads, hidden, 1, size: 1, seed: seed + 2)
    }

    var views: [String: TensorView] {
      ["additive_q": query.view, "additive_k": key.view, "additive_v": weights.view]
    }

    /// v . tanh(Wq q + Wk k).
    func score(_ q: [Float], _ k: [Float], head: Int, kvHead: Int) -> Double {
      let hidden = query.shape.rows
      return (0..<hidden).reduce(0.0) { sum, unit in
        let (a, b) = (query.view.row(0, head, unit), key.view.row(0, kvHead, unit))
        let input = q.indices.reduce(0.0) {
          $0 + Double(a[$1]) * Double(q[$1]) + Double(b[$1]) * Double(k[$1])
        }
        return sum + Double(weights.view.row(0, head, unit)[0]) * Double.tanh(input)
      }
    }
  }

  private static func run(
    _ text: String, _ problem: AttentionProblem, _ inputs: TestInputs, _ layer: Layer,
    threads: Int = 2
  ) throws -> TestOutputs {
    let outputs = TestOutputs(problem)
    let plan = try StrategyRegistry.standard.strategy(text).plan(
      for: problem, on: Teams.of(threads))
    var operands = outputs.operands(inputs)
    operands.inputs.named = layer.views
    try plan.run(operands)
    return outputs
  }

  /// Against the formula, not the oracle: grouped heads, d != dV, hidden sizes around vectors, small and
  /// saturated units.
  @Test(arguments: [1, 3, 4, 7, 16, 37, 128], [Float(1e-3), 1, 30])
  func outputsAreTheFormula(_ hidden: Int, _ size: Float) throws {
    let shape = try AttentionShape(
      batch: 2, heads: 4, kvHeads: 2, queryLength: 19, keyLength: 23, headDim: 5, valueDim: 9)
    let problem = try AttentionProblem(
      shape, visibility: Visibility(causal: true, keyLengths: [23, 11]))
    let inputs = TestInputs(problem, seed: hidden)
    let layer = try Layer(shape, hidden: hidden, size: size)
    let outputs = try Self.run("additive(\(hidden))", problem, inputs, layer)
    var (worst, worstLSE) = (0.0, 0.0)
    outputs.output.forEachRow { batch, head, row in
      let position = row + problem.geometry(batch: batch).offset
      let q = Array(inputs.query[batch, head, row])
      let scores = (0..<max(0, position + 1)).map {
        layer.score(q, Array(inputs.key[batch, head / 2, $0]), head: head, kvHead: head / 2)
      }
      let sum = scores.reduce(0) { $0 + Double.exp($1) }
      for column in 0..<9 {
        let truth = scores.indices.reduce(0.0) {
          $0 + Double.exp(scores[$1]) * Double(inputs.value[batch, head / 2, $1, column])
        }
        let expected = scores.isEmpty ? 0 : truth / sum
        worst = max(worst, abs(Double(outputs.output[batch, head, row, column]) - expected))
      }
      let lse = outputs.logSumExp?[batch, head, row, 0] ?? .nan
      if scores.isEmpty {
        #expect(lse == -.infinity)
      } else {
        worstLSE = max(worstLSE, abs(Double(lse) - Double.log(sum)))
      }
    }
    // Roundings of hidden units grow with their inputs, those of scores with the sum of the weights.
    let bound = 4e-7 * (1 + Double(hidden)).squareRoot() * Double(max(1, size.squareRoot()))
    #expect(worst <= 4 * bound && worstLSE <= 4 * bound, "\(worst), \(worstLSE), \(bound)")
  }

  /// One hidden unit of weight 1 and one key: the LSE of a row is tanh(q + k). As exact as is said, over all
  /// numbers: 3e-7 and 2^-23 (|q| + |k|), and where both are small relative to what it should be.
  @Test func tanhIsAccurateOverAllNumbers() throws {
    var numbers: [Float] = [0, -0.0, .leastNormalMagnitude, .leastNonzeroMagnitude]
    for power in stride(from: Float(-126), through: 127.5, by: 0.37) {
      numbers += [Float.exp2(power), -Float.exp2(power)]
    }
    for step in 0..<400 { numbers.append(Float(step - 200) * 0.0731) }
    numbers += [.greatestFiniteMagnitude, -.greatestFiniteMagnitude, .infinity, -.infinity, .nan]
    let keys: [Float] = [
      0, 1e-30, 1e-3, -0.02, 0.5, -3, 9, -20, 31.9, -32.1, 100, -1e30, .infinity,
    ]
    let shape = try AttentionShape(
      batch: keys.count, heads: 1, queryLength: numbers.count, keyLength: 1, headDim: 1)
    let problem = try AttentionProblem(shape)
    let inputs = TestInputs(problem, seed: 1)
    inputs.query.fill { _, _, row, _ in numbers[row] }
    inputs.key.fill { batch, _, _, _ in keys[batch] }
    let layer = try Layer(shape, hidden: 1)
    for tensor in [layer.query, layer.key, layer.weights] { tensor.elements[0] = 1 }
    let outputs = try Self.run("additive(1)", problem, inputs, layer)
    outputs.logSumExp?.forEachRow { batch, _, row in
      let found = Double(outputs.logSumExp?[batch, 0, row, 0] ?? .nan)
      let (q, k) = (Double(numbers[row]), Double(keys[batch]))
      let expected = Double.tanh(q + k)
      if expected.isNaN {
        #expect(found.isNaN, "\(q) + \(k)")
        return
      }
      // Their sum is rounded where it is taken.
      let size = min(abs(q) + abs(k), 100)
      #expect(abs(found - expected) <= 3e-7 + 0x1p-23 * size, "\(q) + \(k): \(found), \(expected)")
      // Denormal numbers are taken for zeros while a team computes.
      if size < 0x1p-6, abs(q) > 1e-37 || q == 0, expected != 0 {
        let rounding = 0x1p-23 * size
        #expect(
          abs(found - expected) <= 5e-7 * abs(expected) + rounding,
          "\(q) + \(k): \(found), \(expected)")
      }
    }
  }

  /// Weights of any size: beyond those whose products with denominators would overflow too.
  @Test(arguments: [Float(1e-6), 1, 3e3, 1e6, 1e30])
  func weightsMayBeOfAnySize(_ size: Float) throws {
    let shape = try AttentionShape(heads: 2, queryLength: 9, keyLength: 40, headDim: 4)
    let problem = try AttentionProblem(shape)
    let inputs = TestInputs(problem, seed: 3)
    let layer = try Layer(shape, hidden: 8)
    for i in layer.weights.elements.indices { layer.weights.elements[i] *= size }
    let outputs = try Self.run("additive(8)", problem, inputs, layer)
    outputs.output.forEachRow { _, head, row in
      let q = Array(inputs.query[0, head, row])
      let scores = (0..<40).map {
        layer.score(q, Array(inputs.key[0, head, $0]), head: head, kvHead: head)
      }
      let top = scores.max() ?? 0
      let expected = top + Double.log(scores.reduce(0) { $0 + Double.exp($1 - top) })
      let found = Double(outputs.logSumExp?[0, head, row, 0] ?? .nan)
      #expect(abs(found - expected) <= 1e-6 * max(1, Double(size)), "\(found), \(expected)")
      for value in outputs.output[0, head, row] { #expect(value.isFinite) }
    }
  }

  /// Everything that acts on the scores of a softmax acts on these too.
  @Test(arguments: 0..<24)
  func servesWhatSoftmaxServes(_ number: Int) throws {
    let (problem, test) = try MaskTests.masked(number)
    let specimen = try Specimen(parsing: "additive(\(number % 9 + 1))")
    let inputs = TestInputs(problem, seed: number)
    let outputs = try specimen.run(problem, inputs, threads: test.threads)
    ErrorGate.check(specimen, problem, inputs, outputs, "case \(number)")
  }

  /// Whatever comes later changes no bit of an earlier row, also where it decides how a tanh is taken.
  @Test(arguments: [Float(-3), 0, 1e4, .nan])
  func theFutureDoesNotLeak(_ factor: Float) throws {
    let shape = try AttentionShape(heads: 2, kvHeads: 1, queryLength: 70, headDim: 6)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 5)
    let layer = try Layer(shape, hidden: 10)
    let before = try Self.run("additive(10)", problem, inputs, layer)
    for changed in [1, 16, 33, 69] {
      let other = inputs.copy()
      for tensor in [other.query, other.key, other.value] {
        tensor.forEachRow { batch, head, row in
          if row < changed { return }
          for column in 0..<6 { tensor[batch, head, row, column] *= factor }
        }
      }
      let after = try Self.run("additive(10)", problem, other, layer, threads: 1)
      var leaks = 0
      after.output.forEachRow { batch, head, row in
        if row >= changed { return }
        for (x, y) in zip(after.output[batch, head, row], before.output[batch, head, row])
        where x.bitPattern != y.bitPattern { leaks += 1 }
      }
      #expect(leaks == 0)
    }
  }

  @Test func theScaleIsOneUnlessGiven() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 3, keyLength: 17, headDim: 4)
    let layer = try Layer(shape, hidden: 5)
    let inputs = TestInputs(try AttentionProblem(shape), seed: 2)
    let plain = try Self.run("additive(5)", AttentionProblem(shape), inputs, layer)
    let one = try Self.run(
      "additive(5)", AttentionProblem(shape, scoring: Scoring(scale: 1)), inputs, layer)
    let half = try Self.run(
      "additive(5)", AttentionProblem(shape, scoring: Scoring(scale: 0.5)), inputs, layer)
    #expect(plain.bits == one.bits && plain.bits != half.bits)
  }

  @Test func badInputIsRefused() throws {
    let registry = StrategyRegistry.standard
    for text in ["additive(0)", "additive(65537)", "additive(hidden: x)"] {
      #expect { try registry.strategy(text) } throws: { "\($0)".contains("additive hidden") }
    }
    let shape = try AttentionShape(heads: 2, queryLength: 4, headDim: 4)
    let problem = try AttentionProblem(shape)
    let inputs = TestInputs(problem, seed: 1)
    let layer = try Layer(shape, hidden: 6)
    #expect { try Self.run("additive(5)", problem, inputs, layer) } throws: {
      "\($0)".contains("additive_q") && "\($0)".contains("[1, h, hidden, d] = [1, 2, 5, 4]")
    }
    let plan = try registry.strategy("additive(6)").plan(for: problem, on: Teams.of(1))
    let outputs = TestOutputs(problem)
    #expect { try plan.run(outputs.operands(inputs)) } throws: {
      "\($0)".contains("additive_q") && "\($0)".contains("missing")
    }
  }

  /// Work is what is done: no n^2 memory, and pairs of the mask.
  @Test func workspaceGrowsWithTheLength() throws {
    let strategy = try StrategyRegistry.standard.strategy("additive(32)")
    func work(_ n: Int) throws -> WorkEstimate {
      try strategy.work(
        for: AttentionProblem(
          AttentionShape(heads: 1, queryLength: n, headDim: 16),
          visibility: Visibility(causal: true)), threads: 1)
    }
    let (small, large) = try (work(4096), work(8192))
    #expect(large.pairs == 8192 * 8193 / 2)
    #expect(large.workspaceBytes < 2 * small.workspaceBytes + 1)
    #expect(large.flops == large.pairs * (32 / 4 * 22 + 32) + 2 * 2 * 8192 * 16 * 32)
  }
}
