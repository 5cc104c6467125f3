import Attention
import AttentionTestSupport
import RealModule
import Testing

/// The scores and alignments of Luong 2015, by their formulas.
@Suite struct LuongTests {
  private static func tensor(_ shape: TensorShape, seed: Int, size: Float = 1) throws -> Tensor {
    var generator = TestGenerator(seed: seed)
    let tensor = try Tensor(shape)
    for i in tensor.elements.indices { tensor.elements[i] = size * (2 * generator.uniform() - 1) }
    return tensor
  }

  private static func run(
    _ text: String, _ problem: AttentionProblem, _ inputs: TestInputs, _ named: [String: Tensor],
    threads: Int = 2
  ) throws -> TestOutputs {
    let outputs = TestOutputs(problem)
    let plan = try StrategyRegistry.standard.strategy(text).plan(
      for: problem, on: Teams.of(threads))
    var operands = outputs.operands(inputs)
    operands.inputs.named = named.mapValues(\.view)
    try plan.run(operands)
    return outputs
  }

  @Test func generalIsTheFormula() throws {
    let shape = try AttentionShape(
      batch: 2, heads: 4, kvHeads: 2, queryLength: 60, keyLength: 71, headDim: 11, valueDim: 6)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 1)
    let matrix = try Self.tensor(TensorShape(1, 4, 11, 11), seed: 2, size: 0.2)
    let outputs = try Self.run("general", problem, inputs, ["general_w": matrix])
    outputs.output.forEachRow { batch, head, row in
      let scores = (0..<row + 12).map { j in
        (0..<11).reduce(0.0) { sum, a in
          (0..<11).reduce(sum) { sum, b in
            sum + Double(inputs.query[batch, head, row, a])
              * Double(matrix.view.row(0, head, a)[b])
              * Double(inputs.key[batch, head / 2, j, b])
          }
        }
      }
      let sum = scores.reduce(0) { $0 + Double.exp($1) }
      #expect(abs(Double(outputs.logSumExp?[batch, head, row, 0] ?? .nan) - Double.log(sum)) < 1e-5)
      for column in 0..<6 {
        let truth = scores.indices.reduce(0.0) {
          $0 + Double.exp(scores[$1]) * Double(inputs.value[batch, head / 2, $1, column]) / sum
        }
        #expect(abs(Double(outputs.output[batch, head, row, column]) - truth) < 1e-5)
      }
    }
  }

  /// Masks, biases, slopes, softcap and sinks, as in softmax attention.
  @Test(arguments: 0..<16, ["general", "local_p(7, hidden: 4)"])
  func serveWhatSoftmaxServes(_ number: Int, _ text: String) throws {
    let (problem, test) = try MaskTests.masked(number)
    let specimen = try Specimen(parsing: text)
    let inputs = TestInputs(problem, seed: number)
    let outputs = try specimen.run(problem, inputs, threads: test.threads)
    ErrorGate.check(specimen, problem, inputs, outputs, "\(text), case \(number)")
  }

  @Test(arguments: [false, true]) func localMIsAWindow(_ causal: Bool) throws {
    let shape = try AttentionShape(heads: 2, queryLength: 130, keyLength: 150, headDim: 8)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: causal))
    let inputs = TestInputs(problem, seed: 4)
    for width in [1, 10, 64, 200] {
      let local = try Self.run("local_m(\(width))", problem, inputs, [:])
      let window = try Self.run("window(left: \(width), right: \(width))", problem, inputs, [:])
      #expect(local.bits == window.bits)
    }
  }

  /// softmax over the window, then the Gaussian, by the formula; S is what a query may see.
  @Test(arguments: [1, 2, 5, 40, 300], [false, true])
  func localPIsTheFormula(_ width: Int, _ causal: Bool) throws {
    let shape = try AttentionShape(
      batch: 2, heads: 4, kvHeads: 2, queryLength: 33, keyLength: 400, headDim: 7, valueDim: 5)
    let problem = try AttentionProblem(
      shape, visibility: Visibility(causal: causal, keyLengths: [400, 20]))
    let inputs = TestInputs(problem, seed: width)
    let weights = try Self.tensor(TensorShape(1, 4, 9, 7), seed: 3)
    let direction = try Self.tensor(TensorShape(1, 4, 9, 1), seed: 4)
    let outputs = try Self.run(
      "local_p(\(width), hidden: 9)", problem, inputs, ["local_w": weights, "local_v": direction])
    outputs.output.forEachRow { batch, head, row in
      let length = batch == 0 ? 400 : 20
      let count = causal ? max(0, row + length - 33 + 1) : length
      let sum = (0..<9).reduce(0.0) { sum, unit in
        let product = (0..<7).reduce(0.0) {
          $0 + Double(weights.view.row(0, head, unit)[$1])
            * Double(inputs.query[batch, head, row, $1])
        }
        return sum + Double(direction.view.row(0, head, unit)[0]) * Double.tanh(product)
      }
      let position = Double(count) / (1 + Double.exp(-sum))
      let keys = (0..<count).filter { abs(Double($0) - position) <= Double(width) }
      let scores = keys.map { j in
        (0..<7).reduce(0.0) {
          $0 + Double(inputs.query[batch, head, row, $1])
            * Double(inputs.key[batch, head / 2, j, $1])
        } / Double(7).squareRoot()
      }
      let total = scores.reduce(0) { $0 + Double.exp($1) }
      let sigma = Double(width) / 2
      for column in 0..<5 {
        let truth = keys.indices.reduce(0.0) { sum, place in
          let distance = Double(keys[place]) - position
          return sum + Double.exp(scores[place]) / total
            * Double.exp(-distance * distance / (2 * sigma * sigma))
            * Double(inputs.value[batch, head / 2, keys[place], column])
        }
        #expect(abs(Double(outputs.output[batch, head, row, column]) - truth) < 1e-5)
      }
      let lse = Double(outputs.logSumExp?[batch, head, row, 0] ?? .nan)
      #expect(keys.isEmpty ? lse == -.infinity : abs(lse - Double.log(total)) < 1e-5)
    }
  }

  /// A prediction of S / 2 with an even S has whole keys at both ends: they are seen, and the definition holds
  /// the row without either for right as well, and no other.
  @Test func onlyKeysAtTheEndsAreForgiven() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 1, keyLength: 40, headDim: 4)
    let problem = try AttentionProblem(shape)
    let inputs = TestInputs(problem, seed: 7)
    let weights = try Tensor(TensorShape(1, 1, 2, 4))
    let direction = try Tensor(TensorShape(1, 1, 2, 1))
    let named = ["local_w": weights, "local_v": direction]
    let outputs = try Self.run("local_p(3, hidden: 2)", problem, inputs, named)
    let oracle = try StrategyRegistry.standard.strategy("local_p(3, hidden: 2)").oracle(
      for: problem)
    let views = InputViews(
      query: inputs.query.view, key: inputs.key.view, value: inputs.value.view,
      named: named.mapValues(\.view))
    let right = oracle.admissible(views, batch: 0, head: 0, row: 0)
    #expect(right.count == 4)
    for (x, y) in zip(outputs.output[0, 0, 0], right[0].output) {
      #expect(abs(Double(x) - y) < 1e-6)
    }
    weights.elements[0] = 1
    direction.elements[0] = 1e-4
    #expect(oracle.admissible(views, batch: 0, head: 0, row: 0).count == 1)
  }

  /// A row whose prediction is NaN is NaN, and nobody else; later tokens change no bit.
  @Test func localPLeaksNothing() throws {
    let shape = try AttentionShape(heads: 2, queryLength: 50, headDim: 6)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 5)
    let named = try [
      "local_w": Self.tensor(TensorShape(1, 2, 3, 6), seed: 3),
      "local_v": Self.tensor(TensorShape(1, 2, 3, 1), seed: 4),
    ]
    let before = try Self.run("local_p(4, hidden: 3)", problem, inputs, named)
    for changed in [1, 20, 49] {
      let other = inputs.copy()
      for tensor in [other.key, other.value, other.query] {
        tensor.forEachRow { batch, head, row in
          if row < changed { return }
          for column in 0..<6 { tensor[batch, head, row, column] = .nan }
        }
      }
      let after = try Self.run("local_p(4, hidden: 3)", problem, other, named, threads: 1)
      after.output.forEachRow { batch, head, row in
        for (x, y) in zip(after.output[batch, head, row], before.output[batch, head, row]) {
          #expect(row < changed ? x.bitPattern == y.bitPattern : x.isNaN)
        }
      }
    }
  }

  /// Step by step over a cache, given the weights in every step, what a run over all tokens gives.
  @Test(arguments: ["additive(5)", "general", "local_p(4, hidden: 5)"])
  func weightsAreGivenToEveryStep(_ text: String) throws {
    let shape = try AttentionShape(heads: 4, kvHeads: 2, queryLength: 23, headDim: 6)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let strategy = try StrategyRegistry.standard.strategy(text)
    var named: [String: Tensor] = [:]
    for (seed, operand) in strategy.operands.enumerated() {
      named[operand.name] = try Self.tensor(operand.shape(in: shape), seed: seed, size: 0.5)
    }
    let inputs = TestInputs(problem, seed: 9)
    let whole = try Self.run(text, problem, inputs, named)
    let step = try problem.with { shape, _, _, _ in shape.queryLength = 1 }
    let decoder = try strategy.decoder(for: step, cache: .contiguous(), on: Teams.of(2))
    #expect(decoder.declaredOperands.map(\.name) == strategy.operands.map(\.name))
    for token in 0..<23 {
      let one = TestOutputs(step)
      var operands = AttentionOperands(
        query: inputs.query.view.rows(first: token, count: 1),
        key: inputs.key.view.rows(first: token, count: 1),
        value: inputs.value.view.rows(first: token, count: 1), output: one.output.mutableView)
      operands.inputs.named = named.mapValues(\.view)
      try decoder.step(operands, newTokens: nil)
      for head in 0..<4 {
        for (x, y) in zip(one.output[0, head, 0], whole.output[0, head, token]) {
          #expect(abs(x - y) < 1e-5)
        }
      }
    }
  }

  @Test func badInputIsRefused() throws {
    let registry = StrategyRegistry.standard
    for text in ["local_p(0)", "local_p(3, hidden: 0)", "local_m(0)", "general(3)"] {
      #expect(throws: AttentionError.self) { try registry.strategy(text) }
    }
    let shape = try AttentionShape(heads: 2, queryLength: 4, headDim: 4)
    let problem = try AttentionProblem(shape)
    let inputs = TestInputs(problem, seed: 1)
    let matrix = try Tensor(TensorShape(1, 1, 4, 4))
    #expect { try Self.run("general", problem, inputs, ["general_w": matrix]) } throws: {
      "\($0)".contains("general_w") && "\($0)".contains("[1, h, d, d]")
    }
  }
}
