import Attention
import AttentionTestSupport
import MachineTopology
import Testing

/// A strategy under test: every registered family with its defaults, variants of the known ones,
/// and one from outside. A newly registered family is tested without a change here.
struct Specimen: Sendable, CustomTestStringConvertible {
  let text: String
  let strategy: any AttentionStrategy

  static let registry = StrategyRegistry.standard
    .adding(BlockDiagonalAttention.family).adding(EraseWriteAttention.family)

  private static let variants = [
    "window(1)", "window(7)", "window(64, global: 3, sinks: 5)", "window(left: 3, right: 9)",
    "window(8, sinks: 70)", "strided(1)", "strided(5)", "strided(16)", "fixed(8, 3)",
    "fixed(7, 7)", "dilated(1, 3)", "dilated(4, 3)", "dilated(9, 1)", "dilated(70, 16)",
    "chunked(1)", "chunked(13)", "chunked(48)", "bigbird(1, 1, 2, 0)", "bigbird(5, 2, 3, 1)",
    "bigbird(16, 3, 2, 1, seed: 7)", "bigbird(4, 1, 20, 0)", "flash(48, 8)", "flash(500, 128)",
    "blockdiagonal(13)", "linear(identity)",
    "linear(relu)", "gated(channel)", "gated_delta(channel, l2)", "additive(1)", "local_m(1)",
    "local_p(1, hidden: 1)", "local_p(150, hidden: 3)",
  ]

  /// Families whose defaults do not suit tests: those that grow without bound on inputs of any size, as they
  /// would in a model, and hidden layers whose fp64 definition would take most of the time.
  private static let standIns = [
    "delta": "delta(l2)", "gated_delta": "gated_delta(normalise: l2)", "additive": "additive(12)",
    "local_p": "local_p(10, hidden: 6)",
  ]

  /// A registered strategy, with operands where it needs some.
  init(parsing text: String) throws {
    let strategy = try Specimen.registry.strategy(text)
    let isComplete = strategy.operands.allSatisfy(\.isOptional)
    self.init(text: text, strategy: isComplete ? strategy : SuppliedStrategy(strategy))
  }

  init(text: String, strategy: any AttentionStrategy) {
    self.text = text
    self.strategy = strategy
  }

  private static func parsed(_ texts: [String]) -> [Specimen] {
    do {
      return try texts.map { try Specimen(parsing: $0) }
    } catch {
      fatalError("a strategy under test does not parse: \(error)")
    }
  }

  /// Those that serve every problem there is; what has no causal form has tests of its own.
  static let all = parsed(
    registry.families.map { standIns[$0.name] ?? $0.name } + variants
  ).filter(\.strategy.servesCausalMasks)

  /// Those that are softmax over keys that are known beforehand, and so serve masks.
  static let softmax = all.filter {
    $0.strategy.operatorClass != .different && !$0.strategy.selectsKeys
  }

  /// The same, and where the processor has such products those of bf16 numbers.
  static let softmaxInAnyArithmetic =
    softmax
    + parsed(
      multipliesBFloat16 ? ["flash(arithmetic: bf16)", "flash(16, 8, arithmetic: bf16)"] : [])
    + parsed(scaledArithmetics.map { "flash(arithmetic: \($0.rawValue))" })

  /// Those that are softmax over all visible keys.
  static let exact = all.filter { $0.strategy.operatorClass == .exact }

  /// The recurrence, where it is one, and the operands that it is supplied with.
  func naive(for problem: AttentionProblem) throws -> NaiveRecurrence? {
    let supplied = strategy as? SuppliedStrategy
    guard let recurrent = (supplied?.base ?? strategy) as? any RecurrentStrategy else { return nil }
    return NaiveRecurrence(
      recurrent, problem, named: try supplied?.supply(for: problem.shape).views ?? [:])
  }

  /// Whether scores are made with weights, which are operands that all sequences share.
  var hasWeights: Bool {
    ((strategy as? SuppliedStrategy)?.base ?? strategy).operands.contains(where: \.isShared)
  }

  /// Whether masks and biases are served.
  var servesMasks: Bool { isSoftmax && !strategy.selectsKeys }

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
