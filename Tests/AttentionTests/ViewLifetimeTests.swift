import Attention
import AttentionTestSupport
import Testing

/// Views keep what they point to alive, for as long as they exist and no longer.
@Suite struct ViewLifetimeTests {
  /// A tensor of numbers that follow from the seed.
  private static func filled(_ shape: TensorShape, seed: Int) throws -> Tensor {
    let tensor = try Tensor(shape)
    var generator = TestGenerator(seed: seed)
    for index in tensor.elements.indices { tensor.elements[index] = generator.normal() }
    return tensor
  }

  /// Takes and scribbles over whatever memory of such tensors has been given back.
  private static func churn(_ shapes: TensorShape...) throws {
    for shape in shapes {
      let tensors = try (0..<50).map { _ in try Tensor(shape) }
      for tensor in tensors { tensor.poison() }
    }
  }

  private static func problem() throws -> AttentionProblem {
    try AttentionProblem(
      AttentionShape(heads: 4, kvHeads: 2, queryLength: 70, headDim: 16),
      visibility: Visibility(causal: true))
  }

  @Test(arguments: ["flash", "full", "linear", "window(9)", "strided(5)"])
  func tensorsMayBeTemporary(_ text: String) throws {
    let (problem, shape) = (try Self.problem(), try Self.problem().shape)
    let plan = try StrategyRegistry.standard.strategy(text).plan(for: problem, on: Teams.of(2))
    let tensors = try [(shape.query, 1), (shape.key, 2), (shape.value, 3)].map(Self.filled)
    let (expected, output) = (try Tensor(shape.output), try Tensor(shape.output))
    try plan.run(
      AttentionOperands(
        query: tensors[0].view, key: tensors[1].view, value: tensors[2].view,
        output: expected.mutableView))
    for _ in 0..<20 {
      output.poison()
      let operands = AttentionOperands(
        query: try Self.filled(shape.query, seed: 1).view,
        key: try Self.filled(shape.key, seed: 2).view,
        value: try Self.filled(shape.value, seed: 3).view, output: output.mutableView,
        logSumExp: try Tensor(shape.logSumExp).mutableView)
      try Self.churn(shape.query, shape.key, shape.logSumExp)
      try plan.run(operands)
      #expect(output.elements.elementsEqual(expected.elements))
    }
  }

  @Test func decodersAndScoreMatricesTakeTemporaries() throws {
    let shape = try AttentionShape(heads: 4, kvHeads: 2, queryLength: 3, keyLength: 9, headDim: 16)
    let problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    let new = try TensorShape(1, 2, 3, 16)
    for text in ["flash", "linear"] {
      let strategy = try StrategyRegistry.standard.strategy(text)
      var outputs: [[Float]] = []
      for _ in 0..<2 {
        let decoder = try strategy.decoder(for: problem, on: Teams.of(2))
        let output = try Tensor(shape.output)
        for step in 0..<3 {
          try decoder.step(
            query: try Self.filled(shape.query, seed: step).view,
            key: try Self.filled(new, seed: 10 + step).view,
            value: try Self.filled(new, seed: 20 + step).view, output: output.mutableView)
          try Self.churn(new, shape.query)
        }
        outputs.append(Array(output.elements))
      }
      #expect(outputs[0] == outputs[1] && outputs[0].allSatisfy { $0.isFinite })
    }
    let scores = try Tensor(ScoreMatrix.shape(for: problem))
    scores.poison()
    try ScoreMatrix.compute(
      .probabilities, of: problem, query: try Self.filled(shape.query, seed: 1).view,
      key: try Self.filled(shape.key, seed: 2).view, into: scores.mutableView, on: Teams.of(2))
    #expect(scores.elements.allSatisfy { $0.isFinite })
  }

  @Test func packedSequencesMayBeTemporary() throws {
    let all = try TensorShape(1, 2, 40, 16)
    func operands(_ output: Tensor) throws -> (AttentionProblem, AttentionOperands) {
      let packed = try PackedSequences(queryOffsets: [0, 7, 7, 40])
      let query = try Self.filled(all, seed: 1), key = try Self.filled(all, seed: 2)
      return (
        try packed.problem(heads: 2, headDim: 16),
        try packed.operands(
          query: query.view, key: key.view, value: key.view, output: output.mutableView)
      )
    }
    let strategy = try StrategyRegistry.standard.strategy("flash")
    let (first, second) = (try Tensor(all), try Tensor(all))
    for output in [first, second] {
      let (problem, operands) = try operands(output)
      try Self.churn(all)
      try strategy.plan(for: problem, on: Teams.of(2)).run(operands)
    }
    #expect(first.elements.elementsEqual(second.elements))
    #expect(first.elements.contains { $0 != 0 } && first.elements.allSatisfy { $0.isFinite })
  }

  @Test(arguments: CacheKind.allCases)
  func viewsOutliveTheirCache(_ kind: CacheKind) throws {
    let shape = try CacheShape(kvHeads: 2, headDim: 8)
    let rows = try Self.filled(TensorShape(1, 2, 5, 8), seed: 4)
    func views() throws -> (key: TensorView, value: TensorView) {
      let cache = try kind.make(shape, capacity: 5, .float32)
      try (cache as? ContiguousCache)?.reserve(5)
      try cache.append(key: rows.view, value: rows.view)
      let views = cache.views(rows: 5)
      // A cache that moves leaves its views the memory they were made for.
      try (cache as? ContiguousCache)?.reserve(5000)
      return views
    }
    let (key, value) = try views()
    try Self.churn(rows.shape, TensorShape(1, 2, 5000, 8))
    for head in 0..<2 {
      for row in 0..<5 {
        #expect(key.floats(0, head, row) == rows.view.floats(0, head, row))
        #expect(value.floats(0, head, row) == rows.view.floats(0, head, row))
      }
    }
  }

  @Test func nothingLivesLongerThanItsViews() throws {
    weak var tensor: Tensor?
    var view: TensorView?
    var elements: TensorElements<Float>?
    do {
      let made = try Tensor(TensorShape(2, 3, 4, 5))
      tensor = made
      view = made.view.heads(1, step: 1, count: 2).entry(1, first: 2, count: 1)
      elements = made.elements
    }
    #expect(tensor != nil)
    elements?[0] = 3
    #expect(elements?[0] == 3 && elements?.count == 120)
    elements = nil
    #expect(tensor != nil)
    #expect(view?.shape.rows == 1)
    view = nil
    #expect(tensor == nil)
  }

  @Test func elementsOfATemporaryTensorCanBeUsed() throws {
    let shape = try TensorShape(1, 1, 30, 30)
    let elements = try Tensor(shape).elements
    let bytes = try Tensor(shape).bytes
    elements.update(from: (0..<900).map(Float.init))
    bytes.update(repeating: 7)
    try Self.churn(shape)
    #expect(Array(elements) == (0..<900).map(Float.init))
    #expect(bytes.count == 3600 && bytes.allSatisfy { $0 == 7 })
    #expect(Array(elements[3..<5]) == [3, 4])
  }
}
