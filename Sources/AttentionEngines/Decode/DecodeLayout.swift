import AttentionContract
import AttentionKernels
import CAttentionKernels
import Synchronization
import Tensors

/// Query rows that see the same sequence of keys in one pass of a pattern.
struct DecodeSegment: Sendable {
  let pass: Int
  let sequence: Int
  /// Distance between positions that have the sequence in common.
  let rowStride: Int
  let rows: Range<Int>
  /// The sequence, where it does not depend on the position.
  let keys: KeySequence?
}

/// How attention of a few query rows is cut up, worked out without allocating workspace.
///
/// Every sequence of keys is cut at multiples of `splitKeys`, whatever the heads, the batch, the
/// threads, the element types and the number of keys in use, so that none of them changes a bit of a
/// row.
struct DecodeLayout: Sendable {
  let problem: AttentionProblem
  let kernels: KernelTable
  /// For as many keys as there is room.
  let visibility: LoweredVisibility
  /// `[b][...]`.
  let segments: [[DecodeSegment]]
  let splitKeys: Int
  /// How many rows before their use rows are prefetched.
  let prefetchDistance: Int
  /// Splits of a key/value head at most.
  let tasksPerHead: Int
  let scratch: DecodeScratch.Layout
  let schedule: DecodeSchedule.Layout
  /// What workers share: the results of splits `[b * hKV][tasksPerHead][slotFloats]`, and `[b * hKV]`
  /// splits of the head that are still to be done.
  private(set) var shared = ArenaLayout()
  let partials: ArenaPart<Float>
  let pending: ArenaPart<Atomic<Int>>

  /// Elements of keys and values in a split, however they are stored: long enough to make its start
  /// and its merging cheap, short enough that workers end together.
  private static let splitElements = 1 << 18
  /// Bytes that are prefetched before their use in each of the two streams.
  private static let prefetchBytes = 8 << 10

  init(
    _ problem: AttentionProblem, kernels: KernelTable, pattern: (MaskGeometry) -> any KeyPattern
  ) {
    let shape = problem.shape
    self.problem = problem
    self.kernels = kernels
    visibility = LoweredVisibility(problem, keyLength: shape.keyLength, pattern: pattern)
    let keyBytes = problem.storage.keyValue.rowBytes(columns: shape.headDim)
    let valueBytes = problem.storage.keyValue.rowBytes(columns: shape.valueDim)
    let chunk = Int(ATTN_DECODE_KEYS)
    let keys = min(max(DecodeLayout.splitElements / (shape.headDim + shape.valueDim), 256), 4096)
    splitKeys = keys / chunk * chunk
    prefetchDistance = min(max(DecodeLayout.prefetchBytes / max(keyBytes, valueBytes), 2), 64)
    segments = visibility.patterns.map { DecodeLayout.segments(of: $0, rows: shape.queryLength) }
    tasksPerHead =
      zip(visibility.patterns, segments).map { [splitKeys] pattern, segments in
        segments.reduce(0) { count, segment in
          let keys =
            segment.keys ?? pattern.sequence(segment.sequence, pass: segment.pass, residue: 0)
          return count + (keys.count + splitKeys - 1) / splitKeys + 1
        }
      }.max() ?? 1
    scratch = DecodeScratch.Layout(
      problem, lanes: shape.queryLength * shape.groupSize, splitKeys: splitKeys)
    schedule = DecodeSchedule.Layout(shape, segments: segments)
    let heads = shape.batch * shape.kvHeads
    partials = shared.add(heads * tasksPerHead * DecodeLayout.slotFloats(shape))
    pending = shared.add(heads)
  }

  /// All query rows together where they have their sequences in common, else one by one.
  private static func segments(of pattern: any KeyPattern, rows: Int) -> [DecodeSegment] {
    pattern.rowStrides.enumerated().flatMap { pass, rowStride in
      let sequences = pattern.sequences(pass: pass, residue: 0)
      let classes = rowStride == 1 ? [0..<rows] : (0..<rows).map { $0..<$0 + 1 }
      return classes.flatMap { rows in
        sequences.indices.map {
          DecodeSegment(
            pass: pass, sequence: $0, rowStride: rowStride, rows: rows,
            keys: rowStride == 1 ? sequences[$0] : nil)
        }
      }
    }
  }

  /// Query rows of a key/value head.
  var lanes: Int { problem.shape.queryLength * problem.shape.groupSize }

  /// What queries are multiplied by so that their products with rows of 8-bit integers are finite, to
  /// be made up for after the rows' scales: a power of two, which changes no other bit.
  var queryShrink: Float {
    guard problem.storage.keyValue == .int8PerToken else { return 1 }
    return Float(
      sign: .plus,
      exponent:
        -(8 + problem.shape.headDim.bitWidth
        - problem.shape.headDim.leadingZeroBitCount), significand: 1)
  }

  /// Floats that hold what a split gives: output, maximum and sum of every row.
  var slotFloats: Int { DecodeLayout.slotFloats(problem.shape) }

  private static func slotFloats(_ shape: AttentionShape) -> Int {
    (shape.queryLength * shape.groupSize * (shape.valueDim + 2) + 15) & ~15
  }

  /// Bytes of workspace of a plan.
  func workspaceBytes(threads: Int) -> Int {
    threads * scratch.arena.bytes + schedule.arena.bytes + shared.bytes
  }
}
