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
    return try verification(
      second, seed: seed, rows: rows, team: team,
      repeats: first.output.hasBits(of: second.output)
        && first.logSumExp.hasBits(of: second.logSumExp))
  }

  private func verification(
    _ result: (output: Tensor, logSumExp: Tensor), seed: UInt64, rows: Int, team: WorkerTeam,
    repeats: Bool
  ) throws(AttentionError) -> DistributedVerification {
    let verification = try hold(result, seed: seed, rows: rows, team: team)
    let alone = try WholeRun(self, seed: seed, team: team)
    alone.tensors.poison()
    try alone.run()
    let (output, logSumExp) = (alone.tensors.output, alone.tensors.logSumExp)
    return DistributedVerification(
      againstDefinition: verification, distance: result.output.distance(from: output),
      hasSameBits: result.output.hasBits(of: output) && result.logSumExp.hasBits(of: logSumExp),
      repeats: repeats)
  }

  /// Holds a gathered result to the strategy's definition, on the random problem of a seed; of packed
  /// sequences the worst of each.
  ///
  /// - Throws: `AttentionError` of kind `outOfMemory`.
  public func hold(
    _ result: (output: Tensor, logSumExp: Tensor), seed: UInt64, rows: Int, team: WorkerTeam
  ) throws(AttentionError) -> Verification {
    let whole = try ShardTensors(whole: problem, operands: strategy.operands, seed: seed)
    guard let documents else {
      return try hold(result, on: problem, whole, seed: seed, rows: rows, team: team)
    }
    var worst: Verification?
    for sequence in 0..<documents.packed.count {
      let (first, end) = (
        documents.packed.queryOffsets[sequence], documents.packed.queryOffsets[sequence + 1]
      )
      let keys = documents.packed.keyOffsets[sequence]..<documents.packed.keyOffsets[sequence + 1]
      if first == end || keys.isEmpty { continue }
      let part = try documents.problem(of: sequence)
      let share = max(rows * (end - first) / problem.shape.queryLength, 1)
      let tensors = ShardTensors(
        query: try whole.query.copy(rows: first..<end, of: end - first),
        key: try whole.key.copy(rows: keys, of: part.shape.keyLength),
        value: try whole.value.copy(rows: keys, of: part.shape.keyLength),
        output: try result.output.copy(rows: first..<end, of: end - first),
        logSumExp: try result.logSumExp.copy(rows: first..<end, of: end - first))
      let verification = try hold(
        (tensors.output, tensors.logSumExp), on: part, tensors, seed: seed, rows: share, team: team)
      if worst.map({ verification.isWorse(than: $0) }) ?? true { worst = verification }
    }
    guard let worst else {
      throw AttentionError(
        .invalidArgument, argument: "packed", value: "empty",
        advice: "no packed sequence has queries and keys; give one that has")
    }
    return worst
  }

  private func hold(
    _ result: (output: Tensor, logSumExp: Tensor), on problem: AttentionProblem,
    _ inputs: ShardTensors, seed: UInt64, rows: Int, team: WorkerTeam
  ) throws(AttentionError) -> Verification {
    Verifier(team: team, rowLimit: rows, seed: seed, memoryLimit: ByteCount(.max)).verify(
      GatheredStrategy(base: strategy, output: result.output, logSumExp: result.logSumExp),
      on: problem
    ) { _ throws(AttentionError) in
      let tensors = try ProblemTensors(problem.shape)
      for (from, to) in [
        (inputs.query, tensors.query), (inputs.key, tensors.key), (inputs.value, tensors.value),
      ] {
        to.mutableView.base.update(from: from.view.base, count: from.shape.count)
      }
      return tensors.with(inputs.named)
    }
  }
}

/// The whole problem in this process alone.
public final class WholeRun {
  let tensors: ShardTensors
  private let plan: any AttentionPlan
  private let operands: AttentionOperands

  /// Makes the same random problem as a plan over ranks has of a seed.
  ///
  /// - Throws: `AttentionError` of kind `outOfMemory`.
  public init(
    _ distributed: DistributedPlan, seed: UInt64, team: WorkerTeam
  ) throws(AttentionError) {
    let (problem, documents) = (distributed.problem, distributed.documents)
    tensors = try ShardTensors(
      whole: problem, operands: distributed.strategy.operands, seed: seed)
    plan = try distributed.strategy.plan(for: documents?.problem ?? problem, on: team)
    operands = try tensors.operands(documents)
  }

  /// Computes it once.
  ///
  /// - Throws: `AttentionError` as `AttentionPlan.run`.
  public func run() throws(AttentionError) { try plan.run(operands) }
}

extension Verification {
  /// Whether it fails where the other does not, or misses more.
  fileprivate func isWorse(than other: Verification) -> Bool {
    isFailure == other.isFailure ? miss > other.miss : isFailure
  }

  /// The error as a share of what is allowed; infinite where there is none.
  private var miss: Double {
    switch outcome {
    case .pass(let comparison), .fail(let comparison):
      comparison.errors.relativeL2 / max(comparison.bounds.relativeL2, .leastNonzeroMagnitude)
    case .refused, .unserved, .skipped: .infinity
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

  /// Some rows of each head, at the front of so many.
  fileprivate func copy(rows: Range<Int>, of count: Int) throws(AttentionError) -> Tensor {
    let copy = try Tensor(TensorShape(shape.batch, shape.heads, count, shape.columns))
    for batch in 0..<shape.batch {
      for head in 0..<shape.heads {
        let source = headRows(batch, head).rows(rows)
        copy.headRows(batch, head).base.update(
          from: source.base, count: source.rows * source.columns)
      }
    }
    return copy
  }
}
