import Attention
import AttentionTestSupport
import Testing

/// Recurrences under gates that are hard on chunks: against the recurrence in fp64, and beside that in fp32 as
/// it is written down.
@Suite struct RecurrenceTests {
  /// What the tokens of a sequence do.
  enum Gates: String, CaseIterable {
    /// Nothing decays, and each value replaces what was there.
    case replacing
    /// Decays so small that a whole sequence is kept.
    case faint
    /// A reset every few tokens, of -1e3 and of -1e4.
    case resets
    /// A reset of everything, -inf, and of single channels.
    case infinite
    /// Betas of 0, 1 and 2 in turn.
    case edges
    /// The same few keys again and again.
    case repeated

    func decay(_ token: Int, _ channel: Int, _ generator: inout TestGenerator) -> Float {
      switch self {
      case .replacing: 0
      case .faint: -1e-5 * generator.uniform()
      case .resets: token % 7 == 3 ? -1e4 : token % 11 == 5 ? -1e3 : -0.1 * generator.uniform()
      case .infinite: (token + channel) % 13 == 4 ? -.infinity : -generator.uniform()
      case .edges, .repeated: -0.05 * generator.uniform()
      }
    }

    func beta(_ token: Int, _ generator: inout TestGenerator) -> Float {
      switch self {
      case .replacing: 1
      case .edges: [0, 1, 2][token % 3]
      default: generator.uniform()
      }
    }
  }

  static let rules = [
    "gated", "gated(channel)", "delta(l2)", "delta", "gated_delta(normalise: l2)",
    "gated_delta(channel, l2)", "retention",
  ]

  /// A problem's tensors with the operands of a strategy.
  private struct Setting {
    let strategy: any RecurrentStrategy
    let problem: AttentionProblem
    let inputs: TestInputs
    let named: [String: Tensor]

    var views: [String: TensorView] { named.mapValues(\.view) }

    init(
      _ text: String, _ gates: Gates, length: Int, heads: Int = 2, headDim: Int = 24,
      valueDim: Int = 17
    ) throws {
      let strategy = try StrategyRegistry.standard.strategy(text)
      self.strategy = try #require(strategy as? any RecurrentStrategy)
      problem = try AttentionProblem(
        AttentionShape(
          heads: heads, kvHeads: 1, queryLength: length, headDim: headDim, valueDim: valueDim),
        visibility: Visibility(causal: true))
      let inputs = TestInputs(problem, seed: 5)
      var generator = TestGenerator(seed: 9)
      if gates == .repeated {
        inputs.key.fill { _, _, row, column in Float((row % 3 + 2) * (column + 1) % 7) - 3 }
      }
      if text == "delta" {
        // Not of length 1, but short enough for a state to stay what it is.
        inputs.key.forEachRow { batch, head, row in
          let length = inputs.key[batch, head, row].reduce(0) { $0 + $1 * $1 }.squareRoot()
          let wanted: Float = row % 2 == 0 ? 0.3 : 0.95
          for column in 0..<headDim { inputs.key[batch, head, row, column] *= wanted / length }
        }
      }
      var named: [String: Tensor] = [:]
      for operand in strategy.operands where !operand.isOptional {
        let tensor = try Tensor(operand.shape(in: problem.shape))
        let columns = tensor.shape.columns
        for index in 0..<tensor.shape.count {
          let (token, channel) = index.quotientAndRemainder(dividingBy: columns)
          tensor.elements[index] =
            operand.name == "beta"
            ? gates.beta(token, &generator) : gates.decay(token, channel, &generator)
        }
        named[operand.name] = tensor
      }
      self.inputs = inputs
      self.named = named
    }

    func run(threads: Int = 2) throws -> TestOutputs {
      let outputs = TestOutputs(problem)
      var operands = outputs.operands(inputs)
      operands.inputs.named = views
      try strategy.plan(for: problem, on: Teams.of(threads)).run(operands)
      return outputs
    }

