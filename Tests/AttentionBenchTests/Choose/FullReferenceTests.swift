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
    let fast = try FullReference.computed(
      by: strategy("flash"), problem, seed: 1, tensors: tensors, team: team
    ).get()
    try run(text)
    let (truth, found) = (exact.errors(of: output.view), fast.errors(of: output.view))
    #expect(truth.rows == 1040 && truth.rowsChecked == 1040)
    #expect(found.rows == 1040 && found.rowsChecked == 1040)
    for (a, b) in zip([truth.whole] + truth.heads, [found.whole] + found.heads) {
      // The reference's own error is added, and to the upper limit all that rounding explains.
      #expect(b.upper >= a.value)
      #expect(b.value - a.value < 2e-6)
    }
  }

  /// A window is right by its own definition, and no full attention.
  @Test func whatFP64DoesNotConfirmIsNoReference() throws {
    let registry = StrategyRegistry.standard.adding(Imprecise.family).adding(Forgetful.family)
    for (text, fault) in [
      ("window(20)", "relative L2 error"), ("imprecise", "relative L2 error"),
      ("forgetful", "not finite in 1 of 32 checked rows"),
    ] {
      let result = try FullReference.computed(
        by: registry.strategy(text), problem, seed: 1, tensors: tensors, team: team)
      guard case .failure(let wrong) = result else {
        Issue.record("\(text) was taken for full attention")
        continue
      }
      #expect(wrong.fault.contains(fault), "\(wrong.fault)")
    }
  }

  /// Whatever the size, errors are right although the exact strategy that could be the reference is
  /// wrong: where fp64 is cheap it is not asked, elsewhere it is found out.
  @Test(arguments: [1, 17, 63, 64, 65, 130, 700])
  func aWrongReferenceIsNoticed(n: Int) throws {
    let registry = StrategyRegistry.standard.adding(Imprecise.family)
    let problem = try AttentionProblem(
      AttentionShape(heads: n == 700 ? 64 : 2, queryLength: n, headDim: 32),
      visibility: Visibility(causal: true))
    let placement = SweepPlacement(threads: 2, binding: .none)
    let executor = try AttentionExecutor(
      placements: [placement], inputs: .normal(seed: 1), seed: 1, topology: .host())
    try executor.load(problem)
    let remark = try executor.prepareReference(
      rows: .automatic, exact: registry.strategy("imprecise"), placement: placement, seed: 1)
    #expect((remark != nil) == (n == 700))
    if let remark { #expect(remark.hasPrefix("imprecise is not what errors are measured against")) }
    let flash = SweepPlan(
      sizes: [n], strategies: [try registry.strategy("flash")], placements: [placement], seed: 1
    ) { _ in problem }.cells[0]
    let prepared = try executor.prepare(flash)
    prepared.arm()
    try prepared.run()
    #expect(try prepared.check().fault == nil)
    // 1e-4 if the other's output were the truth.
    #expect(try executor.headErrors().whole.value < 1e-6)
  }

  /// Rows on which full attention is not a number are counted apart.
  @Test func rowsWithoutAReferenceHaveNoDistance() throws {
    tensors.key.elements[7 * 16] = .nan
    let reference = FullReference(
      problem, rowsPerHead: 130, seed: 1, tensors: tensors, team: team)
    try run("window(20)")
    let errors = reference.errors(of: output.view)
    // Query heads 0 and 1 of the first batch entry read that key, from row 7 on.
    #expect(errors.rowsUndefined == 2 * 123 && errors.rowsChecked == 1040 - 2 * 123)
    #expect(errors.rows == errors.rowsChecked && errors.whole.upper == errors.whole.value)
    #expect(errors.whole.value.isFinite)
    var none = SquaredErrors()
    none.addUndefined()
    #expect(SquaredErrors.estimate([none], rowsPerStratum: 1).value == .infinity)
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
