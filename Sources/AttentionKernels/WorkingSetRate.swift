import CAttentionKernels
import MachineTopology
import Tensors

/// How fast all workers together read, again and again, the tensors of a problem, or write anew what they
/// read of a state: the ceiling of a run that does so, in whatever level of the caches they lie.
///
/// Reading the tensors themselves and not a buffer as large leaves the caches as a run leaves them.
public final class WorkingSetRate: TeamJob, @unchecked Sendable {
  /// Shorter readings would time the start of the workers as well.
  private static let leastDuration = Duration.microseconds(300)

  private let kernels: KernelTable
  private let tensors: [Tensor]
  /// How many floats of the tensors, one behind the other, are read.
  private let floats: Int
  /// Whether they are a state, which is written as well.
  private let isState: Bool
  // Of the reading under way; changed between readings only.
  private var workers = 1
  private var repeats = 1

  /// Reads the first bytes of some tensors, all of them where that is less. Their memory is read as
  /// it stands, whatever its elements are.
  public init(_ tensors: [Tensor], byteCount: Int, kernels: KernelTable = .active) {
    self.kernels = kernels
    self.tensors = tensors
    isState = false
    let all = tensors.reduce(0) { $0 + $1.bytes.count / MemoryLayout<Float>.size }
    floats = max(0, min(byteCount / MemoryLayout<Float>.size, all))
  }

  /// Reads and writes a state of so many bytes, worker by worker its share.
  public init(stateBytes: Int, kernels: KernelTable = .active) throws(AttentionError) {
    self.kernels = kernels
    isState = true
    floats = stateBytes / MemoryLayout<Float>.size
    tensors = [try Tensor(TensorShape(1, 1, 1, max(floats, 1)))]
  }

  /// Reads once without a clock, and then for at least a millisecond with it.
  ///
  /// - Returns: bytes a second, a state's both ways, all workers together, the median of three readings; nil where there is
  ///   nothing to read.
  public func rate(on team: WorkerTeam) -> Double? {
    if floats == 0 { return nil }
    (workers, repeats) = (team.threadCount, 1)
    team.run(self)
    let clock = ContinuousClock()
    while clock.measure({ team.run(self) }) < Self.leastDuration { repeats *= 2 }
    let seconds = (0..<3).map { _ in clock.measure { team.run(self) } / .seconds(1) }.sorted()[1]
    let ways = isState ? 2 : 1
    return Double(floats * MemoryLayout<Float>.size * repeats * ways) / seconds
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
            let start = view.base + part.lowerBound - first
            if isState {
              kernels.functions.pointee.scale_row(
                UnsafeMutablePointer(mutating: start), Int64(part.count), 1)
            } else {
              _ = kernels.functions.pointee.read_floats(start, Int64(part.count))
            }
          }
        }
        first += count
      }
    }
  }
}