    /// Every `step`th row of the definition.
    func truth(step: Int) -> [(head: Int, row: Int, expected: OracleRow)] {
      let oracle = strategy.oracle(for: problem)
      let views = InputViews(
        query: inputs.query.view, key: inputs.key.view, value: inputs.value.view, named: views)
      return stride(from: 0, to: problem.shape.queryLength, by: step).map { row in
        let head = row / step % problem.shape.heads
        return (head, row, oracle.row(views, batch: 0, head: head, row: row))
      }
    }
  }

  private static func error(
    _ outputs: TestOutputs, _ truth: [(head: Int, row: Int, expected: OracleRow)]
  ) -> Deviation {
    var deviation = Deviation()
    for (head, row, expected) in truth {
      deviation.add(outputs.output[0, head, row], logSumExp: nil, truth: expected)
    }
    return deviation
  }

  @Test(arguments: rules, Gates.allCases)
  func chunksAreAsGoodAsSteps(_ text: String, _ gates: Gates) throws {
    for length in [1, 2, 23, 24, 25, 47, 48, 49, 200] {
      try check(text, gates, length: length, step: max(1, length / 60))
    }
  }

  @Test(arguments: rules, [Gates.replacing, .resets, .edges])
  func longSequencesAreAsGood(_ text: String, _ gates: Gates) throws {
    try check(text, gates, length: 8192, step: 431)
  }

