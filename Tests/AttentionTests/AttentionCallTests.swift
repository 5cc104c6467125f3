import Attention
import AttentionTestSupport
import MachineTopology
import Testing

/// `attention(q, k, v)`, the whole library in one call.
@Suite struct AttentionCallTests {
  private struct Operands: Sendable {
    let query: Tensor
    let key: Tensor
    let value: Tensor
    let problem: AttentionProblem

    init(causal: Bool, scale: Float? = nil, layout: TensorLayout = .bhnd) throws {
      let shape = try AttentionShape(
        batch: 2, heads: 4, kvHeads: 2, queryLength: 37, keyLength: 61, headDim: 16, valueDim: 24)
      problem = try AttentionProblem(
        shape, scoring: Scoring(scale: scale), visibility: Visibility(causal: causal))
      query = try Tensor(shape.query, layout: layout)
      key = try Tensor(shape.key, layout: layout)
      value = try Tensor(shape.value, layout: layout)
      var generator = TestGenerator(seed: 5)
      for tensor in [query, key, value] {
        for index in tensor.elements.indices { tensor.elements[index] = generator.normal() }
      }
    }

    var views: InputViews { InputViews(query: query.view, key: key.view, value: value.view) }

    /// The largest distance of an output from a definition.
    func error(_ output: Tensor, _ oracle: any AttentionOracle) -> Double {
      var worst = 0.0
      let shape = problem.shape
      for batch in 0..<shape.batch {
        for head in 0..<shape.heads {
          for row in 0..<shape.queryLength {
            let truth = oracle.row(views, batch: batch, head: head, row: row).output
            for (found, expected) in zip(output.view.floats(batch, head, row), truth) {
              let error = abs(Double(found) - expected)
              worst = error <= worst ? worst : error
            }
          }
        }
      }
      return worst
    }
  }

  @Test(arguments: [false, true], TensorLayout.allCases)
  func isSoftmaxAttention(_ causal: Bool, _ layout: TensorLayout) throws {
    for scale in [nil, 0.4] as [Float?] {
      let operands = try Operands(causal: causal, scale: scale, layout: layout)
      let output = try attention(
        operands.query, operands.key, operands.value, causal: causal, scale: scale)
      #expect(output.shape == operands.problem.shape.output && output.layout == layout)
      #expect(operands.error(output, SoftmaxOracle(full: operands.problem)) < 2e-6)
    }
  }

  @Test(arguments: ["full", "window(9, sinks: 2)", "strided(5)", "linear"])
  func takesEveryStrategy(_ text: String) throws {
    let operands = try Operands(causal: true)
    let strategy = try StrategyRegistry.standard.strategy(text)
    let output = try attention(
      operands.query, operands.key, operands.value, causal: true, strategy: text, threads: 2)
    #expect(operands.error(output, strategy.oracle(for: operands.problem)) < 1e-5)
    let own = try attention(
      operands.query, operands.key, operands.value, causal: true, strategy: text, on: Teams.of(2))
    #expect(own.elements.elementsEqual(output.elements))
  }

  @Test func keepsTheElementTypeOfTheQuery() throws {
    let operands = try Operands(causal: true)
    let stored = try [operands.query, operands.key, operands.value].map {
      try Tensor(copying: $0.view, as: .bfloat16)
    }
    let output = try attention(stored[0], stored[1], stored[2], causal: true)
    #expect(output.elementType == .bfloat16)
    #expect(operands.error(output, SoftmaxOracle(full: operands.problem)) < 0.05)
  }

  @Test func callsOnSeveralThreadsDoNotMix() async throws {
    let operands = try Operands(causal: true)
    let expected = try attention(operands.query, operands.key, operands.value, causal: true)
    try await withThrowingTaskGroup(of: Bool.self) { group in
      for call in 0..<24 {
        group.addTask {
          let output = try attention(
            operands.query, operands.key, operands.value, causal: true,
            threads: call % 3 == 0 ? nil : call % 3)
          return output.elements.elementsEqual(expected.elements)
        }
      }
      for try await isSame in group { #expect(isSame) }
    }
  }

  @Test func namesWhatDoesNotFit() throws {
    let operands = try Operands(causal: false)
    func argument(_ body: () throws -> Tensor) -> String? {
      let error = #expect(throws: AttentionError.self) { try body() }
      return error?.argument
    }
    let (query, key, value) = (operands.query, operands.key, operands.value)
    let narrow = try Tensor(TensorShape(2, 2, 61, 8)), short = try Tensor(TensorShape(2, 2, 60, 24))
    #expect(argument { try attention(query, narrow, value) } == "key")
    #expect(argument { try attention(query, key, short) } == "value")
    #expect(argument { try attention(query, key, value, strategy: "flahs") } == "strategy")
    #expect(argument { try attention(query, key, value, scale: .nan) } == "scale")
    let half = try Tensor(copying: value.view, as: .float16)
    #expect(argument { try attention(query, key, half) } == "value")
    #expect(throws: TopologyError.self) { try attention(query, key, value, threads: 0) }
  }
}
