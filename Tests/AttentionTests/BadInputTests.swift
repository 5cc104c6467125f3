import Attention
import AttentionTestSupport
import Testing

/// What cannot be served is an error that names the argument, its value, the rule and the fix.
@Suite struct BadInputTests {
  /// Checks kind and words of what `body` throws.
  private func expectError(
    _ kind: AttentionError.Kind, _ words: [String],
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
  ) {
    do {
      try body()
      Issue.record("nothing was thrown; expected \(words)", sourceLocation: sourceLocation)
    } catch let error as AttentionError {
      #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
      for word in words {
        #expect(
          error.description.contains(word), "'\(error)' lacks '\(word)'",
          sourceLocation: sourceLocation)
      }
    } catch {
      Issue.record("\(error) is no AttentionError", sourceLocation: sourceLocation)
    }
  }

  @Test(arguments: [0, -1, .min])
  func sizesBelowOneAreRefused(_ size: Int) {
    func shape(_ name: String, _ make: () throws -> AttentionShape) {
      expectError(.invalidArgument, ["\(name) = \(size)", "at least 1"]) { _ = try make() }
    }
    shape("batch") { try AttentionShape(batch: size, heads: 1, queryLength: 1, headDim: 1) }
    shape("heads") { try AttentionShape(heads: size, queryLength: 1, headDim: 1) }
    shape("kvHeads") { try AttentionShape(heads: 1, kvHeads: size, queryLength: 1, headDim: 1) }
    shape("queryLength") { try AttentionShape(heads: 1, queryLength: size, headDim: 1) }
    shape("keyLength") {
      try AttentionShape(heads: 1, queryLength: 1, keyLength: size, headDim: 1)
    }
    shape("headDim") { try AttentionShape(heads: 1, queryLength: 1, headDim: size) }
    shape("valueDim") {
      try AttentionShape(heads: 1, queryLength: 1, headDim: 1, valueDim: size)
    }
  }

  @Test func sizesTooLargeAreRefused() {
    expectError(.tooLarge, ["queryLength = \(Int.max)", "at most"]) {
      _ = try AttentionShape(heads: 1, queryLength: .max, headDim: 64)
    }
    let large = AttentionShape.maximumLength
    expectError(.tooLarge, ["tensor shape = [", "overflow"]) {
      _ = try AttentionShape(batch: large, heads: large, queryLength: large, headDim: large)
    }
    expectError(.tooLarge, ["shape = query [1, 8, 2000000000, 128]", "2^63", "shorter"]) {
      _ = try AttentionShape(heads: 8, queryLength: 2_000_000_000, headDim: 128)
    }
    expectError(.tooLarge, ["shape = "]) {
      _ = try AttentionShape(heads: 1, queryLength: 1, headDim: large, valueDim: large)
    }
    expectError(.tooLarge, ["tensor shape = ", "overflow"]) {
      _ = try TensorShape(1 << 40, 1 << 20, 1, 1)
    }
    expectError(.shapeMismatch, ["tensor shape = [1, 0, 1, 1]", "at least 1"]) {
      _ = try TensorShape(1, 0, 1, 1)
    }
  }

  /// The largest shape that is served must not overflow anywhere on the way to an estimate.
  @Test(arguments: Specimen.all)
  func hugeButCountableShapesCanBeEstimated(_ specimen: Specimen) throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 1, keyLength: 2_000_000_000, headDim: 128))
    let work = try specimen.strategy.work(for: problem, threads: 4096)
    #expect(work.pairs >= 0 && work.flops >= 0 && work.workspaceBytes > 0)
  }

  @Test func headsMustBeAMultipleOfKeyHeads() {
    expectError(.invalidArgument, ["heads = 6", "multiple of kvHeads (4)"]) {
      _ = try AttentionShape(heads: 6, kvHeads: 4, queryLength: 1, headDim: 1)
    }
    expectError(.invalidArgument, ["heads = 2", "multiple of kvHeads (4)"]) {
      _ = try AttentionShape(heads: 2, kvHeads: 4, queryLength: 1, headDim: 1)
    }
  }

  @Test func badScalesAndOffsetsAreRefused() throws {
    let shape = try AttentionShape(batch: 2, heads: 1, queryLength: 4, headDim: 4)
    for scale in [Float.nan, .infinity, -.infinity] {
      expectError(.invalidArgument, ["scale = \(scale)", "finite", "leave it out"]) {
        _ = try AttentionProblem(shape, scoring: Scoring(scale: scale))
      }
    }
    expectError(.invalidArgument, ["offset = 3 values", "batch is 2"]) {
      _ = try AttentionProblem(shape, visibility: Visibility(offset: .perBatch([1, 2, 3])))
    }
    for offset in [Int.max, Int.min, AttentionShape.maximumLength + 1] {
      expectError(.tooLarge, ["offset = \(offset)", "within"]) {
        _ = try AttentionProblem(shape, visibility: Visibility(offset: .fixed(offset)))
      }
      expectError(.tooLarge, ["offset = \(offset)", "within"]) {
        _ = try AttentionProblem(shape, visibility: Visibility(offset: .perBatch([0, offset])))
      }
    }
  }

  @Test func unknownNamesComeWithTheNearest() {
    let registry = StrategyRegistry.standard
    expectError(.unknownStrategy, ["unknown strategy 'flsh'", "did you mean 'flash'?"]) {
      _ = try registry.strategy("flsh")
    }
    expectError(.unknownStrategy, ["unknown strategy 'transformer'", "full", "linear"]) {
      _ = try registry.strategy("transformer")
    }
    expectError(
      .unknownStrategy, ["unknown parameter 'sink'", "did you mean 'sinks'?", "window takes"]
    ) {
      _ = try registry.strategy("window(8, sink: 2)")
    }
    expectError(.unknownStrategy, ["unknown parameter 'q'", "full takes no parameters"]) {
      _ = try registry.strategy("full(q: 2)")
    }
  }

  @Test(arguments: [
    ("window(8, w: 3)", ["window w", "3", "twice"]),
    ("strided(8, l: 3)", ["strided l", "3", "twice"]),
    ("window(sinks: 4, 8)", ["8", "before"]),
    ("window(w: 8, left: 3)", ["window w = 8", "not both"]),
    ("window(0)", ["window w = 0", "at least 1"]),
    ("window(-4)", ["window w = -4", "at least 1"]),
    ("window(8.5)", ["window w = 8.5", "whole number"]),
    ("window(sinks: -1)", ["window sinks = -1", "at least 0"]),
    ("window(left: -2)", ["window left = -2", "at least -1"]),
    ("strided(99999999999)", ["strided l = 99999999999", "at most"]),
    ("fixed(8, 9)", ["fixed c = 9", "at most l (8)"]),
    ("dilated(0)", ["dilated w = 0", "at least 1"]),
    ("dilated(4, 0)", ["dilated gap = 0", "at least 1"]),
    ("chunked(0)", ["chunked size = 0", "at least 1"]),
    ("bigbird(64, 3, 65)", ["bigbird random = 65", "at most 64"]),
    ("flash(0)", ["flash blockQ = 0", "at least 1"]),
    ("linear(gelu)", ["linear phi = 'gelu'", "elu or relu"]),
    ("linear(elu, features: 8)", ["linear features = 8", "linear(favor, features: 8)"]),
    ("linear(favor, features: 0)", ["linear features = 0", "at least 1"]),
    ("gated(token)", ["gated decay = 'token'", "head or channel"]),
    ("delta(l3)", ["delta normalise = 'l3'", "none or l2"]),
    ("", ["strategy = ''", "name"]),
    ("(8)", ["'(8)'", "name"]),
    ("window(8", ["'window(8'", "closing parenthesis"]),
    ("window 8)", ["'window 8)'", "name"]),
    ("window((8))", ["nest"]),
    ("window(8,)", ["value or label: value"]),
    ("window(,8)", ["value or label: value"]),
    ("window(w: 8: 9)", ["value or label: value"]),
    ("window(w:)", ["value or label: value"]),
  ])
  func badParametersAreRefused(_ text: String, _ words: [String]) {
    expectError(.invalidArgument, words) { _ = try StrategyRegistry.standard.strategy(text) }
  }

  @Test func tooManyParametersAreRefused() {
    expectError(.unknownStrategy, ["unknown parameter '3'", "fixed takes (l, c, arithmetic)"]) {
      _ = try StrategyRegistry.standard.strategy("fixed(8, 2, f32, 3)")
    }
  }

  @Test func listsSplitOutsideParentheses() throws {
    let strategies = try StrategyRegistry.standard.strategies(
      " full , window( 8, sinks : 2 ),STRIDED(16)")
    let problem = try AttentionProblem(AttentionShape(heads: 1, queryLength: 64, headDim: 8))
    #expect(
      strategies.map { $0.spec(for: problem) } == ["full", "window(8, sinks: 2)", "strided(16)"])
    expectError(.invalidArgument, ["strategy = ''"]) {
      _ = try StrategyRegistry.standard.strategies("full,")
    }
  }

  @Test func parametersFarBeyondTheProblemAreServed() throws {
    // A stride of two thousand million must not cost memory for as many residue classes.
    for text in [
      "strided(2000000000)", "fixed(2000000000)", "window(2000000000)",
      "window(3, sinks: 2000000000)", "window(left: 2000000000)",
      "flash(2000000000, 2000000000)", "dilated(2000000000, 2000000000)", "chunked(2000000000)",
      "bigbird(2000000000, 2000000000, 64, 2000000000)", "bigbird(1, 1, 64, 0)",
    ] {
      let strategy = try StrategyRegistry.standard.strategy(text)
      for offset in [QueryOffset.bottomRight, .fixed(2_000_000_000), .fixed(-2_000_000_000)] {
        let problem = try AttentionProblem(
          AttentionShape(heads: 1, queryLength: 5, keyLength: 9, headDim: 4),
          visibility: Visibility(offset: offset))
        let work = try strategy.work(for: problem, threads: 1)
        #expect(work.workspaceBytes < 10_000_000, "\(text) at \(offset)")
        let inputs = TestInputs(problem, seed: 1)
        let specimen = Specimen(text: text, strategy: strategy)
        let outputs = try specimen.run(problem, inputs)
        ErrorGate.check(specimen, problem, inputs, outputs, "\(text) at \(offset)")
      }
    }
  }

  @Test(arguments: Specimen.all)
  func tensorsMustFitThePlan(_ specimen: Specimen) throws {
    let problem = try AttentionProblem(
      AttentionShape(
        batch: 2, heads: 4, kvHeads: 2, queryLength: 6, keyLength: 7, headDim: 3, valueDim: 5))
    let plan = try specimen.strategy.plan(for: problem, on: Teams.of(1))
    let inputs = TestInputs(problem, seed: 1)
    let outputs = TestOutputs(problem)
    let good = outputs.operands(inputs)
    try plan.run(good)
    let wrong = TestTensor(try TensorShape(2, 4, 7, 3))
    func refuse(_ name: String, _ expected: TensorShape, _ spoil: (inout AttentionOperands) -> Void)
    {
      var operands = good
      spoil(&operands)
      expectError(.shapeMismatch, ["\(name) = [2, 4, 7, 3]", "\(expected)"]) {
        try plan.run(operands)
      }
    }
    let shape = problem.shape
    refuse("query", shape.query) { $0.query = wrong.view }
    refuse("key", shape.key) { $0.key = wrong.view }
    refuse("value", shape.value) { $0.value = wrong.view }
    refuse("output", shape.output) { $0.output = wrong.mutableView }
    refuse("logSumExp", shape.logSumExp) { $0.logSumExp = wrong.mutableView }
  }

  @Test func stridesMustHoldTheRows() throws {
    let shape = try TensorShape(2, 2, 3, 4)
    var memory = [Float](repeating: 0, count: 100)
    memory.withUnsafeMutableBufferPointer {
      guard let base = $0.baseAddress else { return }
      let refused = [(24, 12, 3), (24, 12, -4), (-1, 12, 4), (24, -12, 4), (24, 12, .max)]
      for (batch, head, row) in refused {
        let words = ["strides = (batch: \(batch), head: \(head), row: \(row))", "row length (4)"]
        expectError(.shapeMismatch, words) {
          _ = try TensorView(base, shape: shape, strides: (batch, head, row))
        }
        expectError(.shapeMismatch, words) {
          _ = try MutableTensorView(base, shape: shape, strides: (batch, head, row))
        }
      }
      // Inputs may share rows between heads; outputs may not.
      for (batch, head, row) in [(24, 0, 4), (0, 12, 4), (24, 4, 4), (12, 12, 4), (24, 11, 4)] {
        #expect(throws: Never.self) {
          _ = try TensorView(base, shape: shape, strides: (batch, head, row))
        }
        expectError(.shapeMismatch, ["strides = (batch: \(batch)", "overlap"]) {
          _ = try MutableTensorView(base, shape: shape, strides: (batch, head, row))
        }
      }
    }
  }

  @Test(arguments: Specimen.all)
  func theStrideOfASingleRowIsFree(_ specimen: Specimen) throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 1, headDim: 4), visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 1)
    let outputs = try specimen.run(problem, inputs)
    for stride in [0, -7, 1 << 40] {
      func view(_ tensor: TestTensor) throws -> MutableTensorView {
        try MutableTensorView(
          tensor.mutableView.base, shape: tensor.shape, strides: (4, 4, stride))
      }
      let again = TestOutputs(problem)
      try specimen.strategy.plan(for: problem, on: Teams.of(1)).run(
        AttentionOperands(
          query: view(inputs.query).reading, key: view(inputs.key).reading,
          value: view(inputs.value).reading, output: view(again.output)))
      #expect(again.output.bits == outputs.output.bits)
    }
  }

  @Test func memoryThatIsRefusedIsAnError() {
    expectError(.outOfMemory, ["floats", "refused"]) {
      _ = try Tensor(TensorShape(1 << 20, 1 << 20, 1 << 17, 1))
    }
  }
}