  private func check(_ text: String, _ gates: Gates, length: Int, step: Int) throws {
    let setting = try Setting(text, gates, length: length)
    let truth = setting.truth(step: step)
    let found = Self.error(try setting.run(), truth)
    let naive = Self.error(
      NaiveRecurrence(setting.strategy, setting.problem, named: setting.views).run(setting.inputs),
      truth)
    let size = truth.flatMap(\.expected.output).map(abs).max() ?? 0
    #expect(
      found.maximum <= 2 * naive.maximum + 3e-7 * size, "\(length): \(found), step by step \(naive)"
    )
    #expect(
      found.relativeL2 <= 2 * naive.relativeL2 + 2e-7, "\(length): \(found), step by step \(naive)")
  }

  /// A sequence that is cut anywhere goes on from its state, also by single tokens, where value columns fill
  /// whole panels and a step works on the caller's state itself.
  @Test(
    arguments: rules + ["linear(identity)", "linear(relu, normalise: false)"],
    [1, 2, 24, 37, 48, 61, 67])
  func aSequenceCanBeCut(_ text: String, _ cut: Int) throws {
    for valueDim in [17, 64] { try checkCut(text, cut, valueDim: valueDim) }
  }

  private func checkCut(_ text: String, _ cut: Int, valueDim: Int) throws {
    let length = 70
    let setting = try Setting(text, .resets, length: length, valueDim: valueDim)
    let whole = try setting.run()
    let shape = setting.problem.shape
    var state = try Tensor(TensorShape(1, 1, shape.headDim, shape.valueDim))
    // After three single tokens all that is left at once, but for the last.
    let ends = [cut, cut + 1, cut + 2, min(cut + 3, length - 1), length - 1, length]
    var done = 0
    for end in ends where end > done {
      let part = done..<end
      done = end
      let problem = try AttentionProblem(
        AttentionShape(
          heads: 2, kvHeads: 1, queryLength: part.count, headDim: shape.headDim,
          valueDim: valueDim),
        visibility: Visibility(causal: true))
      let inputs = TestInputs(problem, seed: 0)
      inputs.query.fill { setting.inputs.query[$0, $1, part.lowerBound + $2, $3] }
      inputs.key.fill { setting.inputs.key[$0, $1, part.lowerBound + $2, $3] }
      inputs.value.fill { setting.inputs.value[$0, $1, part.lowerBound + $2, $3] }
      let outputs = TestOutputs(problem)
      var operands = outputs.operands(inputs)
      var named: [String: Tensor] = ["state": state]
      for (name, tensor) in setting.named {
        let columns = tensor.shape.columns
        let own = try Tensor(TensorShape(1, 1, part.count, columns))
        for index in 0..<part.count * columns {
          own.elements[index] = tensor.elements[part.lowerBound * columns + index]
        }
        named[name] = own
      }
      operands.inputs.named = named.mapValues(\.view)
      let next = try Tensor(TensorShape(1, 1, shape.headDim, shape.valueDim))
      next.poison()
      operands.finalState = next.mutableView
      try setting.strategy.plan(for: problem, on: Teams.of(3)).run(operands)
      state = next
      outputs.output.forEachRow { _, head, row in
        for column in 0..<valueDim {
          let (a, b) = (
            outputs.output[0, head, row, column],
            whole.output[0, head, part.lowerBound + row, column]
          )
          #expect(abs(a - b) <= 2e-5 * max(1, abs(b)), "row \(part.lowerBound + row)")
        }
      }
    }
  }

  /// As in ONNX's `LinearAttention`, 0 stands for 1 / sqrt(d).
  @Test(arguments: ["linear(identity)", "gated", "delta(l2)", "retention"])
  func aScaleOfZeroIsTheUsualOne(_ text: String) throws {
    let setting = try Setting(text, .faint, length: 50)
    var bits: [[UInt32]] = []
    for scale in [0, nil] as [Float?] {
      let problem = try AttentionProblem(
        setting.problem.shape, scoring: Scoring(scale: scale),
        visibility: setting.problem.visibility)
      let outputs = TestOutputs(problem)
      var operands = outputs.operands(setting.inputs)
      operands.inputs.named = setting.views
      try setting.strategy.plan(for: problem, on: Teams.of(1)).run(operands)
      bits.append(outputs.bits)
      let oracle = setting.strategy.oracle(for: problem)
      let truth = oracle.row(operands.inputs, batch: 0, head: 0, row: 40)
      for (x, y) in zip(outputs.output[0, 0, 40], truth.output) {
        #expect(abs(Double(x) - y) < 1e-4)
      }
    }
    #expect(bits[0] == bits[1])
    #expect(bits[0].contains { $0 != 0 })
  }

  /// What lies behind a sequence's length is nobody's, whatever it is; before that it must be valid.
  @Test func paddingOfOperandsIsNotLookedAt() throws {
    let declarations = try StrategyRegistry.standard.strategy("gated").operands
    let decay = try Tensor(TensorShape(2, 1, 10, 1))
    for index in 0..<20 { decay.elements[index] = index % 10 < 7 ? -0.1 : .nan }
    try declarations.checkValues(
      ["decay": decay.view], under: Visibility(causal: true, keyLengths: [7, 6]))
    #expect(throws: AttentionError.self) {
      try declarations.checkValues(
        ["decay": decay.view], under: Visibility(causal: true, keyLengths: [7, 8]))
    }
    #expect(throws: AttentionError.self) { try declarations.checkValues(["decay": decay.view]) }
  }

  /// The state is over all tokens, whether a query sees them or not.
  @Test func theFinalStateKnowsAllTokens() throws {
    let strategy = try StrategyRegistry.standard.strategy("linear(identity)")
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 3, keyLength: 90, headDim: 5, valueDim: 4),
      visibility: Visibility(causal: true, offset: .topLeft))
    let inputs = TestInputs(problem, seed: 2)
    let outputs = TestOutputs(problem)
    var operands = outputs.operands(inputs)
    let state = try Tensor(TensorShape(1, 1, 5, 4))
    operands.finalState = state.mutableView
    try strategy.plan(for: problem, on: Teams.of(2)).run(operands)
    for i in 0..<5 {
      for c in 0..<4 {
        let sum = (0..<90).reduce(0.0) {
          $0 + Double(inputs.key[0, 0, $1, i]) * Double(inputs.value[0, 0, $1, c])
        }
        #expect(abs(Double(state.elements[i * 4 + c]) - sum) < 1e-4)
      }
    }
  }

  /// What is not there to go on from is refused, and so is a state of another shape.
  /// What a plan holds beyond its operands is a worker's chunk and state, whatever the length.
  @Test(arguments: rules + ["ssd", "linear(elu)"])
  func memoryDoesNotGrow(_ text: String) throws {
    let strategy = try StrategyRegistry.standard.strategy(text)
    for (headDim, threads) in [(64, 1), (128, 2), (256, 3)] {
      let bytes = try [1_000, 16_000, 100_000].map { length in
        let problem = try AttentionProblem(
          AttentionShape(heads: 8, queryLength: length, headDim: headDim),
          visibility: Visibility(causal: true))
        return try strategy.work(for: problem, threads: threads).workspaceBytes
      }
      #expect(bytes.allSatisfy { $0 == bytes[0] && $0 < threads * 4 << 20 }, "\(bytes)")
    }
  }

  @Test func statesThatDoNotFitAreRefused() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, queryLength: 9, headDim: 5, valueDim: 4))
    let inputs = TestInputs(problem, seed: 2)
    for (text, shape, words) in [
      ("flash", [1, 2, 5, 4], "keeps no state"), ("linear", [1, 2, 5, 4], "keeps no state"),
      ("retention", [1, 2, 4, 5], "[1, 2, 5, 4]"),
    ] {
      var operands = TestOutputs(problem).operands(inputs)
      let state = try Tensor(TensorShape(shape[0], shape[1], shape[2], shape[3]))
      operands.finalState = state.mutableView
      let plan = try StrategyRegistry.standard.strategy(text).plan(for: problem, on: Teams.of(1))
      let error = #expect(throws: AttentionError.self) { try plan.run(operands) }
      #expect(error?.argument == "finalState")
      #expect(error?.description.contains(words) == true, "\(text): \(error?.description ?? "")")
    }
  }

  /// A rate that goes with the head's number cannot be kept where heads are taken out.
  @Test func aMixRefusesRatesOfHeadNumbers() throws {
    let strategies = try ["flash", "retention"].map { try StrategyRegistry.standard.strategy($0) }
    let error = #expect(throws: AttentionError.self) { try MixedAttention(strategies) }
    #expect(error?.advice.contains("gated") == true)
  }

  /// More features, nearer to softmax.
  @Test func randomFeaturesApproachSoftmax() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 80, headDim: 8), scoring: Scoring(scale: 0.2))
    let inputs = TestInputs(problem, seed: 3)
    let truth = oracleRows(SoftmaxOracle(full: problem), inputs)
    let errors = try [8, 64, 1024].map { count in
      try Specimen(parsing: "linear(favor, features: \(count))").run(problem, inputs)
        .deviation(from: truth).relativeL2
    }
    #expect(errors[2] < 0.25 && errors[2] < errors[1] && errors[1] < errors[0], "\(errors)")
  }

  /// With scores of a few units: where |x|^2 is large features leave the range of fp32.
  @Test(arguments: [(8, 23), (33, 66), (64, 17)])
  func randomFeaturesAreWhatTheyAre(_ headDim: Int, _ count: Int) throws {
    let specimen = try Specimen(parsing: "linear(favor, features: \(count), seed: 4)")
    for causal in [false, true] {
      let problem = try AttentionProblem(
        AttentionShape(
          heads: 4, kvHeads: 2, queryLength: 101, keyLength: 77, headDim: headDim, valueDim: 9),
        visibility: Visibility(causal: causal))
      let inputs = TestInputs(problem, seed: 6)
      let outputs = try specimen.run(problem, inputs, threads: 3)
      ErrorGate.check(specimen, problem, inputs, outputs, "\(headDim), \(count) features")
    }
  }

  /// Keys that are all alike add the same number to the sum of their weights again and again.
  @Test(arguments: ["linear", "linear(relu)", "linear(favor)"], [false, true])
  func equalKeysKeepTheBound(_ text: String, _ causal: Bool) throws {
    let specimen = try Specimen(parsing: text)
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 1800, headDim: 4),
      visibility: Visibility(causal: causal))
    for key in [0, 0.3] as [Float] {
      let inputs = TestInputs(problem, seed: 5)
      inputs.key.fill { _, _, _, _ in key }
      let outputs = try specimen.run(problem, inputs, threads: 2)
      ErrorGate.check(specimen, problem, inputs, outputs, "keys of \(key), causal \(causal)")
    }
  }
}
