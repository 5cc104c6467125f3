import Attention
import MachineTopology
import Records
import Statistics
import TensorFiles
import Units

/// One computation of attention on tensors from files, without copying them unless their element
/// type must change.
public struct AttentionRun: Sendable {
  /// The result, with the rank, the layout and, in the problem, the element type of the query.
  public let output: FileTensor
  /// The natural logarithm of each row's denominator: the output's shape without its last axis.
  /// Nil where it was not asked for.
  public let logSumExp: FileTensor?
  /// The state after all tokens, `[b, hKV, d, dV]`, where it was asked for and there is one; without b where
  /// the query has none.
  public let finalState: FileTensor?
  /// How long the computation took: no reading, no planning, no warm-up.
  public let duration: Duration

  /// Plans and computes.
  ///
  /// - Parameters:
  ///   - problem: has the shape of `file`.
  ///   - wantsState: whether the state after all tokens is asked for.
  ///   - memory: what the workspace is held against before it is allocated; nil where unknown.
  /// - Throws: `AttentionError` when the strategy cannot serve the problem, an operand that it takes
  ///   is not there or memory does not suffice, and `TensorAllocationError`.
  public init(
    _ strategy: any AttentionStrategy, on problem: AttentionProblem, of file: FileProblem,
    team: WorkerTeam, wantsLSE: Bool, wantsState: Bool = false, memory: MachineMemory? = .current()
  ) throws {
    if let excess = strategy.excess(for: problem) { throw excess }
    try file.checkOperands(strategy.operands, under: problem.visibility)
    let named = try file.operands(strategy.operands, for: problem.shape)
    let work = try strategy.countedWork(for: problem, threads: team.threadCount)
    if let available = memory?.availableBytes, work.workspaceBytes > available {
      throw AttentionError(
        .outOfMemory, argument: "workspace of \(strategy.spec(for: problem))",
        value: ByteCount(work.workspaceBytes).rounded,
        advice: "only \(ByteCount(available).rounded) of memory can be had; flash needs no score "
          + "matrix")
    }
    let plan = try strategy.plan(for: problem, on: team)
    if wantsState, plan.stateShape == nil {
      throw AttentionError(
        .invalidArgument, argument: "--present-state", value: strategy.spec(for: problem),
        advice: "it keeps no state to go on from; leave it out, or use a recurrence such as gated")
    }
    let state =
      wantsState
      ? try plan.stateShape.map { shape throws(AttentionError) in
        try Tensor(shape)
      } : nil
    // Rows beyond a query length are not written by anyone: they come out as rows without keys.
    let isZeroed = problem.visibility.queryLengths != nil && !file.isPacked
    var logSumExp: FileTensor?
    var duration = Duration.zero
    output = try file.makeTensor(
      columns: problem.shape.valueDim, problem.storage.output, isZeroed: isZeroed
    ) { output in
      func compute(_ lse: MutableTensorView?) throws {
        duration = try file.withViews(as: problem.storage) { query, key, value in
          let operands = AttentionOperands(
            query: query, key: key, value: value, named: named.mapValues(\.view), output: output,
            logSumExp: lse, finalState: state?.mutableView)
          let clock = ContinuousClock()
          let start = clock.now
          try plan.run(operands)
          return clock.now - start
        }
      }
      guard wantsLSE else { return try compute(nil) }
      logSumExp = try file.makeTensor(columns: nil, .float32, isZeroed: false) { lse in
        if isZeroed { lse.base.update(repeating: -.infinity, count: lse.reading.shape.count) }
        try compute(lse)
      }
    }
    self.logSumExp = logSumExp
    self.duration = duration
    finalState = try state.map { try file.stateTensor($0) }
  }
}
