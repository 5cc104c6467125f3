import AttentionContract
import MachineTopology
import Synchronization
import Tensors

/// Attention in one call: `let o = try attention(q, k, v, causal: true)`.
///
/// Plans, runs and returns the output. A program that computes the same problem again and again makes
/// a plan once instead (``AttentionStrategy/plan(for:on:)``), which also takes masks, biases and
/// lengths, gives the log-sum-exp and runs without allocating.
///
/// - Parameters:
///   - query: `[b, h, nQ, d]`, f32, f16 or bf16.
///   - key: `[b, hKV, nKV, d]`, where hKV divides h: query head i reads head i / (h / hKV).
///   - value: `[b, hKV, nKV, dV]`, stored as the key is.
///   - causal: whether a query sees no later keys; the last query sees the last key.
///   - scale: factor of the scores, 1/sqrt(d) by default.
///   - strategy: as in ``StrategyRegistry/standard``: `flash` and `full` are exact, `window(512)` and
///     others see fewer keys, `linear` is another function.
///   - operands: what the strategy takes beyond these, by name: `["decay": decay]`.
///   - threads: workers, one for each core that the process may use by default. They are made when a
///     number of them is first asked for, are bound to no core, and sleep between calls; calls on
///     several threads take turns.
/// - Returns: `[b, h, nQ, dV]`, in the layout and the element type of the query.
/// - Throws: `AttentionError` naming the tensor or the option that does not fit, or of kind
///   `outOfMemory`; `TopologyError` when the workers cannot be had.
public func attention(
  _ query: Tensor, _ key: Tensor, _ value: Tensor, causal: Bool = false, scale: Float? = nil,
  strategy: String = "flash", operands: [String: Tensor] = [:], threads: Int? = nil
) throws -> Tensor {
  try attention(
    query, key, value, causal: causal, scale: scale, strategy: strategy, operands: operands,
    on: SharedTeams.team(threads: threads))
}

/// Attention in one call, by workers of the caller's; see ``attention(_:_:_:causal:scale:strategy:threads:)``.
///
/// - Throws: `AttentionError` as that does.
public func attention(
  _ query: Tensor, _ key: Tensor, _ value: Tensor, causal: Bool = false, scale: Float? = nil,
  strategy: String = "flash", operands: [String: Tensor] = [:], on team: WorkerTeam
) throws(AttentionError) -> Tensor {
  let shape = try AttentionShape(
    batch: query.shape.batch, heads: query.shape.heads, kvHeads: key.shape.heads,
    queryLength: query.shape.rows, keyLength: key.shape.rows, headDim: query.shape.columns,
    valueDim: value.shape.columns)
  let problem = try AttentionProblem(
    shape, scoring: Scoring(scale: scale), visibility: Visibility(causal: causal),
    storage: Storage(query.elementType, keyValue: key.elementType))
  let strategy = try StrategyRegistry.standard.strategy(strategy)
  if let excess = strategy.excess(for: problem) { throw excess }
  let plan = try strategy.plan(for: problem, on: team)
  let named = operands.mapValues(\.view)
  try plan.declaredOperands.checkValues(named)
  let output = try Tensor(shape.output, layout: query.layout, elementType: query.elementType)
  try plan.run(
    AttentionOperands(
      query: query.view, key: key.view, value: value.view, named: named,
      output: output.mutableView))
  return output
}

/// The workers of calls that bring none: a team for each number that was asked for, kept for good.
private enum SharedTeams {
  /// By the number of threads; nil for the default.
  private static let teams = Mutex<[Int?: WorkerTeam]>([:])

  static func team(threads: Int?) throws -> WorkerTeam {
    try teams.withLock { teams in
      if let team = teams[threads] { return team }
      let topology = try MachineTopology.host()
      let team = try WorkerTeam(
        threads: threads ?? max(topology.allowedCores.count, 1), topology: topology)
      teams[threads] = team
      return team
    }
  }
}
