import Attention
import AttentionBench
import MachineTopology
import MessagePassing

/// How a result over ranks stands to its definition and to one process.
public struct DistributedVerification: Sendable {
  /// Sampled rows against the strategy's definition in fp64, with the bounds of one process.
  public let againstDefinition: Verification
  /// Relative L2 distance from the one-process result, over all rows.
  public let distance: Double
  /// Whether output and LSE have the bits of one process.
  public let hasSameBits: Bool
  /// Whether a second run gave the same bits.
  public let repeats: Bool

  /// Whether it is wrong: out of bounds, or not repeatable.
  public var isFailure: Bool { againstDefinition.isFailure || !repeats || !(distance < 1e-3) }
}

extension DistributedPlan {
  /// Runs the plan twice on the random problem of a seed and holds the result to the definition and to
  /// what one process computes. All ranks call it; rank 0 has the answer.
  ///
  /// - Parameters:
  ///   - rows: query rows that are checked.
  ///   - team: on which rank 0 computes the whole.
  /// - Throws: `MessagePassingError`; `AttentionError` of kind `outOfMemory`.
  public func verify(
    seed: UInt64, rows: Int, team: WorkerTeam
  ) throws -> DistributedVerification? {
    let tensors = try randomTensors(seed: seed)
    tensors.poison()
    _ = try run(tensors)
    let first = try gather(tensors)
    tensors.poison()
    _ = try run(tensors)
    guard let second = try gather(tensors), let first else { return nil }
    return try Self.verify(
      strategy, problem, output: second.output, logSumExp: second.logSumExp, seed: seed, rows: rows,
      team: team,
      repeats: first.output.hasBits(of: second.output)
        && first.logSumExp.hasBits(of: second.logSumExp))
  }

  private static func verify(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, output: Tensor,
    logSumExp: Tensor, seed: UInt64, rows: Int, team: WorkerTeam, repeats: Bool
  ) throws(AttentionError) -> DistributedVerification {
    let verification = try hold(
      output: output, logSumExp: logSumExp, to: strategy, problem, seed: seed, rows: rows,
      team: team)
    let whole = try ShardTensors(whole: problem, operands: strategy.operands, seed: seed)
    whole.poison()
    try strategy.plan(for: problem, on: team).run(
      AttentionOperands(
        whole.inputs, output: whole.output.mutableView, logSumExp: whole.logSumExp.mutableView))
    return DistributedVerification(
      againstDefinition: verification, distance: output.distance(from: whole.output),
      hasSameBits: output.hasBits(of: whole.output) && logSumExp.hasBits(of: whole.logSumExp),
      repeats: repeats)
  }

  /// Holds a gathered result to the strategy's definition, on the random problem of a seed.
  ///
  /// - Throws: `AttentionError` of kind `outOfMemory`.
  public static func hold(
    output: Tensor, logSumExp: Tensor, to strategy: any AttentionStrategy,
    _ problem: AttentionProblem, seed: UInt64, rows: Int, team: WorkerTeam
  ) throws(AttentionError) -> Verification {
    Verifier(team: team, rowLimit: rows, seed: seed, memoryLimit: ByteCount(.max)).verify(
      GatheredStrategy(base: strategy, output: output, logSumExp: logSumExp), on: problem
    ) { operands throws(AttentionError) in
      let random = try ShardTensors(whole: problem, operands: operands, seed: seed)
      let tensors = try ProblemTensors(problem.shape)
      for (from, to) in [
        (random.query, tensors.query), (random.key, tensors.key), (random.value, tensors.value),
      ] {
        to.mutableView.base.update(from: from.view.base, count: from.shape.count)
      }
      return tensors.with(random.named)
    }
  }
}

extension Tensor {
  /// Whether two tensors of one shape have the same bits.
  func hasBits(of other: Tensor) -> Bool {
    zip(elements, other.elements).allSatisfy { $0.bitPattern == $1.bitPattern }
  }

  /// |self - other| / |other|; rows that neither has written, NaN in both, do not count.
  func distance(from other: Tensor) -> Double {
    var (error, norm) = (0.0, 0.0)
    for (a, b) in zip(elements, other.elements) where !(a.isNaN && b.isNaN) {
      error += (Double(a) - Double(b)) * (Double(a) - Double(b))
      norm += Double(b) * Double(b)
    }
    return error == 0 ? 0 : (error / norm).squareRoot()
  }
}
