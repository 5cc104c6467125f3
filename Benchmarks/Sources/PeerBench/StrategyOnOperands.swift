import Attention
import MachineTopology

/// A strategy whose operands a piece of work has decided on: which of the optional ones are given, and
/// how random values are drawn. It runs and is defined as it is without.
struct StrategyOnOperands: AttentionStrategy {
  private let base: any AttentionStrategy
  let operands: [OperandDeclaration]

  /// - Parameters:
  ///   - given: the names of optional operands that every run gets.
  ///   - drawn: how values are drawn, by name, where not as the strategy declares: a valid value from a
  ///     number drawn uniformly from 0..<1.
  init(
    _ base: any AttentionStrategy, given: Set<String>,
    drawn: [String: @Sendable (Double) -> Float]
  ) {
    self.base = base
    operands = base.operands.map { own in
      let draw = drawn[own.name]
      return OperandDeclaration(
        own.name, axes: own.axes, meaning: own.meaning, domain: own.domain,
        isOptional: own.isOptional && !given.contains(own.name),
        drawnFor: { uniform, shape in draw?(uniform) ?? own.value(of: uniform, for: shape) })
    }
  }

  var name: String { base.name }
  var operatorClass: OperatorClass { base.operatorClass }
  var arithmetic: Arithmetic { base.arithmetic }
  var keyValueStorage: ElementType? { base.keyValueStorage }
  var usesBLAS: Bool { base.usesBLAS }
  var dependsOnHeadNumbers: Bool { base.dependsOnHeadNumbers }
  var selectsKeys: Bool { base.selectsKeys }
  var servesCausalMasks: Bool { base.servesCausalMasks }
  var queryReach: QueryReach { base.queryReach }
  var keepsState: Bool { base.keepsState }

  func resolvedParameters(for problem: AttentionProblem) -> String {
    base.resolvedParameters(for: problem)
  }

  func explanation(for problem: AttentionProblem) -> String { base.explanation(for: problem) }

  func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate { try base.work(for: problem, threads: threads) }

  func stepWork(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate { try base.stepWork(for: problem, threads: threads) }

  func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan { try base.plan(for: problem, on: team) }

  func decoder(
    for problem: AttentionProblem, cache: CacheChoice, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionDecoder {
    try base.decoder(for: problem, cache: cache, on: team)
  }

  func pattern(for geometry: MaskGeometry) -> any KeyPattern { base.pattern(for: geometry) }

  func oracle(for problem: AttentionProblem) -> any AttentionOracle { base.oracle(for: problem) }

  func arithmeticOracle(for problem: AttentionProblem) -> any AttentionOracle {
    base.arithmeticOracle(for: problem)
  }

  func fullOracle(for problem: AttentionProblem) -> any AttentionOracle {
    base.fullOracle(for: problem)
  }
}
