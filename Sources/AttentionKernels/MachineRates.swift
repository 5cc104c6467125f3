import CAttentionKernels
import MachineTopology
import Tensors

/// What the machine can do at most, measured: the ceilings that every result is held against.
///
/// One burst at a time, so that a harness can spread bursts over a run and see drift.
public final class FMARate: TeamJob, @unchecked Sendable {
  private let kernels: KernelTable
  private let arithmetic: Arithmetic
  /// Rounds a worker runs in one reading; written between readings only.
  private var rounds: Int64 = 1 << 14
  private var isCalibrated = false

  /// Bursts with the given micro-kernels, by default those in force, of the products of an arithmetic.
  ///
  /// - Throws: `AttentionError` when the processor cannot multiply so.
  public init(
    kernels: KernelTable = .active, arithmetic: Arithmetic
  ) throws(AttentionError) {
    try arithmetic.refuseWhereMissing(in: kernels)
    self.kernels = kernels
    self.arithmetic = arithmetic
  }

  /// Bursts of fused multiply-adds of fp32.
  public init(kernels: KernelTable = .active) {
    self.kernels = kernels
    arithmetic = .float32
  }

  /// Runs fused multiply-adds on registers on all workers at once, for about 20 ms in readings
  /// of 2 ms.
  ///
  /// - Returns: floating-point operations a second of the fastest reading, all workers together.
  ///   What else runs on the machine can only slow a reading down, and one is short enough to fit
  ///   between two such disturbances.
  public func burst(on team: WorkerTeam) -> Double {
    calibrate(on: team, reading: .milliseconds(2))
    return (0..<10).map { _ in reading(on: team).rate }.max() ?? 0
  }

  /// Finds out how many rounds fill a reading; one takes a few nanoseconds.
  private func calibrate(on team: WorkerTeam, reading duration: Duration) {
    while !isCalibrated {
      let share = reading(on: team).elapsed / duration
      isCalibrated = share >= 0.5
      if !isCalibrated { rounds = max(rounds * 2, Int64(Double(rounds) / max(share, 1e-2))) }
    }
  }

  private func reading(on team: WorkerTeam) -> (rate: Double, elapsed: Duration) {
    let elapsed = ContinuousClock().measure { team.run(self) }
    let format = OperandFormat(arithmetic, in: kernels).code
    let products = attn_format_table(kernels.functions, format)?.pointee.round_products ?? 0
    // A multiply-add for each product.
    let perRound =
      2 * kernels.vectorLanes * Int(kernels.functions.pointee.chains) * Int(products)
    let operations = Double(rounds * Int64(perRound))
    return (operations * Double(team.threadCount) / (elapsed / .seconds(1)), elapsed)
  }

  public func work(worker: Int) {
    _ = attn_product_rounds(kernels.functions, OperandFormat(arithmetic, in: kernels).code, rounds)
  }
}

/// How fast all workers together read memory that is in no cache.
public final class ReadBandwidth: TeamJob, @unchecked Sendable {
  private let kernels: KernelTable
  private let buffer: AlignedFloats
  // Of the reading under way; changed between readings only.
  private var workers: Int
  private var isWritten = false

  /// Allocates a buffer and has a team write it, each worker its share: memory lies near the core
  /// that writes it first, and pages that were never written are all the same page of zeros, which
  /// sits in the cache.
  ///
  /// - Parameters:
  ///   - byteCount: many times the last-level cache.
  ///   - team: the widest that will read.
  /// - Throws: `AttentionError` when the system refuses the memory.
  public init(
    byteCount: Int, writtenBy team: WorkerTeam, kernels: KernelTable = .active
  ) throws(AttentionError) {
    self.kernels = kernels
    workers = team.threadCount
    buffer = try AlignedFloats(
      count: max(byteCount / MemoryLayout<Float>.size, 1), for: "bandwidth buffer")
    team.run(self)
    isWritten = true
  }

  /// Reads the buffer once.
  ///
  /// - Returns: bytes a second, all workers together.
  public func reading(on team: WorkerTeam) -> Double {
    workers = team.threadCount
    let elapsed = ContinuousClock().measure { team.run(self) }
    return Double(buffer.count * MemoryLayout<Float>.size) / (elapsed / .seconds(1))
  }

  public func work(worker: Int) {
    let first = buffer.count * worker / workers
    let count = buffer.count * (worker + 1) / workers - first
    if isWritten {
      _ = kernels.functions.pointee.read_floats(buffer.base + first, Int64(count))
    } else {
      (buffer.base + first).update(repeating: 1, count: count)
    }
  }
}
