import CAttentionKernels
import MachineTopology
import Tensors

/// How fast all workers together read, again and again, the tensors of a problem: the ceiling of a run
/// that reads them, in whatever level of the caches they lie.
///
/// Reading the tensors themselves and not a buffer as large leaves the caches as a run leaves them.
public final class WorkingSetRate: TeamJob, @unchecked Sendable {
  /// Shorter readings would time the start of the workers as well.
  private static let leastDuration = Duration.microseconds(300)

  private let kernels: KernelTable
  private let tensors: [Tensor]
  /// How many floats of the tensors, one behind the other, are read.
  private let floats: Int
  // Of the reading under way; changed between readings only.
  private var workers = 1
  private var repeats = 1

  /// Reads the first bytes of some tensors, all of them where that is less. Their memory is read as
  /// it stands, whatever its elements are.
  public init(_ tensors: [Tensor], byteCount: Int, kernels: KernelTable = .active) {
    self.kernels = kernels
    self.tensors = tensors
    let all = tensors.reduce(0) { $0 + $1.bytes.count / MemoryLayout<Float>.size }
    floats = max(0, min(byteCount / MemoryLayout<Float>.size, all))
  }

  /// Reads once without a clock, and then for at least a millisecond with it.
  ///
  /// - Returns: bytes a second, all workers together, the median of three readings; nil where there is
  ///   nothing to read.
  public func rate(on team: WorkerTeam) -> Double? {
    if floats == 0 { return nil }
    (workers, repeats) = (team.threadCount, 1)
    team.run(self)
    let clock = ContinuousClock()
    while clock.measure({ team.run(self) }) < Self.leastDuration { repeats *= 2 }
    let seconds = (0..<3).map { _ in clock.measure { team.run(self) } / .seconds(1) }.sorted()[1]
    return Double(floats * MemoryLayout<Float>.size * repeats) / seconds
  }

  public func work(worker: Int) {
    let share = (floats * worker / workers)..<(floats * (worker + 1) / workers)
    for _ in 0..<repeats {
      var first = 0
      for tensor in tensors {
        let count = tensor.bytes.count / MemoryLayout<Float>.size
        let part = share.clamped(to: first..<first + count)
        if !part.isEmpty {
          let view = tensor.view
          withExtendedLifetime(view) {
            _ = kernels.functions.pointee.read_floats(
              view.base + part.lowerBound - first, Int64(part.count))
          }
        }
        first += count
      }
    }
  }
}
