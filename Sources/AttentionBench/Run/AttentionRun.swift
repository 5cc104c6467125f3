import Attention
import MachineTopology
import TensorFiles

/// One computation of attention on tensors from files, without copying them.
public struct AttentionRun: Sendable {
  /// The result, with the rank and the layout of the query.
  public let output: HostTensor
  /// The natural logarithm of each row's denominator: the output's shape without its last axis.
  /// Nil where it was not asked for.
  public let logSumExp: HostTensor?
  /// How long the computation took: no reading, no planning, no warm-up.
  public let duration: Duration

  /// Plans and computes.
  ///
  /// - Parameters:
  ///   - problem: has the shape of `file`.
  ///   - memory: what the workspace is held against before it is allocated; nil where unknown.
  /// - Throws: `AttentionError` when the strategy cannot serve the problem or memory does not
  ///   suffice, and `TensorAllocationError`.
  public init(
    _ strategy: any AttentionStrategy, on problem: AttentionProblem, of file: FileProblem,
    team: WorkerTeam, wantsLSE: Bool, memory: MachineMemory? = .current()
  ) throws {
    let work = try strategy.work(for: problem, threads: team.threadCount)
    if let available = memory?.availableBytes, work.workspaceBytes > available {
      throw AttentionError(
        .outOfMemory, argument: "workspace of \(strategy.spec(for: problem))",
        value: ByteCount(work.workspaceBytes).rounded,
        advice: "only \(ByteCount(available).rounded) of memory can be had; flash needs no score "
          + "matrix")
    }
    let plan = try strategy.plan(for: problem, on: team)
    var logSumExp: HostTensor?
    var duration = Duration.zero
    output = try file.makeTensor(trailing: [problem.shape.valueDim]) { output in
      func compute(_ lse: UnsafeMutableBufferPointer<Float>?) throws {
        duration = try file.withViews { query, key, value in
          try Self.time(
            plan, query, key, value, output: output, logSumExp: lse, layout: file.layout)
        }
      }
      guard wantsLSE else { return try compute(nil) }
      logSumExp = try file.makeTensor(trailing: []) { try compute($0) }
    }
    self.logSumExp = logSumExp
    self.duration = duration
  }

  private static func time(
    _ plan: any AttentionPlan, _ query: TensorView, _ key: TensorView, _ value: TensorView,
    output: UnsafeMutableBufferPointer<Float>, logSumExp: UnsafeMutableBufferPointer<Float>?,
    layout: TensorLayout
  ) throws -> Duration {
    let shape = plan.problem.shape
    // Shapes have at least one element, so both pointers are there.
    guard let base = output.baseAddress else { return .zero }
    let operands = AttentionOperands(
      query: query, key: key, value: value,
      output: MutableTensorView(base, shape: shape.output, layout: layout),
      logSumExp: logSumExp?.baseAddress.map {
        MutableTensorView($0, shape: shape.logSumExp, layout: layout)
      })
    let clock = ContinuousClock()
    let start = clock.now
    try plan.run(operands)
    return clock.now - start
  }
}
