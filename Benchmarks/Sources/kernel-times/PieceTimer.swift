import Attention
import AttentionBench
import MachineTopology

/// How fast one kernel was.
struct KernelFigure {
  let kernel: String
  let headDim: Int
  /// Seconds a call, the median over the pieces.
  let median: Double
  /// Operations or bytes a second in the fastest piece.
  let best: Double
  /// The same in the median piece.
  let rate: Double
  /// What `rate` is of the machine's limit.
  let fraction: Double
  let unit: String
}

/// Times kernels in pieces so short that most fall between two disturbances.
struct PieceTimer {
  private static let pieceSeconds = 0.3e-3

  private let kernels: KernelTable
  private let pieces: Int
  /// Operations a second of fused multiply-adds on registers.
  let peak: Double
  /// Bytes a second that one core reads from memory.
  let readRate: Double

  init(
    _ kernels: KernelTable, pieces: Int, team: WorkerTeam, readRate: Double
  ) throws {
    self.kernels = kernels
    self.pieces = pieces
    self.readRate = readRate
    let fma = FMARate(kernels: kernels)
    peak = (0..<5).map { _ in fma.burst(on: team) }.max() ?? 0
  }

  func time(_ kernel: KernelBenchmark.Kernel, headDim: Int) throws -> KernelFigure {
    let benchmark = try KernelBenchmark(kernel, headDim: headDim, kernels: kernels)
    let clock = ContinuousClock()
    func seconds(_ calls: Int) -> Double {
      clock.measure { benchmark.run(calls: calls) } / .seconds(1)
    }
    // Doubling warms caches and clock up on the way.
    var calls = 1
    while seconds(calls) < Self.pieceSeconds, calls < 1 << 24 { calls *= 2 }
    let samples = (0..<pieces).map { _ in seconds(calls) / Double(calls) }
    guard let summary = SampleSummary(samples) else {
      throw AttentionError(
        .invalidArgument, argument: "pieces", value: pieces, advice: "must be at least 1")
    }
    let (amount, limit, unit) =
      switch benchmark.work {
      case .operations(let count): (Double(count), peak, "GFLOP/s")
      case .bytes(let count): (Double(count), readRate, "GB/s")
      }
    return KernelFigure(
      kernel: kernel.rawValue, headDim: headDim, median: summary.median,
      best: amount / summary.minimum, rate: amount / summary.median,
      fraction: amount / summary.median / limit, unit: unit)
  }
}
