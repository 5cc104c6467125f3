import Attention
import AttentionBench
import MachineTopology
import Testing

/// What the errors of a choice are measured against.
@Suite struct FullReferenceTests {
  private let problem: AttentionProblem
  private let tensors: ProblemTensors
  private let team: WorkerTeam
  private let output: Tensor
  private let operands: AttentionOperands

  init() throws {
    let shape = try AttentionShape(
      batch: 2, heads: 4, kvHeads: 2, queryLength: 130, headDim: 16, valueDim: 12)
    problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    tensors = try ProblemTensors(random: shape, seed: 5)
    team = try WorkerTeam(threads: 2)
    output = try Tensor(shape.output)
    operands = AttentionOperands(
      query: tensors.query.view, key: tensors.key.view, value: tensors.value.view,
      output: output.mutableView)
  }

  private func strategy(_ text: String) throws -> any AttentionStrategy {
    try StrategyRegistry.standard.strategy(text)
  }

  private func run(_ text: String) throws {
    try strategy(text).plan(for: problem, on: team).run(operands)
  }

  /// All rows in fp32 and all rows in fp64 say the same but for what fp32 may be off.
  @Test(arguments: ["window(20)", "strided(8)", "linear", "flash"])
  func allRowsInFP32AgreeWithFP64(text: String) throws {
    let exact = FullReference(
      problem, rowsPerHead: 130, seed: 1, tensors: tensors, team: team)
    let fast = try FullReference(
      problem, strategy: strategy("flash"), seed: 1, tensors: tensors, team: team)
    try run(text)
    let (truth, found) = (exact.errors(of: output.view), fast.errors(of: output.view))
    #expect(truth.rows == 1040 && truth.rowsChecked == 1040)
    #expect(found.rows == 1040 && found.rowsChecked == 1040)
    for (a, b) in zip([truth.whole] + truth.heads, [found.whole] + found.heads) {
      // The reference's own error is added; it is known from some rows only, to a tenth of 2e-7.
      #expect(b.upper >= a.value - 2e-8)
      #expect(b.value - a.value < 2e-6)
    }
  }

  @Test func aWrongReferenceShowsInEveryError() throws {
    // A window for full attention: what it is off by is in all errors measured against it.
    let wrong = try FullReference(
      problem, strategy: strategy("window(20)"), seed: 1, tensors: tensors, team: team)
    try run("window(20)")
    let errors = wrong.errors(of: output.view)
    #expect(errors.whole.value > 0.05 && errors.heads.allSatisfy { $0.value > 0.05 })
  }

  @Test func sampledRowsAreFewerAndTheirLimitHigher() throws {
    let sampled = FullReference(
      problem, rowsPerHead: 20, seed: 1, tensors: tensors, team: team)
    try run("window(20)")
    let errors = sampled.errors(of: output.view)
    #expect(errors.rowsChecked < errors.rows && errors.rows == 1040)
    #expect(errors.whole.upper > errors.whole.value)
  }

  /// Output that is not finite where full attention is makes the error infinite, in its head alone.
  @Test func whatIsNotFiniteIsInfinitelyFar() throws {
    let reference = FullReference(
      problem, rowsPerHead: 130, seed: 1, tensors: tensors, team: team)
    try run("flash")
    output.elements[0] = .nan
    let errors = reference.errors(of: output.view)
    #expect(errors.heads[0].value == .infinity && errors.whole.value == .infinity)
    #expect(errors.heads.dropFirst().allSatisfy { $0.value < 1e-5 })
  }
}
