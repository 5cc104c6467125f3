import Attention
import MachineTopology

/// A strategy from outside the package with a fault that `verify` must find: the base for one type
/// a fault.
protocol FaultyStrategy: OutsideStrategy {
  /// Spoils a correct result.
  static func spoil(_ operands: AttentionOperands)
}

extension FaultyStrategy {
  static var operatorClass: OperatorClass { .exact }

  func resolvedParameters(for problem: AttentionProblem) -> String { "" }

  func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try SoftmaxEngine().work(for: problem, threads: threads) { DensePattern($0) }
  }

  func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    SpoiledPlan(
      try SoftmaxEngine().plan(for: problem, on: team) { DensePattern($0) }, spoil: Self.spoil)
  }
}

/// A plan whose results are spoilt afterwards.
final class SpoiledPlan: AttentionPlan {
  let problem: AttentionProblem
  let workspaceBytes: Int
  private let inner: any AttentionPlan
  private let spoil: (AttentionOperands) -> Void

  init(_ inner: any AttentionPlan, spoil: @escaping (AttentionOperands) -> Void) {
    self.inner = inner
    self.spoil = spoil
    problem = inner.problem
    workspaceBytes = inner.workspaceBytes
  }

  func execute(_ operands: AttentionOperands) {
    inner.execute(operands)
    spoil(operands)
  }
}

/// No fault at all.
struct Faultless: FaultyStrategy {
  static let name = "faultless"
  init(_ arguments: StrategyArguments) throws(AttentionError) {}
  static func spoil(_ operands: AttentionOperands) {}
}

/// Every element is off by one part in ten thousand.
struct Imprecise: FaultyStrategy {
  static let name = "imprecise"
  init(_ arguments: StrategyArguments) throws(AttentionError) {}
  static func spoil(_ operands: AttentionOperands) {
    let output = operands.output
    for index in 0..<output.reading.shape.count { output.base[index] *= 1.0001 }
  }
}

/// The last row of the last head is not written.
struct Forgetful: FaultyStrategy {
  static let name = "forgetful"
  init(_ arguments: StrategyArguments) throws(AttentionError) {}
  static func spoil(_ operands: AttentionOperands) {
    let output = operands.output
    let shape = output.reading.shape
    // All bits set is a NaN in every floating-point type.
    output.rowAddress(shape.batch - 1, shape.heads - 1, shape.rows - 1).initializeMemory(
      as: UInt8.self, repeating: 0xFF, count: output.reading.elementType.byteCount)
  }
}

/// What is not a number is written as 0.
struct Denier: FaultyStrategy {
  static let name = "denier"
  init(_ arguments: StrategyArguments) throws(AttentionError) {}
  static func spoil(_ operands: AttentionOperands) {
    let output = operands.output
    for index in 0..<output.reading.shape.count where output.base[index].isNaN {
      output.base[index] = 0
    }
  }
}

/// The log-sum-exp is to the base 2.
struct WrongBase: FaultyStrategy {
  static let name = "wrong-base"
  init(_ arguments: StrategyArguments) throws(AttentionError) {}
  static func spoil(_ operands: AttentionOperands) {
    guard let lse = operands.logSumExp else { return }
    for index in 0..<lse.reading.shape.count { lse.base[index] *= 1.442695 }
  }
}

/// A window that calls itself exact: true to its own definition, not to its class.
struct Pretender: OutsideStrategy {
  static let name = "pretender"
  static let operatorClass = OperatorClass.exact
  private let window: any AttentionStrategy

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    window = try StrategyRegistry.standard.strategy("window(8)")
  }

  func resolvedParameters(for problem: AttentionProblem) -> String { "" }
  func work(for problem: AttentionProblem, threads: Int) throws(AttentionError) -> WorkEstimate {
    try window.work(for: problem, threads: threads)
  }
  func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan { try window.plan(for: problem, on: team) }
  func pattern(for geometry: MaskGeometry) -> any KeyPattern { window.pattern(for: geometry) }
}

/// A window that sees one key fewer than its definition says.
struct OffByOne: OutsideStrategy {
  static let name = "off-by-one"
  static let operatorClass = OperatorClass.restricted

  init(_ arguments: StrategyArguments) throws(AttentionError) {}

  private func window(_ width: Int) throws(AttentionError) -> any AttentionStrategy {
    try StrategyRegistry.standard.strategy("window(\(width))")
  }

  func resolvedParameters(for problem: AttentionProblem) -> String { "" }
  func work(for problem: AttentionProblem, threads: Int) throws(AttentionError) -> WorkEstimate {
    try window(1023).work(for: problem, threads: threads)
  }
  func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan { try window(1023).plan(for: problem, on: team) }
  func pattern(for geometry: MaskGeometry) -> any KeyPattern {
    (try? window(1024).pattern(for: geometry)) ?? DensePattern(geometry)
  }
}

/// Flash with bf16 products that never sees the last key of a row: true to its arithmetic, not to its
/// definition.
struct CoarseOffByOne: OutsideStrategy {
  static let name = "coarse-off-by-one"
  static let operatorClass = OperatorClass.restricted
  let arithmetic = Arithmetic.bfloat16
  private let engine = SoftmaxEngine(arithmetic: .bfloat16)

  init(_ arguments: StrategyArguments) throws(AttentionError) {}

  private static func window(_ width: Int, _ geometry: MaskGeometry) -> any KeyPattern {
    let window = try? StrategyRegistry.standard.strategy("window(\(width))")
    return window?.pattern(for: geometry) ?? DensePattern(geometry)
  }

  func resolvedParameters(for problem: AttentionProblem) -> String { "" }
  func work(for problem: AttentionProblem, threads: Int) throws(AttentionError) -> WorkEstimate {
    try engine.work(for: problem, threads: threads) { Self.window(255, $0) }
  }
  func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    try engine.plan(for: problem, on: team) { Self.window(255, $0) }
  }
  func pattern(for geometry: MaskGeometry) -> any KeyPattern { Self.window(256, geometry) }
  func arithmeticOracle(for problem: AttentionProblem) -> any AttentionOracle {
    SoftmaxOracle(problem, operands: .bfloat16) { pattern(for: $0) }
  }
}

/// Refuses every problem.
struct Refusing: FaultyStrategy {
  static let name = "refusing"
  init(_ arguments: StrategyArguments) throws(AttentionError) {}
  static func spoil(_ operands: AttentionOperands) {}
  func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    throw AttentionError(
      .invalidArgument, argument: "headDim", value: problem.shape.headDim, advice: "must be 7")
  }
}
