import Attention
import AttentionTestSupport
import MachineTopology
import Testing

/// A strategy under test: every registered family with its defaults, variants of the known ones,
/// and one from outside. A newly registered family is tested without a change here.
struct Specimen: Sendable, CustomTestStringConvertible {
  let text: String
  let strategy: any AttentionStrategy

  static let registry = StrategyRegistry.standard.adding(BlockDiagonalAttention.family)

  private static let variants = [
    "window(1)", "window(7)", "window(64, global: 3, sinks: 5)", "window(left: 3, right: 9)",
    "window(8, sinks: 70)", "strided(1)", "strided(5)", "strided(16)", "fixed(8, 3)",
    "fixed(7, 7)", "flash(48, 8)", "flash(500, 128)", "blockdiagonal(13)",
  ]

  private static func parsed(_ texts: [String]) -> [Specimen] {
    do {
      return try texts.map { Specimen(text: $0, strategy: try registry.strategy($0)) }
    } catch {
      fatalError("a strategy under test does not parse: \(error)")
    }
  }

  static let all = parsed(registry.families.map { $0.name } + variants)

  /// Those that are softmax over some keys.
  static let softmax = all.filter { $0.strategy.operatorClass != .different }

  /// The same, and where the processor has such products those of bf16 numbers.
  static let softmaxInAnyArithmetic =
    softmax
    + parsed(
      multipliesBFloat16 ? ["flash(arithmetic: bf16)", "flash(16, 8, arithmetic: bf16)"] : [])

  /// Those that are softmax over all visible keys.
  static let exact = all.filter { $0.strategy.operatorClass == .exact }

  var isSoftmax: Bool { strategy.operatorClass != .different }

  var testDescription: String { text }

  /// Plans and runs once.
  func run(
    _ problem: AttentionProblem, _ inputs: TestInputs, threads: Int = 1,
    layout: TestLayout = .bhnd, logSumExp: Bool = true
  ) throws -> TestOutputs {
    let outputs = TestOutputs(problem, layout: layout, logSumExp: logSumExp)
    let plan = try strategy.plan(for: problem, on: Teams.of(threads))
    try plan.run(outputs.operands(inputs))
    return outputs
  }

  func run(_ test: TestCase, _ inputs: TestInputs) throws -> TestOutputs {
    try run(
      test.problem, inputs, threads: test.threads, layout: test.outputLayout,
      logSumExp: test.wantsLogSumExp)
  }
}

/// Worker teams that tests share: teams let their callers take turns.
enum Teams {
  private static let teams: [Int: WorkerTeam] = {
    do {
      return try Dictionary(
        uniqueKeysWithValues: [1, 2, 3, 5].map { ($0, try WorkerTeam(threads: $0)) })
    } catch {
      fatalError("no worker team: \(error)")
    }
  }()

  static func of(_ threads: Int) -> WorkerTeam {
    guard let team = teams[threads] else { fatalError("no team of \(threads)") }
    return team
  }
}
