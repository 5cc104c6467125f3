import COpenBLAS
import MachineTopology
import Tensors

/// How fast OpenBLAS multiplies in fp32: a product of its own on every worker, as `full` calls it.
public final class BLASRate: TeamJob, @unchecked Sendable {
  /// Rows, columns and depth of a product: large enough for nearly the kernels' full speed, and so
  /// small, half a millisecond, that some fit between two disturbances of a busy machine.
  static let size = 256

  private static let elements = size * size
  private let workers: Int
  /// Two factors and a product a worker.
  private let memory: AlignedFloats

  /// Allocates 0.8 MB a worker.
  ///
  /// - Throws: `AttentionError` when the system refuses the memory.
  public init(workers: Int) throws(AttentionError) {
    self.workers = workers
    memory = try AlignedFloats(count: 3 * Self.elements * workers, for: "BLAS rate")
    // Ones: no denormals, which could slow a kernel down.
    memory.base.update(repeating: 1, count: memory.count)
  }

  /// Multiplies on all workers of a team at once, for about 10 ms and at least eight times.
  ///
  /// - Returns: floating-point operations a second of the fastest product, all workers together:
  ///   what else runs on the machine can only slow one down.
  /// - Precondition: the team has no more workers than there is memory for.
  public func burst(on team: WorkerTeam) -> Double {
    precondition(team.threadCount <= workers, "memory for \(workers) workers")
    BLASLibrary.useOneThread()
    let operations = 2.0 * Double(Self.elements * Self.size * team.threadCount)
    let clock = ContinuousClock()
    let start = clock.now
    var best = 0.0
    for count in 1... {
      let elapsed = clock.measure { team.run(self) }
      best = max(best, operations / (elapsed / .seconds(1)))
      if count >= 8, clock.now - start > .milliseconds(10) { break }
    }
    return best
  }

  public func work(worker: Int) {
    let left = memory.base + 3 * Self.elements * worker
    let size = Int32(Self.size)
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, size, size, size, 1, left, size,
      left + Self.elements, size, 0, left + 2 * Self.elements, size)
  }
}

/// The speed of OpenBLAS beside the peak of the processor, measured in turn.
public struct BLASSpeed: Hashable, Sendable {
  /// The kernels that ran, such as `SkylakeX`.
  public let core: String
  /// 10^9 operations a second of one thread.
  public let gflopPerSecond: Double
  /// The FMA peak of one thread, likewise.
  public let peakGflopPerSecond: Double

  /// A speed as given.
  public init(core: String, gflopPerSecond: Double, peakGflopPerSecond: Double) {
    self.core = core
    self.gflopPerSecond = gflopPerSecond
    self.peakGflopPerSecond = peakGflopPerSecond
  }

  /// The share of the peak, 0 to 1.
  public var share: Double { gflopPerSecond / peakGflopPerSecond }

  /// A share below this is not what a library does that knows its processor: kernels of full vector
  /// width reach 0.5 to 0.95, those of half the width or without fused multiply-adds 0.1 to 0.4.
  public static let plausibleShare = 0.4

  /// Whether the baseline may be trusted to run as fast as it can.
  public var isPlausible: Bool { share >= Self.plausibleShare }

  /// 10^9 operations a second of one thread, from about 10 ms of products.
  ///
  /// - Throws: as `measured`.
  public static func productRate() throws -> Double {
    try BLASRate(workers: 1).burst(on: WorkerTeam(threads: 1)) / 1e9
  }

  /// Measures for about 60 ms on the calling thread; longer where the figure is not plausible, since
  /// other work on the machine can be the reason.
  ///
  /// - Throws: `AttentionError` when memory is refused, `TopologyError` when the machine cannot be
  ///   read.
  public static func measured() throws -> BLASSpeed {
    let team = try WorkerTeam(threads: 1)
    let (peak, product) = (FMARate(), try BLASRate(workers: 1))
    // In turn, so that neither has a moment of quiet, or of a higher clock, for itself.
    var speed = BLASSpeed(core: BLASLibrary.core, gflopPerSecond: 0, peakGflopPerSecond: 0)
    for round in 1...12 {
      speed = BLASSpeed(
        core: speed.core,
        gflopPerSecond: max(speed.gflopPerSecond, product.burst(on: team) / 1e9),
        peakGflopPerSecond: max(speed.peakGflopPerSecond, peak.burst(on: team) / 1e9))
      if round >= 2, speed.isPlausible { break }
    }
    return speed
  }
}
